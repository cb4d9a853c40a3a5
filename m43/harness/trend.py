"""The trend: where a noisy loss is going, in one word."""

from collections import deque
from typing import Literal

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
        ...     trend.see(step, 3.0 / step)
        >>> trend.word
        'falling'
    """

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=_KEPT)
        self._step = 0

    def see(self, step: int, loss_nats: float) -> None:
        """Take the loss of a step; a step that was seen before says nothing new."""
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
