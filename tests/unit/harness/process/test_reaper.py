"""The reaper: after the death of who watches, nothing of the child's goes on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from m43.harness.process.reaper import MARK, Reaper, end_all, marked

SLEEP = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
WATCHER = (
    "import subprocess, sys, time; from m43.harness.process.reaper import Reaper\n"
    "sleep = [sys.executable, '-I', '-S', '-c', 'import time; time.sleep(60)']\n"
    "child = subprocess.Popen(sleep, start_new_session=True)\n"
    "reaper = Reaper(child.pid, '')\n"
    "print(child.pid, flush=True)\n"
    "while True: time.sleep(0.1); reaper.tend()"
)

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes that sleep, and end them with the test."""
    with ExitStack() as stack:

        def begin(**options: object) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(SLEEP, start_new_session=True, **options)  # type: ignore[call-overload]
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield begin


def ended(pid: int) -> bool:
    """Tell whether a process ends within a moment; a zombie has."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_a_killed_watcher_takes_the_childs_group_with_it() -> None:
    """SIGKILL cannot be caught, so somebody else must see to it."""
    watcher = subprocess.Popen([sys.executable, "-c", WATCHER], stdout=subprocess.PIPE, text=True)
    assert watcher.stdout is not None
    child = int(watcher.stdout.readline())
    os.kill(child, 0)
    watcher.kill()
    watcher.communicate()
    assert ended(child)


def watchers(child: int) -> list[int]:
    """List the processes that watch over a child."""
    command = ["ps", "-Aww", "-o", "pid=,stat=,args="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [row.split(maxsplit=2) for row in listed.splitlines() if f"reaper.py {child}" in row]
    return [int(pid) for pid, state, _ in rows if state[0] != "Z"]


@pytest.mark.parametrize("killed", ["the first", "the second", "one after the other", "all"])
def test_a_killed_guardian_is_replaced(killed: str) -> None:
    """Whoever kills it and then pytest would leave the child on the device otherwise."""
    watcher = subprocess.Popen([sys.executable, "-c", WATCHER], stdout=subprocess.PIPE, text=True)
    assert watcher.stdout is not None
    try:
        child = int(watcher.stdout.readline())
        until(lambda: len(watchers(child)) == 2)
        first, second = watchers(child)
        victims = {"the first": [first], "the second": [second]}.get(killed, [first, second])
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
            if killed == "one after the other":
                time.sleep(0.3)
        until(lambda: len(set(watchers(child)) - set(victims)) == 2)
    finally:
        watcher.kill()
        watcher.communicate()
    assert ended(child)


ASKS_THE_KERNEL = (
    "import os, time; from m43.training.__main__ import die_with_parent\n"
    "die_with_parent(os.environ); print('asked', flush=True); time.sleep(60)"
)


def test_a_child_ends_though_no_guardian_is_left_to_end_it() -> None:
    """Both and the watcher killed at once: the child of a run asks the kernel beforehand."""
    begins = f"[sys.executable, '-c', {ASKS_THE_KERNEL!r}], stdout=subprocess.PIPE, "
    asked = "assert child.stdout.readline() == b'asked\\n'; print("
    code = WATCHER.replace("print(", asked).replace("Popen(sleep, ", f"Popen({begins}")
    watcher = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert watcher.stdout is not None
    try:
        child = int(watcher.stdout.readline())
        until(lambda: len(watchers(child)) == 2)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in (*watchers(child), watcher.pid):
                os.kill(pid, number)
    finally:
        watcher.kill()
        watcher.communicate()
    assert ended(child)


def until(true: Callable[[], bool]) -> None:
    """Wait for what comes within a moment."""
    for _ in range(100):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come")


def test_a_guardian_that_is_dismissed_does_nothing(start: Start) -> None:
    """After a good end the child's number may soon belong to somebody else."""
    process = start()
    Reaper(process.pid, "").dismiss()
    time.sleep(0.2)
    assert process.poll() is None
    assert watchers(process.pid) == []


def test_what_has_left_the_group_is_known_by_its_mark(start: Start) -> None:
    """A grandchild in a session of its own still carries the environment that it was given."""
    mark = f"test-{os.getpid()}"
    group, strayed, other = start(), start(env={MARK: mark}), start(env={MARK: f"{mark}0"})
    # Popen returns while the new program still moves in.
    until(lambda: list(marked(mark)) == [strayed.pid])
    end_all(group.pid, mark)
    assert group.wait(5) == strayed.wait(5) == -signal.SIGKILL
    assert other.poll() is None


def test_a_group_that_is_gone_is_no_error(start: Start) -> None:
    """The usual case: everything has ended by itself."""
    process = start()
    process.kill()
    process.wait()
    end_all(process.pid, "")
    assert list(marked("x", Path("/nowhere"))) == []
