"""A clone has the bytes of the commit, whatever git was told of line ends."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = "submission_runs/example_rehearsal"
PARTS = (
    "m43", "acceptance", "tests/unit/corpus", "tests/unit/core/goldens", EXAMPLE,
    "submission_runs/screenshots", "conftest.py", "pytest.ini", "pyproject.toml",
    "requirements.lock", "Makefile", "README.md", ".gitattributes",
)  # fmt: skip
CRLF = ("-c", "core.autocrlf=true", "-c", "core.eol=crlf")


def git(folder: Path, *words: str) -> None:
    """Call git as nobody in particular."""
    quiet = ("-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false")
    command = ["git", *quiet, "-C", str(folder), *words]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A commit of what lies here: a checkout need not have a history."""
    root = tmp_path_factory.mktemp("origin")
    for name in PARTS:
        source, target = REPOSITORY / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    git(root, "init", "--quiet")
    git(root, "add", "--all", "--force")
    git(root, "commit", "--quiet", "--message", "x")
    return root


def clone(origin: Path, folder: Path) -> Path:
    """Clone as Git for Windows does."""
    git(origin.parent, "clone", "--quiet", *CRLF, str(origin), str(folder))
    return folder


def files(root: Path) -> dict[str, bytes]:
    """Read every file of a checkout."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


def verified(root: Path) -> subprocess.CompletedProcess[str]:
    """Verify the example with the code of a checkout."""
    return subprocess.run(
        [sys.executable, "-m", "m43", "verify", "--without-weights", EXAMPLE],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_clone_has_the_same_bytes(origin: Path, tmp_path: Path) -> None:
    """Under core.autocrlf=true and core.eol=crlf."""
    cloned = files(clone(origin, tmp_path / "clone"))
    assert len(cloned) > 300
    assert cloned == files(origin)


def test_the_example_says_the_same_in_a_clone(origin: Path, tmp_path: Path) -> None:
    """Whatever it says here."""
    here, there = verified(origin), verified(clone(origin, tmp_path / "clone"))
    assert there.stdout == here.stdout
    assert there.returncode == here.returncode
    assert "line ends" not in there.stdout


def test_a_clone_without_the_attributes_is_told_once(origin: Path, tmp_path: Path) -> None:
    """As of a commit from before them: bytes do differ then, so the tests above can fail."""
    bare = tmp_path / "bare"
    shutil.copytree(origin, bare)
    git(bare, "rm", "--quiet", ".gitattributes")
    git(bare, "commit", "--quiet", "--message", "x")
    ended = verified(clone(bare, tmp_path / "clone"))
    _, first, last = ended.stdout.splitlines()
    assert "found line ends were changed (LF to CRLF) in " in first
    assert "of this checkout" in first
    assert last == f"{EXAMPLE}: 1 claim not supported"
    assert ended.returncode == 1
