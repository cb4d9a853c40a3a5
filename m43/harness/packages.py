"""The packages: everything that is installed in an environment, as one digest that a change moves.

A file counts with its name, its size and its time of change, and every RECORD with its bytes: so
an install, an upgrade, a removal and an edited file are noticed, at the cost of looking at each
file once. What Python caches beside the sources is not part of it.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Packages:
    """The installed files: one digest per name at the top of a site-packages folder."""

    entries: Mapping[str, str] = field(repr=False)
    sha256: str


def measure(site_packages: Iterable[Path]) -> Packages:
    """Digest what lies in the folders; the same folder under two names counts once."""
    folders = sorted({folder.resolve() for folder in site_packages if folder.is_dir()})
    entries: dict[str, str] = {}
    for index, folder in enumerate(folders):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name != "__pycache__":
                # Two folders may hold the same name (lib and lib64): both must count.
                entries[f"{index}/{entry.name}"] = _digest(entry)
    whole = "".join(f"{digest}  {name}\n" for name, digest in sorted(entries.items()))
    return Packages(entries=entries, sha256=hashlib.sha256(whole.encode()).hexdigest())


def changes(before: Packages, after: Packages) -> tuple[str, ...]:
    """Name what was added, removed or changed."""
    names = sorted(before.entries.keys() | after.entries.keys())
    return tuple(
        f"{name.partition('/')[2]} ({_how(before.entries.get(name), after.entries.get(name))})"
        for name in names
        if before.entries.get(name) != after.entries.get(name)
    )


def _how(before: str | None, after: str | None) -> str:
    if before is None:
        return "added"
    return "removed" if after is None else "changed"


def _digest(top: "os.DirEntry[str]") -> str:
    digest = hashlib.sha256()
    for name, entry in _files(top, top.name):
        status = entry.stat(follow_symlinks=False)
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="replace"))
        if entry.name == "RECORD":
            digest.update(hashlib.sha256(Path(entry.path).read_bytes()).digest())
    return digest.hexdigest()


def _files(entry: "os.DirEntry[str]", name: str) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    if not entry.is_dir(follow_symlinks=False):
        yield name, entry
        return
    if entry.name == "__pycache__":
        return
    for inner in sorted(os.scandir(entry.path), key=lambda inner: inner.name):
        yield from _files(inner, f"{name}/{inner.name}")
