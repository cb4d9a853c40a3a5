"""Progress of a child: heartbeats in one small file, and the watch for divergence."""

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from m43.errors import FailureClass, M43Error
from m43.records import DivergenceTable, Heartbeat, Phase, write_record
from m43.training.control_groups import own_bytes

_SECONDS_BETWEEN_BEATS = 0.5
_SECONDS_BETWEEN_LINES = 5.0


class Heartbeats:
    """Write heartbeats and log lines, rate-limited, and measure the phases.

    No thread beats on its own: a beat proves that the work itself went on.
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
        """The last heartbeat, written or not."""
        return self._last

    def measure_device(self, measure: Callable[[], int]) -> None:
        """Record the device's memory in use with each heartbeat, once there is a device."""
        self._device_bytes = measure

    @contextmanager
    def phase(self, name: str, total: int = 0) -> Iterator[None]:
        """Time a phase, and emit a heartbeat at its start whatever the pace.

        The counts of an earlier phase are kept until this one counts something of its own, so
        that the parent never sees finished steps disappear.
        """
        begun = self._clock()
        kept = replace(self._last, phase=name)
        self._emit(replace(kept, done=0, total=total) if total else kept)
        yield
        duration_s = self._clock() - begun
        self._phases.append(Phase(name=name, duration_s=duration_s))
        self._print(f"{name}: {duration_s:.1f} s")

    def progress(self, done: int, *, loss_nats: float = 0.0, tokens_per_s: float = 0.0) -> None:
        """Record how far the phase is; the last count of a phase is always written."""
        now = self._clock()
        self._last = replace(self._last, done=done, loss_nats=loss_nats, tokens_per_s=tokens_per_s)
        ended = done == self._last.total
        if ended or now - self._beat_at >= _SECONDS_BETWEEN_BEATS:
            self._emit(self._last)
        if ended or now - self._line_at >= _SECONDS_BETWEEN_LINES:
            self._line_at = now
            self._print(_line(self._last))

    def _emit(self, heartbeat: Heartbeat) -> None:
        self._last = replace(
            heartbeat,
            beat=heartbeat.beat + 1,
            host_bytes=own_bytes("resident") or 0,
            device_bytes=self._device_bytes(),
        )
        self._beat_at = self._clock()
        write_record(self._path, self._last)

    def _print(self, text: str) -> None:
        self._log.write(text + "\n")
        self._log.flush()


def _line(beat: Heartbeat) -> str:
    loss = f", loss {beat.loss_nats:.4f}" if beat.loss_nats else ""
    speed = f", {beat.tokens_per_s:.0f} tokens/s" if beat.tokens_per_s else ""
    return f"{beat.phase}: {beat.done} of {beat.total}{loss}{speed}"


class DivergedError(M43Error):
    """A loss that has grown far beyond where it began, and stays there."""

    failure_class = FailureClass.DIVERGED

    def __init__(self, *, step: int, last: float, first: float, table: DivergenceTable) -> None:
        super().__init__(
            found=f"a median loss of {last:.4f} nats over the last {table.last_steps} steps, "
            f"{last / first:.2f} times the first {table.first_steps} steps' {first:.4f}, "
            f"at step {step}",
            expected=f"at most {table.loss_ratio} times, as [divergence] in the profile says",
            where=f"training step {step}",
            action="lower training.learning_rate or lengthen the warm-up; nothing was saved",
        )
        self.step = step


class DivergenceWatch:
    """Compares the latest losses with the first ones, step by step.

    Medians, because one hard batch is no divergence; of the first few steps, because the learning
    rate has hardly risen then; relative, because a model that was pre-trained and one that was not
    begin at different losses. A loss that is not a number is another failure, found before.

    Example:
        >>> watch = DivergenceWatch(DivergenceTable(first_steps=1, last_steps=3, loss_ratio=2.0))
        >>> for step, loss in enumerate([1.0, 9.0, 1.0, 2.0, 9.0], start=1):
        ...     watch.update(step, loss)
        >>> watch.update(6, 9.0)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        m43.training.progress.DivergedError: training step 6: found a median loss of 9.0000 ...
    """

    def __init__(self, table: DivergenceTable) -> None:
        self._table = table
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=table.last_steps)

    def update(self, step: int, loss_nats: float) -> None:
        """Add a step's loss.

        Raises: DivergedError.
        """
        table = self._table
        if len(self._first) < table.first_steps:
            self._first.append(loss_nats)
            return
        self._last.append(loss_nats)
        if len(self._last) < table.last_steps:
            return
        first, last = statistics.median(self._first), statistics.median(self._last)
        if last > table.loss_ratio * first:
            raise DivergedError(step=step, last=last, first=first, table=table)
