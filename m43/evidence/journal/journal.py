"""The journal on disk: append-only, one write per entry, synced at the edges of gates."""

import errno
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from m43.evidence.journal import chain
from m43.evidence.journal.chain import EDGES, CutChainError, Entry, Event, follow
from m43.evidence.journal.secrets import redact
from m43.files import sync

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Give the time that entries carry unless a test gives another."""
    return datetime.now(UTC)


def steady_clock(now: Clock = utc_now, elapsed_s: Callable[[], float] | None = None) -> Clock:
    """Make a clock that is read once and only goes forward from then on.

    Whoever sets the machine's clock during a run makes no duration of it: a journal's times differ
    by what really passed, a machine's sleep included.
    """
    boottime = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    passed = elapsed_s or (lambda: time.clock_gettime(boottime))
    begun, start = now(), passed()
    return lambda: begun + timedelta(seconds=passed() - start)


def stamp(moment: datetime) -> str:
    """Write a moment as every record does: UTC, milliseconds, a Z at the end."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal:
    """The writer of a run's journal; there is one writer at a time."""

    def __init__(self, path: Path, entries: tuple[Entry, ...], now: Clock) -> None:
        self.path = path
        self._entries = entries
        self._now = now

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What stands in the file: every entry that was read from it or written into it."""
        return self._entries

    @classmethod
    def create(cls, path: Path, now: Clock = utc_now) -> "Journal":
        """Begin a journal; there must be none yet."""
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        sync(path.parent)
        return cls(path, (), now)

    @classmethod
    def open(cls, path: Path, now: Clock = utc_now) -> "Journal":
        """Go on with a journal that is whole.

        Raises: BrokenChainError, CutChainError.
        """
        return cls(path, read(path), now)

    def append(
        self,
        event: Event,
        *,
        gate: str = "",
        name: str = "",
        failure_class: str = "",
        detail: str = "",
    ) -> Entry:
        """Write one entry; at the edges of gates, return only when it is on the disk.

        Raises:
            OSError: when it cannot be written; the journal is then as it was before.
        """
        draft = Entry(
            seq=0,
            time_utc=stamp(self._now()),
            event=event,
            gate=gate,
            name=name,
            failure_class=str(failure_class),
            detail=redact(detail, ()),
            previous_sha256="",
            sha256="",
        )
        entry = follow(self._entries[-1] if self._entries else None, draft)
        append_line(self.path, chain.line(entry), sync=event in EDGES)
        self._entries = (*self._entries, entry)
        return entry


def read(path: Path) -> tuple[Entry, ...]:
    """Read a journal and check its chain.

    Raises: BrokenChainError, CutChainError (which carries the whole lines before the cut).
    """
    return chain.parse(Entry, path.read_bytes(), str(path))


def drop_unfinished(path: Path) -> int:
    """Take away the last line that a power cut left unfinished, and tell how long it was.

    A line after it would be unreadable.

    Raises: BrokenChainError.
    """
    return drop_cut(path, read)


def drop_cut(path: Path, read_chain: Callable[[Path], object]) -> int:
    """Shorten a file of chained lines to its whole ones, and tell how many bytes were not.

    Raises: BrokenChainError, from the reading.
    """
    try:
        read_chain(path)
    except CutChainError as cut:
        os.truncate(path, cut.good_bytes)
        return cut.cut_bytes
    return 0


def append_line(path: Path, data: bytes, *, sync: bool) -> None:
    """Append bytes in one write, so that no other writer's bytes can come between them.

    Raises: OSError, when the disk does not take all of them; it has then taken none.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        before = os.fstat(descriptor).st_size
        written = os.write(descriptor, data)
        if written != len(data):
            # A disk that fills in the middle of a line; the next line must not follow half of one.
            os.ftruncate(descriptor, before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
