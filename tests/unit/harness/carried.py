"""An installed m43, in the process of a test: what a wheel carries lies beside the package."""

import shutil
from pathlib import Path

import pytest

from m43.evidence.contract import folder
from tests.unit.harness.conftest import REPOSITORY

PARTS = ("acceptance", "conftest.py", "pytest.ini", "pyproject.toml")


def install(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have m43 take itself for one that was installed; return where its own things lie."""
    carried = place / "m43" / "carried"
    carried.mkdir(parents=True)
    for name in PARTS:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(
                REPOSITORY / name, carried / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy2(REPOSITORY / name, carried / name)
    monkeypatch.setattr(folder, "CARRIED", carried)
    return carried
