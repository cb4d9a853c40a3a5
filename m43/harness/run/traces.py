"""The own traces: what a run, or what it uses, writes into the checkout because it was told to.

The watch over the working tree leaves exactly these out, and the records name them. Where one of
them is the checkout itself, or meets what the run is about, no run begins.
"""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from m43.evidence.contract import contract_folders
from m43.evidence.journal import ledger
from m43.harness.run.hub_access import hub_cache, hub_home
from m43.records import LOOPBACK_ENDPOINT, Profile

# What a run is about; whatever lies there is watched.
_WATCHED = ("m43", ledger.RUNS)
_LEDGER = Path(ledger.RUNS, ledger.FILE)
_PROCESSES = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A folder or a file that is written while a run is on."""

    path: Path  # absolute, links resolved
    of: str

    def within(self, repository: Path) -> str:
        """Give its path from the repository on; empty where it lies elsewhere, "." for all of it.

        A folder around the repository is elsewhere: what is written there has names of its own.
        """
        root = Path(os.path.realpath(repository))
        return self.path.relative_to(root).as_posix() if self.path.is_relative_to(root) else ""


def own_traces(
    environment: Mapping[str, str], repository: Path, profile: Profile
) -> tuple[Trace, ...]:
    """List what will be written into the checkout by configuration."""
    # The cache of a rehearsal's own hub is a temporary folder.
    own_hub = profile.hub.endpoint == LOOPBACK_ENDPOINT
    hubs = () if own_hub else _hubs_folders(environment)
    places = (*hubs, *_other_folders(environment))
    traces = [Trace(path=Path(os.path.realpath(path)), of=of) for of, path in places]
    traces += [
        Trace(path=path, of="a file that a command of this session writes")
        for path in _open_files(_PROCESSES)
    ]
    by_path = {trace.path: trace for trace in traces if trace.within(repository)}
    own = Path(os.path.realpath(repository / _LEDGER))
    return tuple(by_path[path] for path in sorted(by_path) if path != own)


def meets(trace: Trace, repository: Path, data: Sequence[Path], tracked: Sequence[str]) -> str:
    """Say which part of the submission a trace would hide from the watch; empty when none.

    Args:
        trace: One within the repository.
        repository: The working tree.
        data: Files that a run reads: its profile and its rows.
        tracked: What git knows at this path.
    """
    if trace.within(repository) == ".":
        return "the whole checkout"
    folders = (*_WATCHED, *contract_folders(repository))
    for path in (*(repository / name for name in folders), *data):
        watched = Path(os.path.realpath(path))
        # A log straight in the folder of runs is no run.
        log = watched.name == ledger.RUNS and trace.path.parent == watched
        if log and not trace.path.is_dir() and trace.path.exists():
            continue
        if trace.path.is_relative_to(watched) or watched.is_relative_to(trace.path):
            return path.name
    return tracked[0] if tracked else ""


def _hubs_folders(environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """Name what the hub's client, and what training reads rows with, keep.

    Source: huggingface_hub 2.4, constants.py; datasets 5, config.py.
    """
    home = hub_home(environment)
    yield "the Hugging Face cache", hub_cache(environment)
    yield "the cache of hf_xet", _named(environment, "HF_XET_CACHE", home / "xet")
    yield "the cache of datasets", _named(environment, "HF_DATASETS_CACHE", home / "datasets")
    yield "a list that huggingface_hub keeps", home / ".agent_harnesses.json"
    yield "compiled programs of rehearsals", home / "m43-compiled"


def _other_folders(environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    yield "temporary files", Path(tempfile.gettempdir())
    if sys.pycache_prefix:
        yield "compiled Python", Path(sys.pycache_prefix)
    # Source: CUDA C++ Programming Guide, environment variables: CUDA_CACHE_PATH.
    compiled = Path(environment.get("HOME") or "/", ".nv", "ComputeCache")
    yield "programs that the CUDA driver compiled", _named(environment, "CUDA_CACHE_PATH", compiled)


def _named(environment: Mapping[str, str], name: str, otherwise: Path) -> Path:
    return Path(environment.get(name) or otherwise)


def _open_files(processes: Path) -> Iterator[Path]:
    """Name the files that this session and what began it have open for writing.

    The output of the run itself, whether a shell, tee, nohup or script takes it, and what else
    this terminal writes into: they grow while the run is on. Systems without /proc tell nothing.
    """
    for process in _session(processes):
        try:
            for entry in (process / "fd").iterdir():
                path = entry.readlink()
                if path.is_absolute() and path.is_file() and _is_written(process, entry.name):
                    yield path
        except OSError:
            # It has ended, or is another person's.
            continue


def _session(processes: Path) -> Iterator[Path]:
    known = {path.name: _origin(path) for path in processes.glob("[0-9]*")}
    mine = str(os.getpid())
    parent, session = known.get(mine, ("", ""))
    ancestors = set()
    while parent in known and parent not in ancestors:
        ancestors.add(parent)
        parent = known[parent][0]
    readers = _readers(processes, mine, known)
    for name, (_, its_session) in known.items():
        same = its_session == session != "0"
        if name == mine or name in ancestors or name in readers or same:
            yield processes / name


def _readers(processes: Path, mine: str, known: Iterable[str]) -> set[str]:
    """Find who reads what a process writes, and so on down the pipeline.

    In a container that was entered from outside, the kernel names no session (0), so that a
    pipeline is told by its pipes alone.
    """
    pipes = {name: _pipes(processes / name) for name in known}
    found: set[str] = set()
    waiting = [mine]
    while waiting:
        _, written = pipes.get(waiting.pop(), (frozenset(), frozenset()))
        further = [name for name in pipes if name not in found and pipes[name][0] & written]
        found.update(further)
        waiting += further
    return found


def _pipes(process: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Name the pipes that a process can read from, and those that it can write to."""
    read: set[str] = set()
    written: set[str] = set()
    try:
        for entry in (process / "fd").iterdir():
            name = str(entry.readlink())
            if name.startswith("pipe:"):
                (written if _is_written(process, entry.name) else read).add(name)
    except OSError:
        # It has ended, or is another person's.
        pass
    return frozenset(read), frozenset(written)


def _origin(process: Path) -> tuple[str, str]:
    """Give a process's parent and session.

    Source: Linux, proc(5), /proc/PID/stat: behind the name, which may hold anything.
    """
    try:
        fields = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return "", "0"
    return fields[1], fields[3]


def _is_written(process: Path, descriptor: str) -> bool:
    text = (process / "fdinfo" / descriptor).read_text()
    flags = next(line.split()[1] for line in text.splitlines() if line.startswith("flags:"))
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
