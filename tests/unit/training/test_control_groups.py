"""The room that control groups leave: of both versions, in containers, jobs and slices."""

from pathlib import Path

import pytest

from m43.training.control_groups import room_bytes
from m43.training.device import free_host_bytes

GIB, MIB = 1 << 30, 1 << 20
UNLIMITED = 9223372036854771712


def group(folder: Path, limit: object, used: int, cache: int = 0, *, first: bool = False) -> Path:
    """Write the files of a control group."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    limit_name, used_name, stat = (
        names if first else ("memory.max", "memory.current", "inactive_file")
    )
    (folder / limit_name).write_text(f"{limit}\n")
    (folder / used_name).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\nfile {cache}\n{stat} {cache}\nactive_file 7\n")
    return folder


def own_groups(folder: Path, text: str) -> Path:
    """Write what the kernel says of a process."""
    path = folder / "own"
    path.write_text(text)
    return path


def test_file_cache_that_the_kernel_gives_back_is_room(tmp_path: Path) -> None:
    """A container of 2 GiB after an installation: 60 MiB are unused, and 1,500 are old cache."""
    folder = group(tmp_path, 2147483648, 2084569088)
    (folder / "memory.stat").write_text(
        "anon 41943040\nfile 1992294400\ninactive_file 1572864000\nactive_file 419430400\n"
    )
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemAvailable: {64 * GIB // 1024} kB\n")

    free = free_host_bytes(meminfo, folder, own_groups(tmp_path, "0::/\n"))

    assert free >> 20 == 1560


@pytest.mark.parametrize("cache", ["", "inactive_file\n", "inactive_file x\n", None])
def test_without_a_figure_for_the_cache_everything_used_counts(
    tmp_path: Path, cache: str | None
) -> None:
    """Cautious where the kernel does not say."""
    group(tmp_path, 3 * GIB, GIB)
    (tmp_path / "memory.stat").unlink()
    if cache is not None:
        (tmp_path / "memory.stat").write_text(cache)

    assert room_bytes(tmp_path, tmp_path / "none") == 2 * GIB


def test_more_than_the_limit_leaves_nothing(tmp_path: Path) -> None:
    """A limit may be lowered below what is held; and no cache is more than what is used."""
    assert room_bytes(group(tmp_path / "a", GIB, 2 * GIB), tmp_path / "none") == 0
    assert room_bytes(group(tmp_path / "b", GIB, MIB, 5 * MIB), tmp_path / "none") == GIB


def test_the_limit_that_holds_a_process_up_counts_as_well(tmp_path: Path) -> None:
    """Of memory.high and memory.max the lower one."""
    group(tmp_path, 4 * GIB, GIB)
    (tmp_path / "memory.high").write_text("max\n")
    assert room_bytes(tmp_path, tmp_path / "none") == 3 * GIB
    (tmp_path / "memory.high").write_text(f"{2 * GIB}\n")
    assert room_bytes(tmp_path, tmp_path / "none") == GIB


@pytest.mark.parametrize("first", [False, True], ids=["version 2", "version 1"])
def test_the_tightest_of_all_groups_around_counts(tmp_path: Path, first: bool) -> None:
    """A job inside a slice: each in turn has the least room."""
    own = own_groups(
        tmp_path, "4:cpu,memory:/a.slice/job\n0::/\n" if first else "0::/a.slice/job\n"
    )
    root = tmp_path / "cgroup" / "memory" if first else tmp_path / "cgroup"
    none = UNLIMITED if first else "max"
    outer, inner = root / "a.slice", root / "a.slice" / "job"
    group(outer / "beside", 1, 0, first=first)
    group(root, none, 9 * GIB, first=first)

    group(outer, 8 * GIB, 7 * GIB, GIB // 2, first=first)
    group(inner, none, GIB, first=first)
    assert room_bytes(tmp_path / "cgroup", own) == GIB + GIB // 2

    group(inner, 2 * GIB, GIB, first=first)
    assert room_bytes(tmp_path / "cgroup", own) == GIB

    group(root, 10 * GIB, 10 * GIB, GIB // 4, first=first)
    assert room_bytes(tmp_path / "cgroup", own) == GIB // 4


def test_no_limit_of_version_1_is_a_number_and_limits_nothing(tmp_path: Path) -> None:
    """The estimate of the kernel is what counts then."""
    group(tmp_path / "memory", UNLIMITED, GIB, first=True)
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemAvailable: 3 kB\n")

    assert free_host_bytes(meminfo, tmp_path, own_groups(tmp_path, "4:memory:/\n")) == 3 * 1024


def test_a_container_that_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    """Whether its path is the host's, as with version 1 in Docker, its own, or out of sight."""
    root = group(tmp_path / "cgroup" / "memory", 2 * GIB, GIB, first=True)
    for path in ("/docker/0123abcd", "/", "/../other"):
        own = own_groups(tmp_path, f"4:memory:{path}\n")
        assert room_bytes(tmp_path / "cgroup", own) == GIB
    group(root / "job", GIB, GIB // 2, first=True)
    assert room_bytes(tmp_path / "cgroup", own_groups(tmp_path, "4:memory:/job\n")) == GIB // 2
    own = own_groups(tmp_path, "4:memory:/docker/0123abcd/job\n")
    assert room_bytes(tmp_path / "cgroup", own) == GIB // 2


def test_a_group_of_another_container_is_not_ones_own(tmp_path: Path) -> None:
    """Only the folders of one's own path, or what is left of it, are looked at."""
    group(tmp_path / "a", 1, 0)
    group(tmp_path / "b" / "a", 3 * GIB, GIB)
    assert room_bytes(tmp_path, own_groups(tmp_path, "0::/b/a\n")) == 2 * GIB


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    """As on a system that has none."""
    assert room_bytes(tmp_path / "none", tmp_path / "none") is None
    assert room_bytes(tmp_path, own_groups(tmp_path, "1:name=systemd:/\n")) is None
