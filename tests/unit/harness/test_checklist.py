"""The checklist looks at everything and changes nothing."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from m43.config import Profile
from m43.harness import preflight
from m43.harness.checklist import checklist, command
from m43.harness.preflight import look
from tests.unit.harness.conftest import REPOSITORY
from tests.unit.harness.copied_tree import CopiedTree


def files(root: Path) -> dict[str, int]:
    """Give every file below a folder and when it was written."""
    return {
        str(path): path.stat().st_mtime_ns
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_a_production_without_token_and_venv_is_not_ready(copied_tree: CopiedTree) -> None:
    """Both gates are looked at, though the first already says no."""
    before = files(copied_tree.root)
    path = copied_tree.root / "acceptance" / "production.toml"
    text, ready = checklist(path, copied_tree.root, {"HOME": "/nowhere"})
    assert not ready
    assert "export HF_TOKEN" in text
    assert "the virtual environment that trains" in text
    assert "NOT READY" in text
    assert files(copied_tree.root) == before


def test_a_rehearsal_that_could_start_gives_its_command(copied_tree: CopiedTree) -> None:
    """Every check holds, and the exact command is there to copy."""
    before = files(copied_tree.root)
    path = copied_tree.root / "acceptance" / "rehearsal.toml"
    text, ready = checklist(path, copied_tree.root, {"PATH": os.environ["PATH"]})
    assert ready, text
    assert text.endswith("  pytest acceptance -m rehearsal\n")
    assert files(copied_tree.root) == before


def test_a_used_run_folder_and_missing_rows_are_told(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ground is looked at before the gates."""
    (tmp_path / "submission_runs" / "used").mkdir(parents=True)
    gone = replace(
        profile,
        run=replace(profile.run, name="used"),
        data=replace(profile.data, train=tmp_path / "gone.jsonl"),
    )
    monkeypatch.setattr(preflight.venv, "measure", _no_environment)
    seen = look(gone, {}, tmp_path)
    failing = [check.name for check in seen.checks if not check.holds]
    assert failing[:2] == ["the run folder is free", "the training rows are there"]
    assert seen.venv[0].failure_class == preflight.FailureClass.NO_VENV


def _no_environment(*arguments: object) -> object:
    raise preflight.GateStoppedError(
        preflight.FailureClass.NO_VENV, found="", expected="", where="", action=""
    )


def test_the_command_names_a_profile_of_ones_own(profile: Profile) -> None:
    """What is printed is what is to be typed."""
    bundled = REPOSITORY / "acceptance" / "rehearsal.toml"
    assert command(profile, bundled, REPOSITORY) == "pytest acceptance -m rehearsal"
    other = command(profile, Path("my.toml"), REPOSITORY)
    assert other == "pytest acceptance -m rehearsal --m43-profile my.toml"
