"""Signals: pytest or its child ended from outside, politely or not, in every gate."""

import os
import pty
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults import matrix
from tests.faults.conftest import Starter
from tests.faults.matrix import Case
from tests.faults.rehearsal import Rehearsal, command
from tests.faults.remains import examine
from tests.faults.tree import FaultTree, environment
from tests.faults.world import marked, the_world
from tools.faulty_hub import Fault, FaultKind

SLOW = Fault(kind=FaultKind.SLOW, delay_s=60.0)
# Long enough to be struck in the middle, also where the toy trains in a second.
DAWDLE = "dawdle 0.2"


def harm(rehearsal: Rehearsal, fault: str) -> None:
    """Do what the case says."""
    if fault == "SIGKILL of the child":
        rehearsal.kill_child()
        return
    name, _, twice = fault.removesuffix(" of pytest").partition(" ")
    os.kill(rehearsal.process.pid, signal.Signals[name])
    if twice:
        time.sleep(0.2)
        os.kill(rehearsal.process.pid, signal.Signals[name])


@pytest.mark.parametrize(
    "case", marked(case for case in matrix.SIGNALS if case.fault != "terminal hung up")
)
def test_a_signal_leaves_the_truth(case: Case, tree: FaultTree, begin: Starter) -> None:
    """Whoever is ended, in whichever gate: one true document, and nothing goes on running."""
    if case.gate == "auth":
        with the_world(tree, SLOW) as variables:
            rehearsal = struck(begin(**variables), case)
            status = rehearsal.end()
    else:
        tree.sabotage(DAWDLE)
        status = (rehearsal := struck(begin(), case)).end()
    assert status == case.status, rehearsal.text()
    matrix.enter(case, examine(rehearsal, status, case.closer))


def struck(rehearsal: Rehearsal, case: Case) -> Rehearsal:
    """Wait for the case's gate, and do the harm there."""
    rehearsal.wait_for_gate(case.gate)
    harm(rehearsal, case.fault)
    return rehearsal


@contextmanager
def read_on(terminal: int) -> Iterator[None]:
    """Read what is shown, as a terminal does: one that does not stops its program in time."""
    enough = threading.Event()

    def read() -> None:
        # Never inside a read when the terminal is closed: that would keep it open.
        while not enough.is_set():
            if select.select([terminal], [], [], 0.05)[0]:
                os.read(terminal, 1 << 16)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        enough.set()
        reader.join()


def test_a_terminal_that_hangs_up_ends_the_run_in_order(tree: FaultTree, begin: Starter) -> None:
    """The connection is lost: SIGHUP comes, and nothing more can be printed."""
    (case,) = (case for case in matrix.SIGNALS if case.fault == "terminal hung up")
    tree.sabotage(DAWDLE)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command(tree, "a-run")],
        cwd=tree.root,
        env=environment(TERM="xterm"),
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    output = tree.root.parent / "output.txt"
    output.write_text("")
    rehearsal = Rehearsal(tree=tree, process=process, output=output, name="a-run")
    begin.started.append(rehearsal)
    with read_on(master):
        rehearsal.wait_for_gate(case.gate)
    os.close(master)
    matrix.enter(case, examine(rehearsal, rehearsal.end()))
