"""What the device that is here has free and can do."""

from itertools import count
from pathlib import Path

import pytest

from m43.training.device import free_host_bytes, host_memory_bytes
from m43.training.plan.devices import measure_limits


def test_the_cpu_is_measured_and_says_how() -> None:
    """With a clock that goes on by a second, one product of 1024 x 1024 takes one."""
    seconds = count()
    found = measure_limits(clock=lambda: float(next(seconds)))
    assert found.device == "cpu:cpu"
    assert found.flops_per_s == 2 * 1024**3
    assert found.bytes_per_s == 2 * 2**26
    assert 0 < found.memory_bytes <= host_memory_bytes()
    assert "measured when the plan was made" in found.source


@pytest.mark.parametrize(
    ("limit", "used", "expected"),
    [("max", "5", 3 * 1024), ("2048", "48", 2000), ("999999", "0", 3 * 1024)],
)
def test_free_memory_is_the_kernels_estimate_or_what_a_container_leaves(
    tmp_path: Path, limit: str, used: str, expected: int
) -> None:
    """Whichever is less."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  9 kB\nMemAvailable:  3 kB\n")
    (tmp_path / "memory.max").write_text(limit + "\n")
    (tmp_path / "memory.current").write_text(used + "\n")
    assert free_host_bytes(meminfo, tmp_path) == expected


def test_without_a_kernel_that_says_so_all_of_the_memory_counts(tmp_path: Path) -> None:
    """As on a system without /proc."""
    nothing = tmp_path / "none"
    assert free_host_bytes(nothing, tmp_path, nothing) == host_memory_bytes()
