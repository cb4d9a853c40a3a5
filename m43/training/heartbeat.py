"""The heartbeat: where the child is now, told to its parent through one small file."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from m43.records import Heartbeat, Phase
from m43.run_dir import write_record

_SECONDS_BETWEEN_BEATS = 0.5
_SECONDS_BETWEEN_LINES = 5.0
_STATM = Path("/proc/self/statm")


class Heartbeats:
    """Writes heartbeats and log lines no oftener than useful, and keeps the phases' times.

    No thread beats on its own: a beat says that the work itself went on.
    """

    def __init__(
        self, path: Path, log: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._log = log
        self._clock = clock
        self._last = Heartbeat(phase="start", done=0, total=0, loss_nats=0, tokens_per_s=0, beat=0)
        self._beat_at = self._line_at = -float("inf")
        self._phases: list[Phase] = []
        self._device_bytes: Callable[[], int] = lambda: 0

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases that have ended, in order."""
        return tuple(self._phases)

    @property
    def last(self) -> Heartbeat:
        """What was said last, written or not."""
        return self._last

    def measure_device(self, measure: Callable[[], int]) -> None:
        """Have each beat tell the memory in use on the device, once there is one to ask."""
        self._device_bytes = measure

    @contextmanager
    def phase(self, name: str, total: int = 0) -> Iterator[None]:
        """Measure a stretch of work, and beat at its start whatever the pace.

        The counts of an earlier phase are kept until this one counts something of its own, so
        that the parent never sees finished steps disappear.
        """
        begun = self._clock()
        kept = replace(self._last, phase=name)
        self._say(replace(kept, done=0, total=total) if total else kept)
        yield
        duration_s = self._clock() - begun
        self._phases.append(Phase(name=name, duration_s=duration_s))
        self._print(f"{name}: {duration_s:.1f} s")

    def progress(self, done: int, *, loss_nats: float = 0.0, tokens_per_s: float = 0.0) -> None:
        """Tell how far the phase is; the last count of a phase is always written."""
        now = self._clock()
        self._last = replace(self._last, done=done, loss_nats=loss_nats, tokens_per_s=tokens_per_s)
        ended = done == self._last.total
        if ended or now - self._beat_at >= _SECONDS_BETWEEN_BEATS:
            self._say(self._last)
        if ended or now - self._line_at >= _SECONDS_BETWEEN_LINES:
            self._line_at = now
            self._print(_line(self._last))

    def _say(self, heartbeat: Heartbeat) -> None:
        self._last = replace(
            heartbeat,
            beat=heartbeat.beat + 1,
            host_bytes=resident_bytes(),
            device_bytes=self._device_bytes(),
        )
        self._beat_at = self._clock()
        write_record(self._path, self._last)

    def _print(self, text: str) -> None:
        self._log.write(text + "\n")
        self._log.flush()


def resident_bytes(statm: Path = _STATM) -> int:
    """Give the memory that this process holds now; 0 where the system does not say.

    Source: proc_pid_statm(5): the second number, in pages.
    """
    try:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _line(beat: Heartbeat) -> str:
    loss = f", loss {beat.loss_nats:.4f}" if beat.loss_nats else ""
    speed = f", {beat.tokens_per_s:.0f} tokens/s" if beat.tokens_per_s else ""
    return f"{beat.phase}: {beat.done} of {beat.total}{loss}{speed}"
