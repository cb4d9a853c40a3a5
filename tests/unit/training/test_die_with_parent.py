"""A child never outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
CHILD = (
    "import os, sys, time; from m43.training import __main__; "
    "__main__.die_with_parent(os.environ); print(os.getpid(), flush=True); time.sleep(60)"
)
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


def is_running(process: int) -> bool:
    """Tell whether a process exists and is more than a zombie that waits to be reaped."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_child_dies_when_its_parent_is_killed() -> None:
    """SIGKILL lets no parent clean up; the kernel ends the child all the same."""
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"]}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
        assert is_running(child)

        parent.send_signal(signal.SIGKILL)
        parent.wait()

        patience = time.monotonic() + 5
        while is_running(child) and time.monotonic() < patience:
            time.sleep(0.02)
    assert not is_running(child)


def test_a_child_whose_parent_is_gone_ends_at_once() -> None:
    """A parent that died before the child could ask for its signal is noticed too."""
    environment = {
        "PYTHONPATH": str(REPOSITORY),
        "PATH": os.environ["PATH"],
        "M43_PARENT_PID": "999999999",
    }

    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 1
    assert "the parent process 999999999 is gone" in done.stderr
    assert done.stdout == ""
