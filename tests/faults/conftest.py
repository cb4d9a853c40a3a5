"""The copies in which harm is done, and the table of what was done at the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from m43 import config
from tests.faults import matrix
from tests.faults.rehearsal import Rehearsal, start
from tests.faults.tree import FaultTree, copy_tree

REPOSITORY = Path(config.__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A fault takes as long as its rehearsal; the unit tests' limit is not meant for it."""
    for item in items:
        if item.path.parent == Path(__file__).parent and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(2400))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what every fault left on disk, and which faults were not done here."""
    for line in matrix.table():
        terminalreporter.write_line(line)


@pytest.fixture
def tree(tmp_path: Path) -> FaultTree:
    """Copy the repository, with the child that really trains."""
    return copy_tree(REPOSITORY, tmp_path / "repository")


class Starter:
    """Starts runs in a tree, and ends what is left of them with the test."""

    def __init__(self, tree: FaultTree) -> None:
        self.tree = tree
        self.started: list[Rehearsal] = []

    def __call__(self, name: str = "a-run", **options: str) -> Rehearsal:
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
