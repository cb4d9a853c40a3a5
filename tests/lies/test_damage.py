"""Every file of a good run, damaged in every way, one at a time: `verify` names the file.

Apart from the unit tests, which damage a file of each sort: here it is all of them.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from m43.evidence.documents.report import seal_reports
from m43.evidence.run.loaded_run import load_run
from m43.evidence.verify.claims import verify
from m43.evidence.verify.report import audit_reports
from m43.records.run_dir import RunDir
from tests.unit.evidence.good_records import REPOSITORY
from tests.unit.evidence.good_run import write_good_run


def _delete(path: Path) -> None:
    path.unlink()


def _truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _flip(path: Path) -> None:
    """Change the lowest bit of the byte in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _swap(path: Path) -> None:
    """Put the next file of the folder in its place."""
    files = sorted(other for other in path.parent.rglob("*") if other.is_file())
    path.write_bytes(files[files.index(path) - 1].read_bytes())


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n")


DAMAGES: tuple[Callable[[Path], None], ...] = (_delete, _truncate, _flip, _swap, _append)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("damage"))


def test_the_undamaged_run_verifies(good: RunDir) -> None:
    """Otherwise every damage would be named for nothing."""
    assert verify(good.path, REPOSITORY) == ()


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__[1:])
def test_every_file_is_named_when_it_is_damaged(
    good: RunDir, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """One file at a time, all of them: none may be changed without a word."""
    names = [path.relative_to(good.path) for path in good.path.rglob("*") if path.is_file()]
    unnamed = []
    for index, name in enumerate(sorted(names)):
        run = RunDir(Path(shutil.copytree(good.path, tmp_path / str(index) / good.path.name)))
        damage(run.path / name)
        problems = verify(run.path, REPOSITORY)
        if not any(str(name) in f"{problem.where} {problem.found}" for problem in problems):
            unnamed.append(f"{name}: {[str(problem) for problem in problems]}")
    assert len(names) > 20
    assert unnamed == []


def test_the_page_is_named_wherever_it_is_damaged_and_sealed_again(
    good: RunDir, tmp_path: Path
) -> None:
    """Its digest says nothing then: every byte of it follows from the records."""
    run = RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))
    loaded_run, page = load_run(run), run.report.read_bytes()
    believed = page.index(b'<section id="tests"')
    unnamed = []
    for place in range(7, believed, believed // 40):
        damaged = bytearray(page)
        damaged[place] ^= 1
        run.report.write_bytes(damaged)
        seal_reports(run)
        if not any("report.html" in each.where for each in audit_reports(run, loaded_run)):
            unnamed.append(place)
    assert unnamed == []
