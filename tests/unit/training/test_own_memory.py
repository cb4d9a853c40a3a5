"""What a piece of work takes of memory is measured: at once, and what stays."""

import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np

from m43.training import device
from m43.training.device import held_bytes, measured

MIB = 1 << 20


def _touched(mebibytes: int) -> mmap.mmap:
    block = mmap.mmap(-1, mebibytes * MIB)
    np.frombuffer(block, np.uint8)[:: mmap.PAGESIZE] = 1
    return block


def _work() -> mmap.mmap:
    passing = _touched(96)
    kept = _touched(32)
    passing.close()
    return kept


def test_what_is_freed_counts_at_the_peak_and_what_is_kept_counts_after() -> None:
    """128 MiB at once, 32 of them kept, whatever this process held at its peak before."""
    _touched(256).close()
    before = held_bytes()
    block, taken = measured(_work)
    assert abs(taken.most_bytes - 128 * MIB) < 24 * MIB
    assert abs(taken.kept_bytes - 32 * MIB) < 24 * MIB
    assert held_bytes() - before > 8 * MIB
    block.close()


def test_the_peak_of_who_started_a_process_is_not_its_own() -> None:
    """The kernel hands a parent's maxrss on when a child starts its program."""
    block = _touched(1024)
    code = "from m43.training.device import peak_host_bytes; print(peak_host_bytes())"
    repository = Path(device.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    block.close()
    assert 0 < int(done.stdout) < 1024 * MIB


def test_where_the_kernel_does_not_say_the_peak_is_that_of_getrusage(tmp_path: Path) -> None:
    """Less exact, and never nothing."""
    assert device.peak_host_bytes(tmp_path / "no-such-file") > 64 * MIB
