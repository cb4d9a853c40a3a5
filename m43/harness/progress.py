"""The progress: where a long gate is, live on a terminal, in a log a line every few seconds."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from m43.harness.process import Sight

_SECONDS_BETWEEN_LINES = 5.0
_MIB = 2**20


class Progress:
    """Shows where a gate is, past pytest's capturing of output."""

    def __init__(self, config: pytest.Config, clock: Callable[[], float] = time.monotonic) -> None:
        self._terminal: Any = config.pluginmanager.getplugin("terminalreporter")
        self._capture: Any = config.pluginmanager.getplugin("capturemanager")
        self._clock = clock
        self._gate = ""
        self._said_at = -float("inf")
        self._last = ""
        self._phase = ""
        self._phase_begun: tuple[float, int] = (0.0, 0)
        self._live: Any = None

    @contextlib.contextmanager
    def shown(self, gate: str) -> Iterator[None]:
        """Show a gate's progress until the block ends."""
        self._gate, self._last, self._said_at = gate, "", -float("inf")
        with self._uncaptured(), self._screen():
            yield

    def child(self, sight: Sight) -> None:
        """Show what the parent sees of a child."""
        self._say(self._child_line(sight))

    def file(self, name: str, done: int, total: int) -> None:
        """Show how far a download is."""
        if total >= _MIB:
            share = f"{done / _MIB:.0f} of {total / _MIB:.0f} MiB"
            self._say(f"{self._gate}  download {name}: {share}")

    def _child_line(self, sight: Sight) -> str:
        beat = sight.beat
        if beat is None:
            return f"{self._gate}  starting, {clock_text(sight.elapsed_s)}"
        done = max(beat.done, sight.steps) if beat.total else beat.done
        if beat.phase != self._phase:
            self._phase, self._phase_begun = beat.phase, (sight.elapsed_s, done)
        parts = [f"{self._gate}  {beat.phase}"]
        if beat.total:
            parts.append(f"{min(done, beat.total)} of {beat.total}")
        if beat.loss_nats:
            parts.append(f"loss {beat.loss_nats:.3f}")
        if beat.tokens_per_s:
            parts.append(f"{beat.tokens_per_s:.0f} tokens/s")
        left = self._left_s(sight.elapsed_s, done, beat.total)
        if left is not None:
            parts.append(f"{clock_text(left)} left")
        return "  ".join(parts)

    def _left_s(self, elapsed_s: float, done: int, total: int) -> float | None:
        begun_s, begun_at = self._phase_begun
        if not total or done <= begun_at or elapsed_s <= begun_s:
            return None
        return (total - min(done, total)) * (elapsed_s - begun_s) / (done - begun_at)

    def _say(self, line: str) -> None:
        if self._terminal is None or line == self._last:
            return
        now = self._clock()
        if self._live is not None:
            self._live.update(line)
        elif now - self._said_at >= _SECONDS_BETWEEN_LINES:
            self._said_at = now
            self._terminal.ensure_newline()
            self._terminal.write_line(f"    {line}")
        self._last = line

    @contextlib.contextmanager
    def _screen(self) -> Iterator[None]:
        if self._terminal is None or not self._terminal.isatty:
            yield
            return
        # Here and not above: a run that ends at its first gate shows nothing that moves.
        from rich.console import Console
        from rich.status import Status

        self._terminal.ensure_newline()
        with Status(self._gate, console=Console(markup=False, highlight=False)) as self._live:
            yield
        self._live = None

    @contextlib.contextmanager
    def _uncaptured(self) -> Iterator[None]:
        if self._capture is None:
            yield
            return
        with self._capture.global_and_fixture_disabled():
            yield


def clock_text(seconds: float) -> str:
    """Write a duration as people read a clock.

    Example:
        >>> clock_text(83)
        '1:23'
    """
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"
