"""The copies in which the faults' rehearsals are made, and what starts one there."""

from collections.abc import Iterator

import pytest

from tests.faults.conftest import prepared, tree
from tests.faults.tree import FaultTree
from tests.launch.many import Started

__all__ = ["prepared", "tree"]


@pytest.fixture
def begin(tree: FaultTree) -> Iterator[Started]:
    """Give what starts a run."""
    started = Started(tree)
    yield started
    started.stop()
