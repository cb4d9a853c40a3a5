"""Records every write below a copied tree's `submission_runs`, in the order in which they happen.

Copied into the tree as `m43/recorder.py` and begun by its `m43/__init__.py`, so that pytest and
its children all write into one trace. What Python code writes goes through here byte by byte;
what compiled libraries write in scratch folders of their own does not, and is removed by them.
"""

import base64
import builtins
import io
import json
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RUNS = f"{ROOT}/submission_runs"
TRACE = ROOT.parent / "trace.jsonl"

_open, _write, _replace = os.open, os.write, os.replace
_unlink, _rmdir, _mkdir = os.unlink, os.rmdir, os.mkdir
_truncate, _ftruncate, _io_open = os.truncate, os.ftruncate, io.open


def note(op: str, path: str, **more: object) -> None:
    """Add an operation to the trace, in one write."""
    if not path.startswith(RUNS):
        return
    line = json.dumps({"op": op, "path": path[len(RUNS) + 1 :], **more}) + "\n"
    descriptor = _open(TRACE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    _write(descriptor, line.encode())
    os.close(descriptor)


def packed(data: Any) -> str:
    """Write bytes as text; the reserve's zeros take no room."""
    return base64.b64encode(zlib.compress(bytes(data), 1)).decode()


def path_of(file: Any, folder: int | None = None) -> str:
    """Give the path of a name, or of an open file."""
    if isinstance(file, int):
        return str(Path(f"/proc/self/fd/{file}").readlink())
    text = os.fspath(file)
    text = text.decode() if isinstance(text, bytes) else text
    if folder is not None and not os.path.isabs(text):  # noqa: PTH117 (Path is patched below)
        return f"{path_of(folder)}/{text}"
    return os.path.abspath(text)  # noqa: PTH100


class RecordingFile(io.FileIO):
    """A file whose every write is noted."""

    def write(self, data: Any) -> int:
        """Write, and note what was written where."""
        at = -1 if "a" in self.mode else self.tell()
        written = super().write(data)
        note("write", path_of(self.fileno()), at=at, data=packed(memoryview(data)[:written]))
        return written


def open_recorded(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """Open a file; one that is written below the runs is a recording one."""
    writes = set(mode) & set("wax") and "+" not in mode
    if not writes or not path_of(file).startswith(RUNS):
        return _io_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
    if not isinstance(file, int):
        note("create", path_of(file), truncate="w" in mode)
    raw = RecordingFile(file, mode.replace("b", "").replace("t", ""), closefd, opener)
    buffered = io.BufferedWriter(raw)
    if "b" in mode:
        return raw if buffering == 0 else buffered
    return io.TextIOWrapper(buffered, encoding, errors, newline)


def open_(path: Any, flags: int, *rest: Any, dir_fd: int | None = None, **more: Any) -> int:
    """Open a descriptor; note a file that comes to be."""
    descriptor = _open(path, flags, *rest, dir_fd=dir_fd, **more)
    if flags & os.O_CREAT:
        note("create", path_of(descriptor), truncate=bool(flags & os.O_TRUNC))
    return descriptor


def write(descriptor: int, data: Any) -> int:
    """Write, and note it."""
    written = _write(descriptor, data)
    if (path := path_of(descriptor)).startswith(RUNS):
        note("write", path, at=-1, data=packed(memoryview(data)[:written]))
    return written


def replace(source: Any, target: Any, **more: Any) -> None:
    """Rename, and note it."""
    _replace(source, target, **more)
    note("rename", path_of(source), to=path_of(target)[len(RUNS) + 1 :])


def unlink(path: Any, *, dir_fd: int | None = None) -> None:
    """Remove a file, and note it."""
    where = path_of(path, dir_fd)
    _unlink(path, dir_fd=dir_fd)
    note("unlink", where)


def rmdir(path: Any, *, dir_fd: int | None = None) -> None:
    """Remove a folder, and note it."""
    where = path_of(path, dir_fd)
    _rmdir(path, dir_fd=dir_fd)
    note("unlink", where)


def mkdir(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
    """Make a folder, and note it."""
    _mkdir(path, mode, dir_fd=dir_fd)
    note("mkdir", path_of(path, dir_fd))


def ftruncate(descriptor: int, length: int) -> None:
    """Shorten a file, and note it."""
    _ftruncate(descriptor, length)
    note("truncate", path_of(descriptor), length=length)


def record() -> None:
    """Put the recorder in the way of everything that changes files."""
    changed = {
        "open": open_, "write": write, "replace": replace, "rename": replace, "unlink": unlink,
        "remove": unlink, "rmdir": rmdir, "mkdir": mkdir, "ftruncate": ftruncate,
    }  # fmt: skip
    for name, function in changed.items():
        setattr(os, name, function)
    io.open = builtins.open = open_recorded  # type: ignore[assignment]
    # Copies go through `open` as well, not through the kernel's own way from file to file.
    shutil._USE_CP_SENDFILE = False  # type: ignore[attr-defined]
