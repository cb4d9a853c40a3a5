"""The training child fails, is failed by the machine, hangs, or does not listen."""

import os
import signal
import time
from collections.abc import Callable, Mapping

import pytest

from tests.faults import matrix
from tests.faults.agreement import assert_named_before
from tests.faults.cgroup import MemoryGroup
from tests.faults.conftest import Starter
from tests.faults.matrix import Case
from tests.faults.rehearsal import Rehearsal, processes
from tests.faults.remains import examine
from tests.faults.tree import FaultTree
from tests.faults.world import marked

# What is written into the copy before the run begins.
SABOTAGE: Mapping[str, str] = {
    "RESOURCE_EXHAUSTED from XLA": "memory 7",
    "NaN loss at step 7": "nan-loss 7",
    "NaN gradient at step 7": "nan-gradient 7",
    "NaN in a weight at step 7": "nan-weight 7",
    "deadline while stepping": "crawl 7",
    "deadline while compiling": "compile",
    "hung without heartbeat": "hang 7",
    "deadline of the probe": "slow-probe 60",
    "deaf to SIGTERM, with grandchildren": "stubborn 0.5",
    "SIGKILL of pytest over a deaf child with grandchildren": "stubborn 0.5",
    "SIGKILL of pytest and both its guardians": "dawdle 0.2",
}
PROFILE: Mapping[str, dict[str, object]] = {
    "divergence": {"training__learning_rate": 3.0, "training__clip_norm": 1e9},
    "deadline while stepping": {"deadlines__train_s": 45.0},
    "deadline while compiling": {"deadlines__train_s": 45.0},
    "hung without heartbeat": {"deadlines__silence_s": 30.0},
    "deadline of the probe": {"deadlines__probe_s": 3.0},
    "deaf to SIGTERM, with grandchildren": {"deadlines__train_s": 25.0},
}


def starve(rehearsal: Rehearsal) -> None:
    """Give the child less memory than JAX alone needs."""
    rehearsal.wait("the training child", lambda: rehearsal.beat("train", "") >= 0)
    pid = rehearsal.child()
    assert pid is not None
    with MemoryGroup(limit_bytes=64 << 20) as group:
        group.take(pid)
        rehearsal.end()


def kill(rehearsal: Rehearsal) -> None:
    """Kill pytest once the child and its own children are there."""
    rehearsal.wait_for_gate("train-300")
    rehearsal.process.kill()


def kill_with_guardians(rehearsal: Rehearsal) -> None:
    """Kill pytest and whoever would act on its end, so that none is left to start another."""
    rehearsal.wait_for_gate("train-300")
    word = f"reaper.py {rehearsal.child()} ".encode()
    found = [pid for pid, line in processes() if word in line.replace(b"\0", b" ")]
    assert len(found) == 2
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in (*found, rehearsal.process.pid):
            os.kill(pid, number)


HARM: Mapping[str, Callable[[Rehearsal], None]] = {
    "killed by the kernel for memory": starve,
    "SIGKILL of pytest over a deaf child with grandchildren": kill,
    "SIGKILL of pytest and both its guardians": kill_with_guardians,
}


@pytest.mark.parametrize("case", marked(matrix.CHILD))
def test_a_child_that_fails_leaves_the_truth(case: Case, tree: FaultTree, begin: Starter) -> None:
    """Its class, the step, the stacks where it stood still; and no process of it is left."""
    if case.fault in SABOTAGE:
        tree.sabotage(SABOTAGE[case.fault])
    tree.write_profile(**PROFILE.get(case.fault, {}))
    rehearsal = begin()
    HARM.get(case.fault, lambda started: None)(rehearsal)
    begun = time.monotonic()
    status = rehearsal.end()
    assert time.monotonic() - begun < 380
    if case.gate == "venv":
        assert_named_before(tree, "venv", case.words[0])
    matrix.enter(case, examine(rehearsal, status, case.closer))
