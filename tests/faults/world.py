"""A hub of the test's own, with a fault, for runs that are pointed at it by their profile."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from _pytest.mark.structures import ParameterSet

from m43.rehearsal.world import RehearsalWorld
from tests.faults.matrix import Case
from tests.faults.tree import FaultTree
from tools.faulty_hub import NO_FAULT, Fault, FaultyHub


@contextmanager
def the_world(tree: FaultTree, fault: Fault = NO_FAULT) -> Iterator[dict[str, str]]:
    """Serve the toy Gemma with a fault; give the variables that a person would have set."""
    with RehearsalWorld(make_hub=partial(FaultyHub, fault=fault)) as world:
        tree.write_profile(hub__endpoint=world.endpoint)
        yield {"HF_TOKEN": world.token, "HF_HOME": str(tree.root.parent / "hf")}


def marked(cases: Iterable[Case]) -> list[ParameterSet]:
    """Make the parameters of a test from cases, with the mark of those that CI has time for."""
    return [
        pytest.param(case, id=case.id, marks=[pytest.mark.quick] if case.quick else [])
        for case in cases
    ]
