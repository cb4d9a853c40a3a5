"""A run by processes on two hosts, as pods start them, and a network that fails between them."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from m43.errors import FailureClass as F
from m43.records import TrainRecord, read_record
from m43.records.run_dir import RunDir
from tests.faults.rehearsal import Rehearsal, processes
from tests.faults.remains import no_survivors
from tests.faults.tree import FaultTree
from tests.launch.hosts import COORDINATOR, NAMES, TwoHosts, two_hosts
from tests.launch.many import FROM_THE_BEGINNING_S, Started, ended, process_of
from tools.kubernetes import pods

pytestmark = pytest.mark.timeout(1800)
PROGRAM = str(Path(pods.__file__))


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[TwoHosts]:
    """Have two hosts."""
    with two_hosts(tmp_path) as found:
        yield found


@pytest.fixture
def on_hosts(
    begin: Started, hosts: TwoHosts, tree: FaultTree, tmp_path: Path
) -> Iterator[Callable[..., Rehearsal]]:
    """Give what starts a run of which each host has a process."""
    calls = {
        number: {
            "JAX_COORDINATOR_ADDRESS": COORDINATOR,
            "JAX_NUM_PROCESSES": "2",
            "JAX_PROCESS_ID": str(number),
            "M43_CALLS": str(tmp_path / "calls"),
        }
        for number in (0, 1)
    }
    other = subprocess.Popen(
        [*hosts.words(1), "python3", PROGRAM, "run", "nothing"],
        cwd=tree.root, env=os.environ | calls[1], start_new_session=True,
    )  # fmt: skip

    def start(**values: object) -> Rehearsal:
        run = ("python3", PROGRAM, "run")
        return begin(
            "python3", PROGRAM, "start", before=(*hosts.words(0), *run), variables=calls[0],
            **values,
        )  # fmt: skip

    yield start
    if other.poll() is None:
        os.killpg(other.pid, signal.SIGKILL)
    other.wait()


def test_a_link_that_is_away_for_a_moment_is_waited_for(
    on_hosts: Callable[..., Rehearsal], hosts: TwoHosts
) -> None:
    """The run is accepted, and both hosts are in its record.

    TCP sends again at growing intervals: what was cut for 4 s may stand still for 10.
    """
    rehearsal = on_hosts(heartbeat_s=60.0)
    rehearsal.wait_for_gate("train-300")
    hosts.cut()
    time.sleep(4.0)
    hosts.join()
    assert rehearsal.end() == 0, rehearsal.text()
    no_survivors(rehearsal.tree)
    record = read_record(RunDir(rehearsal.folder).train, TrainRecord)
    assert tuple(each.host for each in record.processes) == NAMES


def test_a_link_that_is_cut_ends_both_processes(
    on_hosts: Callable[..., Rehearsal], hosts: TwoHosts
) -> None:
    """The heartbeats of jax do it, on each host by itself."""
    rehearsal = on_hosts()
    rehearsal.wait_for_gate("train-300")
    hosts.cut()
    failure_class, text = ended(rehearsal)
    assert failure_class is F.PROCESS_LOST
    assert "stopped sending heartbeats" in text


def test_a_link_that_is_slow_makes_a_run_late_and_is_no_other_failure(
    on_hosts: Callable[..., Rehearsal], hosts: TwoHosts
) -> None:
    """Nobody is lost: what strikes is the limit of time, and both processes end."""
    hosts.slow("20mbit")
    failure_class, text = ended(on_hosts(deadlines__train_s=60.0), FROM_THE_BEGINNING_S)
    assert failure_class is F.TIMED_OUT
    assert "of 200 recorded steps" in text


def test_a_process_of_the_other_host_that_stands_still_is_ended_there(
    on_hosts: Callable[..., Rehearsal], tree: FaultTree
) -> None:
    """m43 reaches no process of another host: the pod that started it ends it."""
    rehearsal = on_hosts()
    rehearsal.wait_for_gate("train-300")
    os.kill(process_of(tree, 1), signal.SIGSTOP)
    failure_class, text = ended(rehearsal)
    assert failure_class is F.PROCESS_LOST
    assert "without a record of their end: process" in text


def test_the_first_host_that_is_not_reached_by_its_name_is_named(
    on_hosts: Callable[..., Rehearsal], hosts: TwoHosts
) -> None:
    """The link is cut before they meet."""
    hosts.cut()
    failure_class, text = ended(on_hosts(meet_s=20.0), FROM_THE_BEGINNING_S)
    assert failure_class is F.PROCESSES_MISSING
    assert f"all of them at {COORDINATOR}" in text


def test_a_launcher_that_is_killed_leaves_no_process_on_the_other_host(
    on_hosts: Callable[..., Rehearsal],
) -> None:
    """The first process goes with it, the other misses the first."""
    rehearsal = on_hosts()
    rehearsal.wait_for_gate("train-300")
    begins = b"\0".join([b"python3", PROGRAM.encode(), b"start"])
    (launcher,) = [pid for pid, command in processes() if command.startswith(begins)]
    os.kill(launcher, signal.SIGKILL)
    failure_class, _ = ended(rehearsal)
    assert failure_class is F.KILLED
