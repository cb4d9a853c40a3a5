"""The folders that the real tests look at, named by the person who runs them."""

import os
from pathlib import Path

import pytest


def folder_named_by(variable: str, what: str) -> Path:
    """Give the folder that a variable names; there is no default, and no skipping."""
    value = os.environ.get(variable, "")
    if not (Path(value) / "config.json").is_file() and not (Path(value) / "eval.json").is_file():
        pytest.fail(
            f"{variable}: found {value or 'nothing'}, expected {what}; "
            "run make real MODEL=FOLDER RUN=RUN_DIR",
            pytrace=False,
        )
    return Path(value)


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """A Hugging Face folder of a published Gemma."""
    return folder_named_by("M43_REAL_MODEL", "a Hugging Face folder of a published Gemma")


@pytest.fixture(scope="session")
def run_folder() -> Path:
    """A run folder in which a model was trained and evaluated."""
    return folder_named_by("M43_REAL_RUN", "the folder of a finished run, with its model")
