"""A small disk for the runs of a tree: a tmpfs that can be filled to the last byte."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

# The venv gate asks for 128 MiB beside the model.
SIZE_BYTES = 256 << 20


class NotAllowedError(Exception):
    """A machine that does not let us do to it what a case needs."""


class SmallDisk:
    """A file system in memory, mounted on a folder. It needs the right to mount (root)."""

    def __init__(self, folder: Path, *, size_bytes: int = SIZE_BYTES) -> None:
        self.folder = folder
        self._size_bytes = size_bytes

    @classmethod
    def require(cls, scratch: Path) -> None:
        """Make sure that this machine lets us mount one, and make folders immutable.

        Raises: NotAllowedError, with what is needed.
        """
        try:
            with cls(scratch / "may-we-mount"):
                pass
            make_immutable(scratch, yes=True)
            make_immutable(scratch, yes=False)
        except (OSError, subprocess.CalledProcessError) as error:
            raise NotAllowedError(
                f"found no right to mount a small disk ({_why(error)}), expected root with "
                "CAP_SYS_ADMIN and a file system that knows chattr +i; run the matrix as root on "
                "a machine of its own, or `make faults-quick`, which needs neither"
            ) from error

    def __enter__(self) -> Self:
        self.folder.mkdir()
        options = f"size={self._size_bytes}"
        _call("mount", "-t", "tmpfs", "-o", options, "m43-faults", str(self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        _call("umount", str(self.folder))

    def fill(self, *, but_bytes: int = 0) -> None:
        """Leave no more room than that."""
        descriptor = os.open(self.folder / "ballast", os.O_WRONLY | os.O_CREAT)
        try:
            # Others write meanwhile: what was free a moment ago may be too much already.
            while (room := shutil.disk_usage(self.folder).free - but_bytes) > 0:
                with contextlib.suppress(OSError):
                    os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, room)
        finally:
            os.close(descriptor)

    def shrink(self) -> None:
        """Leave no more room at once, without a file that would have to be written first."""
        while True:
            usage = shutil.disk_usage(self.folder)
            # Others write meanwhile: it cannot become smaller than what is on it.
            with contextlib.suppress(subprocess.CalledProcessError):
                _call("mount", "-o", f"remount,size={usage.used}", str(self.folder))
                return

    def take_inodes(self) -> None:
        """Leave no room for a further file, though there is room for bytes."""
        while True:
            state = os.statvfs(self.folder)
            used = state.f_files - state.f_ffree
            with contextlib.suppress(subprocess.CalledProcessError):
                _call("mount", "-o", f"remount,nr_inodes={used}", str(self.folder))
                return

    def grow(self) -> None:
        """Make room again."""
        _call("mount", "-o", f"remount,size={self._size_bytes}", str(self.folder))

    def make_read_only(self) -> None:
        """Take nothing more; only possible while nobody writes."""
        _call("mount", "-o", "remount,ro", str(self.folder))


def make_immutable(folder: Path, *, yes: bool) -> None:
    """Have a folder take no new names, also from root, as a wrong owner or mode does to others."""
    _call("chattr", "+i" if yes else "-i", str(folder))


def bind(source: Path, target: Path) -> None:
    """Put one file in another's place."""
    _call("mount", "--bind", str(source), str(target))


def unbind(target: Path) -> None:
    """Take it away again."""
    _call("umount", str(target))


def _call(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def _why(error: Exception) -> str:
    said = getattr(error, "stderr", b"") or b""
    return said.decode(errors="replace").strip() or str(error)
