"""The progress of a gate at this moment, as one line for a person, with the trend of the loss."""

import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from m43.harness.process import Sight
from m43.records import Heartbeat, gate_named
from m43.text import duration_words, size_words

Word = Literal["", "falling", "level", "rising"]

# Enough to see through the noise of a batch, few enough to be about now.
_KEPT = 40
_FEWEST = 8
# Of the loss: a smaller change is noise to the eye of a person who reads a number.
_LEVEL = 0.02


class Trend:
    """Remembers the last losses and compares their newer half with the older one.

    Example:
        >>> trend = Trend()
        >>> for step in range(1, 9):
        ...     trend.add(step, 3.0 / step)
        >>> trend.word
        'falling'
    """

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=_KEPT)
        self._step = 0

    def add(self, step: int, loss_nats: float) -> None:
        """Add the loss of a step; a step that was added before is ignored."""
        if step > self._step:
            self._step = step
            self._losses.append(loss_nats)

    @property
    def word(self) -> Word:
        """Where the loss is going; empty while too few steps tell."""
        losses = list(self._losses)
        if len(losses) < _FEWEST:
            return ""
        half = len(losses) // 2
        before, after = sum(losses[:half]) / half, sum(losses[-half:]) / half
        if abs(after - before) <= _LEVEL * abs(before):
            return "level"
        return "falling" if after < before else "rising"


_SPEEDS_KEPT = 10
_LEAST_SHOWN_BYTES = 50 * 2**20


class Progress:
    """What is known of the gate that is under way; whoever shows it asks for the line."""

    def __init__(self, gate: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.gate = gate
        self._clock = clock
        self._begun = clock()
        self._words = gate_named(gate).first_words
        self._phase = ""
        self._phase_begun: tuple[float, int] = (0.0, 0)
        self._counting = False
        self._trend = Trend()
        self._speeds: deque[float] = deque(maxlen=_SPEEDS_KEPT)
        self._beat = 0

    @property
    def elapsed_s(self) -> float:
        """How long the gate has been under way."""
        return self._clock() - self._begun

    @property
    def line(self) -> str:
        """Where the gate is."""
        return self._words

    def child(self, sight: Sight) -> None:
        """Update from what the parent sees of a child."""
        beat = sight.beat
        if beat is None:
            self._words = f"starting, {duration_words(sight.elapsed_s, whole=True)}"
            return
        done = max(beat.done, sight.steps) if beat.total else beat.done
        done = min(done, beat.total) if beat.total else done
        if beat.phase != self._phase:
            self._phase, self._phase_begun = beat.phase, (sight.elapsed_s, done)
            self._counting = False
        # A later phase keeps the counts of an earlier one, all of them done.
        self._counting = self._counting or done < beat.total
        if beat.beat != self._beat and beat.tokens_per_s:
            self._speeds.append(beat.tokens_per_s)
        self._beat = beat.beat
        if self._counting:
            self._words = ", ".join(self._counted(beat, done, sight.elapsed_s))
        else:
            since = sight.elapsed_s - self._phase_begun[0]
            self._words = f"{beat.phase}, {duration_words(since, whole=True)}{_memory(beat)}"

    def download(self, sight: Sight) -> None:
        """Update from what the parent sees of a download; its counts are bytes."""
        beat = sight.beat
        took = duration_words(sight.elapsed_s, whole=True)
        if beat is None or not beat.total:
            self._words = f"asking for the model's files, {took}"
            return
        counts = f"{size_words(beat.done)} of {size_words(beat.total)}"
        self._words = f"{beat.phase}: {counts}, {took}"

    def _counted(self, beat: Heartbeat, done: int, elapsed_s: float) -> list[str]:
        unit = gate_named(self.gate).unit or "part"
        # "train: step 3 of 300" says one thing twice.
        phase = "" if unit == "step" else f"{beat.phase}: "
        parts = [f"{phase}{unit} {done} of {beat.total}"]
        if beat.loss_nats:
            self._trend.add(done, beat.loss_nats)
            parts.append(f"loss {beat.loss_nats:.3f} {self._trend.word}".rstrip())
        if beat.tokens_per_s and self._speeds:
            parts.append(f"{sum(self._speeds) / len(self._speeds):.0f} tokens/s")
        left = self._left_s(elapsed_s, done, beat.total)
        if left is not None:
            parts.append(f"{duration_words(left, whole=True)} left")
        parts[-1] += _memory(beat)
        return parts

    def _left_s(self, elapsed_s: float, done: int, total: int) -> float | None:
        begun_s, begun_at = self._phase_begun
        if done <= begun_at or elapsed_s <= begun_s:
            return None
        return (total - done) * (elapsed_s - begun_s) / (done - begun_at)


def _memory(beat: Heartbeat) -> str:
    """Describe the memory in use, of the device where it counts; empty where not measured."""
    host, device = beat.host_bytes, beat.device_bytes
    words = f", {size_words(host)} memory" if host >= _LEAST_SHOWN_BYTES else ""
    if device < _LEAST_SHOWN_BYTES:
        return words
    return f"{words}, {size_words(device)} on the device"
