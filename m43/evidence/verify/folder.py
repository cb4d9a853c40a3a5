"""The run folder as a folder: looked at before anything in it is read, and each name known.

A pipe would be waited on for ever and a file with holes may be larger than any disk: such a folder
is refused whole, by its names and sizes alone. What can be read must also be something: a file that
stands in no table and follows from no record is named, and one that holds a secret.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from m43.errors import Problem, problem
from m43.evidence.journal import secrets
from m43.evidence.run import LoadedRun
from m43.records import FILES, RunDir, unfinished
from m43.text import is_weight_file

# A tokenizer of Gemma 3 takes 33 MB and a log of days less; weights of 27 billion take 54 GB.
MOST_BYTES, MOST_WEIGHT_BYTES = 1 << 28, 1 << 37
# The run folder holds model and adapter, and nothing below them.
_MOST_DEPTH, MOST_ENTRIES = 2, 10_000
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}
_unreadable = partial(
    problem, action="nothing of this folder was read: take that out of it, or fetch it again"
)
_strange = partial(
    problem, action="do not rely on it: no record speaks of it, and m43 leaves nothing like it"
)


@dataclass(frozen=True, kw_only=True)
class _Found:
    name: str  # from the run folder on
    depth: int
    state: os.stat_result


def _walk(run: RunDir) -> Iterator[_Found]:
    """List a folder by lstat, a level at a time, no deeper and no longer than can be meant."""
    waiting, seen = [(run.path, 1)], 0
    while waiting:
        folder, depth = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                path, seen = Path(entry.path), seen + 1
                state = entry.stat(follow_symlinks=False)
                yield _Found(name=path.relative_to(run.path).as_posix(), depth=depth, state=state)
                # What is there only while a run goes on is told as that, not looked into.
                passing = path in (run.base_model, run.bytecode)
                if stat.S_ISDIR(state.st_mode) and depth <= _MOST_DEPTH and not passing:
                    waiting.append((path, depth + 1))
                if seen > MOST_ENTRIES:
                    return


def unreadable(run: RunDir) -> tuple[Problem, ...]:
    """Name what keeps a folder from being read: what has no end, or more of it than can be meant.

    With one of these in it nothing else is looked at.
    """
    try:
        found = list(_walk(run))
    except OSError as error:
        return (_unreadable(f"{type(error).__name__}: {error}", "a folder", run.path.name),)
    if len(found) > MOST_ENTRIES:
        return (_unreadable("more than 10,000 names", "those of a run", run.path.name),)
    return tuple(each for item in found for each in _unreadable_entry(run, item))


def _unreadable_entry(run: RunDir, item: _Found) -> Iterator[Problem]:
    kind = stat.S_IFMT(item.state.st_mode)
    most = MOST_WEIGHT_BYTES if is_weight_file(item.name) else MOST_BYTES
    if kind in _KINDS:
        yield _unreadable(_KINDS[kind], "a file or a folder", item.name)
    elif kind == stat.S_IFDIR and item.depth > _MOST_DEPTH:
        yield _unreadable(f"a folder {item.depth} deep", "model and adapter alone", item.name)
    elif kind == stat.S_IFREG and item.state.st_size > most:
        found = f"{item.state.st_size:,} bytes"
        yield _unreadable(found, f"{most:,} at most", item.name)
    elif not os.access(run.path / item.name, os.R_OK):
        yield _unreadable("no permission to read it", "a file that may be read", item.name)


_KNOWN = frozenset(each.name for each in FILES) - {RunDir.processes.name}
_FOLDERS = (RunDir.model.name, RunDir.adapter.name)
# Source: PEFT 0.21, CONFIG_NAME and SAFETENSORS_WEIGHTS_NAME.
_OF_ADAPTER = frozenset({"adapter_config.json", "adapter_model.safetensors"})


# What a process of several leaves, beside what the first leaves for all.
_OF_PROCESS = (
    *(RunDir.probe, RunDir.probe_heartbeat, RunDir.probe_error),
    *(RunDir.metrics, RunDir.train_heartbeat, RunDir.train_error),
    *(RunDir.eval_heartbeat, RunDir.eval_error),
)


def _of_processes(loaded_run: LoadedRun) -> tuple[str, ...]:
    """List the folders that the processes of a run have; none where it has one alone."""
    profile, name = loaded_run.profile, RunDir.processes.name
    count = profile.contract.processes if profile is not None else 1
    return (name, *(f"{name}/{number}" for number in range(count))) if count > 1 else ()


def unknown_names(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Name what is in no table: a file of another name, or of one that looks unfinished."""
    known = {*_KNOWN, run.summary.name}
    if loaded_run.profile is not None:
        known |= {f"{RunDir.model.name}/{name}" for name in loaded_run.profile.hub.files}
    known |= {f"{RunDir.adapter.name}/{name}" for name in _OF_ADAPTER}
    own = _of_processes(loaded_run)
    known |= {f"{place}/{each.name}" for place in own for each in _OF_PROCESS} | {*own}
    left = {path.name for path in unfinished(run.path)}
    closed = any(entry.event == "closed" for entry in loaded_run.entries)
    for item in _walk(run):
        is_folder = stat.S_ISDIR(item.state.st_mode)
        if item.name in left and closed:
            expected = "files under their own names"
            yield _strange("a file under a name as unfinished ones have", expected, item.name)
        elif item.name not in known and item.name not in left:
            what = "an unknown folder" if is_folder else "an unknown file"
            yield _strange(what, "files of a run", item.name)
        elif is_folder != (item.name in (*_FOLDERS, RunDir.base_model.name, *own)):
            expected = "a file" if is_folder else "a folder"
            yield _strange("a folder" if is_folder else "a file", expected, item.name)
        elif is_folder and not any((run.path / item.name).iterdir()):
            yield _strange("an empty folder", "none, or files in it", item.name)


def secrets_in(run: RunDir, known: tuple[str, ...] = ()) -> Iterator[Problem]:
    """Name the files that hold a secret that is known, or what is shaped like a hub token."""
    for path in secrets.search(run.path, known):
        action = "revoke that token now; then take the folder out of circulation"
        where = path.relative_to(run.path).as_posix()
        yield problem("something shaped like a hub token", "no secrets", where, action)
