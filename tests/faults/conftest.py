"""The copies in which harm is done, and the record of what did not hold."""

import compileall
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from m43.records import profile_check
from tests.faults import record
from tests.faults.record import Row
from tests.faults.rehearsal import Rehearsal, start
from tests.faults.tree import FaultTree, copy_parts, copy_tree

REPOSITORY = Path(profile_check.__file__).resolve().parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A fault takes as long as its rehearsal; the unit tests' limit is not meant for it."""
    for item in items:
        if item.path.parent == Path(__file__).parent and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(2400))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Take a case that did not hold into the record."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed and item.path.parent == Path(__file__).parent:
        crash = getattr(report.longrepr, "reprcrash", None)
        why = str(crash.message if crash else report.longrepr).partition("\n")[0]
        record.add(Row(case=_name(item), why=f"{report.when}: {why[:300]}"))


def _name(item: pytest.Item) -> str:
    """Name a case as the matrix does where it has its name from there."""
    return item.name.partition("[")[2].removesuffix("]") or item.name


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what a run needs once, and compile it: otherwise each child of each case would."""
    folder = tmp_path_factory.mktemp("prepared") / "repository"
    copy_parts(REPOSITORY, folder)
    assert compileall.compile_dir(folder / "m43", quiet=1)
    return folder


@pytest.fixture
def tree(prepared: Path, tmp_path: Path) -> FaultTree:
    """Copy the repository, with the child that really trains."""
    return copy_tree(prepared, tmp_path / "repository")


class Starter:
    """Starts runs in a tree, and ends what is left of them with the test."""

    def __init__(self, tree: FaultTree) -> None:
        self.tree = tree
        self.started: list[Rehearsal] = []

    def __call__(self, name: str = "a-run", **options: Any) -> Rehearsal:
        """Start a run."""
        self.started.append(start(self.tree, name=name, **options))
        return self.started[-1]


@pytest.fixture
def begin(tree: FaultTree) -> Iterator[Starter]:
    """Start runs in the copy."""
    starter = Starter(tree)
    yield starter
    for rehearsal in starter.started:
        rehearsal.stop()
