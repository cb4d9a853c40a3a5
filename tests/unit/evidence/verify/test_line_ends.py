"""Line ends that a tool changed are told once, and excuse nothing."""

import shutil
from pathlib import Path

import pytest

from m43.evidence.verify import line_ends
from m43.evidence.verify.claims import verify
from m43.records.run_dir import RunDir
from tests.unit.evidence.good_records import REPOSITORY
from tests.unit.evidence.good_run import write_good_run
from tests.unit.evidence.tampering import edit


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("line-ends"))


@pytest.fixture
def run(good: RunDir, tmp_path: Path) -> RunDir:
    """A copy of it, to be changed."""
    return RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))


def to_crlf(path: Path) -> None:
    """Do what git does to a text under core.autocrlf=true."""
    data = path.read_bytes()
    if b"\0" not in data:
        path.write_bytes(data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


def texts(run: RunDir) -> list[Path]:
    """List the files that have a line end."""
    files = [path for path in run.path.rglob("*") if path.is_file()]
    return [path for path in files if path.suffix != ".safetensors" and b"\n" in path.read_bytes()]


def test_a_folder_with_other_line_ends_has_one_problem(run: RunDir) -> None:
    """And is not verified, for that one reason."""
    changed = texts(run)
    for path in changed:
        to_crlf(path)
    (problem,) = verify(run.path, REPOSITORY)
    assert f"line ends were changed (LF to CRLF) in {len(changed)} files (" in problem.found
    assert problem.where == str(run.path)
    assert "fetch it again with its bytes kept" in problem.action
    assert "changed after the run" not in str(problem)


@pytest.mark.parametrize("name", ["training_metrics.jsonl", "journal.jsonl", "MANIFEST.sha256"])
def test_one_file_with_other_line_ends_is_named(run: RunDir, name: str) -> None:
    """One that is sealed, the one that seals itself, and the seal."""
    to_crlf(run.path / name)
    (problem,) = verify(run.path, REPOSITORY)
    assert problem.found == f"line ends were changed (LF to CRLF) in 1 file ({name})"


def test_a_document_with_other_line_ends_is_named_too(run: RunDir) -> None:
    """It lies outside the manifest."""
    to_crlf(run.summary)
    (problem,) = verify(run.path, REPOSITORY)
    assert problem.found == "line ends were changed (LF to CRLF) in 1 file (m43_summary.md)"


def test_a_change_behind_other_line_ends_is_found_all_the_same(run: RunDir) -> None:
    """The line ends are no excuse: what else was done is named beside them, by its own path."""
    edit("training_metrics.jsonl", '"step": 7,', '"step": 9,')(run)
    (run.path / "extra.txt").write_text("put there\n")
    run.auth.unlink()
    for path in texts(run):
        to_crlf(path)
    first, *others = verify(run.path, REPOSITORY)
    told = "\n".join(map(str, others))
    assert line_ends.CHANGED in first.found
    for name in ("training_metrics.jsonl", "extra.txt", "auth.json"):
        assert f"{run.path}/{name}: " in told
    assert "as it was sealed" in told


def test_carriage_returns_elsewhere_are_no_line_ends(run: RunDir) -> None:
    """A file with one of them is changed, and said to be."""
    run.auth.write_bytes(run.auth.read_bytes().replace(b"\n", b"\r\n", 1) + b"\n")
    told = "\n".join(map(str, verify(run.path, REPOSITORY)))
    assert line_ends.CHANGED not in told
    assert "auth.json" in told


def test_weights_are_never_taken_for_text(run: RunDir) -> None:
    """Gigabytes are neither read for it nor copied; a change of them is told after the fetch."""
    for path in run.path.rglob("*.safetensors"):
        path.write_bytes(b"\r\n\r\n")
    assert line_ends.rewritten(run) == ()
    assert any("model.safetensors" in str(problem) for problem in verify(run.path, REPOSITORY))


def test_verifying_leaves_nothing_behind(run: RunDir) -> None:
    """The copy in which the line ends are back is removed, and the folder is as it was."""
    to_crlf(run.summary)
    before = {path: path.read_bytes() for path in texts(run)}
    verify(run.path, REPOSITORY)
    assert {path: path.read_bytes() for path in texts(run)} == before


def test_a_checkout_with_other_line_ends_is_told_once(good: RunDir, tmp_path: Path) -> None:
    """Nothing can be held against its contract, so that nothing else is said."""
    copy = tmp_path / "checkout"
    for name in ("m43", "acceptance"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, copy / name, ignore=ignored)
    shutil.copy2(REPOSITORY / "pyproject.toml", copy)
    assert line_ends.checkout_problem(copy) is None
    to_crlf(copy / "acceptance" / "test_production.py")
    (problem,) = verify(good.path, copy)
    assert "1 file (acceptance/test_production.py) of this checkout" in problem.found
    assert problem.where == str(copy)


def test_rows_of_somebodys_own_may_have_what_line_ends_they_like(tmp_path: Path) -> None:
    """They came with other bytes, and are digested as they are."""
    (tmp_path / "acceptance" / "data").mkdir(parents=True)
    (tmp_path / "acceptance" / "data" / "mine.jsonl").write_bytes(b"{}\r\n")
    assert line_ends.checkout_problem(tmp_path) is None
