"""Divergence: training that makes the model worse and worse, told from the losses alone."""

import statistics
from collections import deque

from m43.errors import FailureClass, M43Error
from m43.profile import DivergenceTable


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
        ...     watch.see(step, loss)
        >>> watch.see(6, 9.0)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        m43.training.divergence.DivergedError: training step 6: found a median loss of 9.0000 ...
    """

    def __init__(self, table: DivergenceTable) -> None:
        self._table = table
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=table.last_steps)

    def see(self, step: int, loss_nats: float) -> None:
        """Take a step's loss into account.

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
