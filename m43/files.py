"""Files: read whole within a bound, digested, written whole or not at all, and locked."""

import errno
import hashlib
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from m43.errors import FailureClass, M43Error


class UnfitFileError(OSError):
    """A file that would never end, or never fit: no M43Error, because readers name it as theirs."""


def read_whole(path: Path, most_bytes: int) -> bytes:
    """Read a file, unless it is something else or larger than can be meant.

    Raises:
        OSError: as `open` does, and an UnfitFileError for a pipe, a device or too many bytes.
    """
    # Without blocking: to open a pipe that nobody writes to would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode):
        os.close(descriptor)
        raise UnfitFileError("not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        # A file that grows meanwhile is no larger than it said.
        data = file.read(most_bytes + 1) if state.st_size <= most_bytes else None
    if data is None or len(data) > most_bytes:
        raise UnfitFileError(f"more than {most_bytes:,} bytes")
    return data


class ModelFolderError(M43Error):
    """A model that cannot be written where it was asked for."""

    failure_class = FailureClass.HARNESS_ERROR


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a folder under another name, and rename it when it is whole and on the disk.

    Raises:
        ModelFolderError: if there is something in the folder already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ModelFolderError(
            found="a folder with files in it",
            expected="no folder, or an empty one",
            where=str(folder),
            action="name a folder that is not there",
        )
    partial = partial_folder(folder)
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
        for path in (*partial.iterdir(), partial):
            sync(path)
    except BaseException:
        # A full disk is the likely cause: what is half written only takes more of it.
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.replace(folder)
    sync(folder.parent)


def partial_folder(folder: Path) -> Path:
    """Return what a folder is called until it is whole."""
    return folder.with_name(f".{folder.name}.partial")


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk and not in a cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error says that the disk, or this person's share of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def keep_room(folder: Path, size_bytes: int, files: int) -> None:
    """Take room on a disk for later, and room for files: a disk can be full of either."""
    folder.mkdir()
    (folder / "room").write_bytes(bytes(size_bytes))
    for number in range(files):
        (folder / str(number)).touch()


def give_room(folder: Path) -> None:
    """Give kept room away; where there is none, nothing is done."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.unlink(missing_ok=True)


def is_not_writable(error: BaseException) -> bool:
    """Tell whether an error says that a place may not be written to."""
    codes = (errno.EROFS, errno.EACCES, errno.EPERM)
    return isinstance(error, OSError) and error.errno in codes


def is_process_limit(error: BaseException) -> bool:
    """Tell whether an error says that no further process or thread may be started.

    Source: fork(2), EAGAIN; CPython 3.11, _threadmodule.c.
    """
    refused = isinstance(error, OSError) and error.errno == errno.EAGAIN
    return refused or (isinstance(error, RuntimeError) and "start new thread" in str(error))


_LOOK_S = 0.05


class HeldError(M43Error):
    """A file that another living process writes."""


class FileLock:
    """An exclusive file lock (flock), held until it is released or its process ends.

    It needs no cleaning up: after SIGKILL or a power cut nobody holds the file any more, so what
    was cut off can be told from what still runs. A child does not inherit it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> "FileLock":
        """Lock a file that is there.

        Raises: HeldError, when another process (or another part of this one) holds it.
        """
        lock = cls(os.open(path, os.O_RDWR))
        if not (_lock(lock._descriptor, wait=False) or _lock_later(lock._descriptor)):
            lock.release()
            raise HeldError(
                found="a process that still writes it",
                expected="a run that has ended",
                where=str(path),
                action="let that run end, or end it yourself; m43 closes it afterwards",
            )
        return lock

    def release(self) -> None:
        """Release the lock; releasing it twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other process is inside, for a file that is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def written_together(path: Path) -> Iterator[int]:
    """Open a file that is there, into which several processes write, each bytes of its own."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        # Of a file without a lock an NFS client writes whole pages, and with them its old copy of
        # the neighbours' bytes. A lock of lockf would go when any other descriptor is closed.
        with suppress(OSError):
            _lock(descriptor, wait=False, shared=True)
        yield descriptor
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Tell whether a living process holds a file; nothing is written, and nobody is kept out."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return not _lock(descriptor, wait=False, shared=True)
    finally:
        os.close(descriptor)


def _lock_later(descriptor: int) -> bool:
    # Who only looks holds a file for a moment.
    time.sleep(_LOOK_S)
    return _lock(descriptor, wait=False)


def _lock(descriptor: int, *, wait: bool, shared: bool = False) -> bool:
    if sys.platform == "win32":
        # The venv gate refuses native Windows by name; until then there is nobody to wait for.
        return True
    import fcntl

    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def file_sha256(path: Path) -> str:
    """Give the SHA-256 of a file's bytes, read in pieces because weights are large."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Digests:
    """The SHA-256 of files, each read once as long as nothing of it changes.

    Its times, its inode and its size are looked at every time. Who puts the time of the last
    change back changes the time of that (ctime), which no program can put back.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, ...], str]] = {}

    def of(self, path: Path | str, status: os.stat_result | None = None) -> str:
        """Return the digest of a file's bytes.

        Raises: OSError.
        """
        state = file_state(status or Path(path).stat())
        known = self._known.get(str(path))
        if known is None or known[0] != state:
            known = self._known[str(path)] = (state, file_sha256(Path(path)))
        return known[1]


def file_state(status: os.stat_result) -> tuple[int, ...]:
    """Return what stands still as long as nobody writes to a file or puts another in its place."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def bytes_sha256(data: bytes) -> str:
    """Give the SHA-256 of bytes that were read already."""
    return hashlib.sha256(data).hexdigest()


def weights_sha256(folder: Path) -> str:
    """Digest a model's weights; empty when there are none.

    The same digest as the training child's, and as a shell's:

        cd FOLDER && LC_ALL=C sha256sum *.safetensors | sha256sum
    """
    digests = {path.name: file_sha256(path) for path in folder.glob("*.safetensors")}
    return weights_digest(digests) if digests else ""


def weights_digest(digests: Mapping[str, str]) -> str:
    """Give the digest of weights of which the SHA-256 of every file is known, by name."""
    names = sorted(digests, key=str.encode)
    lines = "".join(f"{digests[name]}  {name}\n" for name in names)
    return hashlib.sha256(lines.encode()).hexdigest()
