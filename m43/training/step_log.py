"""The step log: a line of `training_metrics.jsonl` for every step, written as it happens."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from m43 import typed_json
from m43.core import StepMetrics
from m43.errors import FailureClass, M43Error
from m43.records import DivergenceTable, run_records
from m43.training.progress import DivergenceWatch, Heartbeats


class NonFiniteLossError(M43Error):
    """A loss or a gradient that is not a number; the weights of that step are spoilt."""

    failure_class = FailureClass.NON_FINITE_LOSS

    def __init__(self, *, step: int, loss_nats: float, gradient_norm: float) -> None:
        super().__init__(
            found=f"loss {loss_nats}, gradient norm {gradient_norm} at step {step}",
            expected="finite numbers",
            where=f"training step {step}",
            action="lower training.learning_rate or look at the rows of this step; "
            "nothing was saved",
        )
        self.step = step


@dataclass(frozen=True, kw_only=True)
class TakenStep:
    """A step that was handed to the device, and the tokens that it read."""

    step: int
    metrics: StepMetrics
    padded_tokens: int
    real_tokens: int


class StepLog:
    """Waits for steps one after the other and writes what they measured."""

    def __init__(
        self,
        file: TextIO,
        beats: Heartbeats,
        clock: Callable[[], float] = time.perf_counter,
        *,
        divergence: DivergenceTable,
    ) -> None:
        self._file = file
        self._watch = DivergenceWatch(divergence)
        self._beats = beats
        self._clock = clock
        self._ended = clock()

    def finish(self, taken: TakenStep) -> None:
        """Wait for a step, check it, write its line and emit a heartbeat.

        Raises:
            NonFiniteLossError: if its loss or its gradient is not finite; no line is written.
            DivergedError: if the losses have grown as the profile does not allow.
        """
        measured = taken.metrics
        count = int(measured.supervised_tokens)
        loss_nats = float(measured.loss_sum_nats) / count
        norm = float(measured.gradient_norm)
        if not (bool(measured.finite) and math.isfinite(loss_nats) and math.isfinite(norm)):
            raise NonFiniteLossError(step=taken.step, loss_nats=loss_nats, gradient_norm=norm)
        now = self._clock()
        duration_s, self._ended = now - self._ended, now
        line = run_records.StepMetrics(
            step=taken.step,
            loss_nats=loss_nats,
            learning_rate=float(measured.learning_rate),
            gradient_norm=norm,
            padded_tokens=taken.padded_tokens,
            real_tokens=taken.real_tokens,
            supervised_tokens=count,
            duration_s=duration_s,
        )
        self._file.write(typed_json.dump_line(line))
        self._file.flush()
        self._beats.progress(
            taken.step, loss_nats=loss_nats, tokens_per_s=taken.real_tokens / duration_s
        )
        # After its line: that loss is a measurement like the others.
        self._watch.update(taken.step, loss_nats)
