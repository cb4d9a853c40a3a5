"""Memory as the kernel counts it: what this process holds, and what its control groups leave."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

Kind = Literal["resident", "data"]

CGROUP, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
STATM = Path("/proc/self/statm")
# Source: proc_pid_statm(5): numbers of pages; data and stack are what RLIMIT_DATA is held against.
_PLACES: Mapping[Kind, int] = {"resident": 1, "data": 5}


def own_bytes(kind: Kind, statm: Path = STATM) -> int | None:
    """Return the memory that this process holds now; None where the system does not say."""
    try:
        return int(statm.read_text().split()[_PLACES[kind]]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


@dataclass(frozen=True, kw_only=True)
class _Version:
    """Where a version of control groups keeps its memory controller, and what its files are named.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst. Above
    memory.high processes are held up until memory is given back, which for a run is no room either.
    """

    place: str
    limits: tuple[str, ...]
    used: str
    cached: str


_SECOND = _Version(
    place=".", limits=("memory.max", "memory.high"), used="memory.current", cached="inactive_file"
)
# Of a group and all below it, as the limit and the usage are. No limit is a huge number there.
_FIRST = _Version(
    place="memory",
    limits=("memory.limit_in_bytes",),
    used="memory.usage_in_bytes",
    cached="total_inactive_file",
)


def room_bytes(cgroup: Path = CGROUP, own: Path = OWN_GROUPS) -> int | None:
    """Return what the tightest group around this process leaves; None where none has a limit.

    From the process's own group up to the root, because each limit applies; memory of other
    processes of a group counts. Inactive file cache does not: the kernel reclaims it before it
    kills anybody. Active file cache may be in use, and counts.

    Source: Kubernetes, which evicts by the same figure (usage less inactive_file: cAdvisor,
    container/libcontainer/handler.go, setMemoryStats).
    """
    paths = _own_paths(own)
    rooms = [
        room
        for version in (_SECOND, _FIRST)
        for folder in _upwards(cgroup / version.place, paths.get(version.place, "/"))
        for room in _rooms(folder, version)
    ]
    return min(rooms, default=None)


def _own_paths(own: Path) -> dict[str, str]:
    """Read in which group of either version this process is.

    Source: cgroups(7), /proc/pid/cgroup: number:controllers:path, of version 2 without controllers.
    """
    paths = {}
    for line in own.read_text().splitlines() if own.exists() else ():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            paths[_SECOND.place] = path
        elif "memory" in controllers.split(","):
            paths[_FIRST.place] = path
    return paths


def _upwards(root: Path, path: str) -> Iterator[Path]:
    """Yield the folders of a group and of its parents, as far as they can be seen from here.

    In a container the path may be the host's while the files are the container's own: then what
    is left of it under the root counts, and the root itself in any case.
    """
    parts = PurePosixPath(path).parts[1:]
    # Above the root of a namespace, where nothing can be read.
    tails = () if ".." in parts else (parts[start:] for start in range(len(parts)))
    seen = next((tail for tail in tails if root.joinpath(*tail).is_dir()), ())
    for count in range(len(seen), -1, -1):
        yield root.joinpath(*seen[:count])


def _rooms(folder: Path, version: _Version) -> Iterator[int]:
    used = _number(folder / version.used)
    if used is None:
        return
    held = max(0, used - _statistic(folder / "memory.stat", version.cached))
    for name in version.limits:
        limit = _number(folder / name)
        if limit is not None:
            yield max(0, limit - held)


def _number(path: Path) -> int | None:
    """Read a figure; None of a file that is not there, or says "max"."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _statistic(path: Path, name: str) -> int:
    try:
        lines = (line.split() for line in path.read_text().splitlines())
        return next((int(words[1]) for words in lines if words[:1] == [name]), 0)
    except (OSError, ValueError, IndexError):
        return 0
