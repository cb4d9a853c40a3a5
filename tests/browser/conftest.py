"""Real runs, and a real browser that looks at what they leave.

Runs are made by the interpreter of .venv, in a copy of the repository; the browser is the Chromium
of this machine. `make browser` sees to both.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.chromium import chromium_path
from tests.browser.verifier_page import Seen, opened, served
from tools.verifier.__main__ import MOST_BYTES, build, fetch

REPOSITORY = Path(__file__).resolve().parents[2]
PARTS = ("m43", "acceptance", "conftest.py", "pytest.ini", "pyproject.toml")
SCREENSHOTS = Path(__file__).with_name("screenshots")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Give the Chromium of this machine; none is downloaded."""
    with sync_playwright() as playwright:
        # Its sandbox needs what containers seldom allow; the page is this repository's own.
        chromium = playwright.chromium.launch(
            executable_path=chromium_path(), args=["--no-sandbox"]
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what a run needs, so that no run is left in this repository."""
    root = tmp_path_factory.mktemp("copy")
    for name in PARTS:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, root / name)
    return root


def run(copy: Path, marker: str, name: str, *more: str) -> Path:
    """Make a run and give its report; how it ends is the run's own business."""
    hidden = ("HF_", "HUGGING_FACE_", "PYTEST_", "PYTHON")
    environment = {key: text for key, text in os.environ.items() if not key.startswith(hidden)}
    subprocess.run(
        [
            *(str(REPOSITORY / ".venv" / "bin" / "python"), "-m", "pytest", "acceptance"),
            *("-m", marker, "--m43-run", name, *more),
        ],
        cwd=copy,
        env=environment,
        check=False,
        stdout=subprocess.DEVNULL,
        timeout=900,
    )
    return copy / "submission_runs" / name / "report.html"


@pytest.fixture(scope="session")
def accepted(copy: Path) -> Path:
    """The report of a rehearsal that was accepted."""
    report = run(copy, "rehearsal", "accepted")
    assert (report.parent / "m43_summary.md").exists()
    return report


@pytest.fixture(scope="session")
def stopped(copy: Path) -> Path:
    """The report of a rehearsal whose training met a number that is none."""
    profile = copy.parent / "failing.toml"
    text = (copy / "acceptance" / "rehearsal.toml").read_text()
    text = text.replace("learning_rate = 2e-3", "learning_rate = 1e30")
    profile.write_text(text.replace('"data/', f'"{copy / "acceptance" / "data"}/'))
    report = run(copy, "rehearsal", "stopped", "--m43-profile", str(profile))
    assert (report.parent / "train.error.json").exists()
    return report


@pytest.fixture(scope="session")
def refused(copy: Path) -> Path:
    """The report of a production run in a shell without a token."""
    return run(copy, "production", "refused")


@pytest.fixture(params=["accepted", "stopped", "refused"])
def report(request: pytest.FixtureRequest) -> Path:
    """Each of the reports in turn."""
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the verifier's folder, as `make verifier` does."""
    folder = tmp_path_factory.mktemp("site") / "verifier"
    assert build(folder, fetch(REPOSITORY / ".verifier-cache")) <= MOST_BYTES
    return folder


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Serve it."""
    with served(site) as address:
        yield address


@pytest.fixture(scope="module")
def seen(browser: Browser, address: str) -> Iterator[Seen]:
    """Open the page once a module: Python is started once."""
    with opened(browser, address) as seen:
        yield seen
