"""The working tree: every file of the repository that a run must leave alone, and its digest."""

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# What tools write while they work; none of it is anybody's submission.
_CACHES = frozenset(
    {
        ".git", "__pycache__", ".pytest_cache", ".hypothesis", ".mypy_cache", ".ruff_cache",
        ".import_linter_cache", ".ipynb_checkpoints", ".DS_Store",
    }
)  # fmt: skip
# What editors write beside a file that is only looked at. Source: Vim, recover.txt: .NAME.swp, and
# further letters where that is taken; GNU Emacs manual, "Interlocking": .#NAME.
_EDITORS = re.compile(r"\..*\.sw[a-p]|\.#.*")
_LEDGER = ("submission_runs", "attempts.jsonl")
# Beyond this a file (the weights of an earlier run) counts with its size and time of change:
# to read gigabytes twice would cost more than the gates.
_READ_BYTES = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The files of a working tree and their digests."""

    files: Mapping[str, str] = field(repr=False)
    sha256: str
    left_out: tuple[str, ...] = ()  # from the repository on: what the run itself writes there


def measure(repository: Path, run: Path, left_out: Iterable[str] = ()) -> Tree:
    """Digest every file of the repository but those of this run, of git, of tools and of venvs.

    Args:
        repository: The working tree.
        run: The run folder.
        left_out: Further paths from the repository on, which the run is known to write.
    """
    named = tuple(sorted(left_out))
    passed_over = {run, repository.joinpath(*_LEDGER), *(repository / name for name in named)}
    files = dict(sorted(_files(repository, repository, passed_over)))
    whole = "".join(f"{digest}  {name}\n" for name, digest in files.items())
    sha256 = hashlib.sha256(whole.encode(errors="replace")).hexdigest()
    return Tree(files=files, sha256=sha256, left_out=named)


def changes(before: Tree, after: Tree) -> tuple[str, ...]:
    """Name the paths that were added, removed or changed."""
    names = sorted(before.files.keys() | after.files.keys())
    return tuple(name for name in names if before.files.get(name) != after.files.get(name))


def _files(folder: Path, root: Path, left_out: set[Path]) -> Iterator[tuple[str, str]]:
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        # A folder that cannot be read is a fact like any other, and must be the same afterwards.
        yield folder.relative_to(root).as_posix(), f"unreadable: {type(error).__name__}"
        return
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name in _CACHES or _EDITORS.fullmatch(entry.name) or path in left_out:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(path, root, left_out)
        else:
            yield path.relative_to(root).as_posix(), _digest(path, entry)


def _digest(path: Path, entry: "os.DirEntry[str]") -> str:
    try:
        status = entry.stat(follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFLNK:
            # A link is what it points to, not what lies there.
            return f"link:{path.readlink()}"
        if kind != stat.S_IFREG:
            return f"special:{kind:o}"
        if status.st_size > _READ_BYTES:
            return f"large:{status.st_size}:{status.st_mtime_ns}"
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return f"unreadable: {type(error).__name__}"
