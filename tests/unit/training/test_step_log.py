"""Every step is checked and written down as it happens."""

import io
import json
from pathlib import Path

import jax.numpy as jnp
import pytest

from m43.core.step import StepMetrics
from m43.errors import FailureClass
from m43.records import run_records
from m43.records.profile import DivergenceTable
from m43.records.run_dir import read_record
from m43.training.progress import Heartbeats
from m43.training.step_log import NonFiniteLossError, StepLog, TakenStep


def taken(step: int, loss_sum: float, norm: float = 1.0, count: int = 4) -> TakenStep:
    """Make a step as the device would report it."""
    metrics = StepMetrics(
        loss_sum_nats=jnp.float32(loss_sum),
        supervised_tokens=jnp.int32(count),
        learning_rate=jnp.float32(0.5),
        gradient_norm=jnp.float32(norm),
        finite=jnp.isfinite(loss_sum) & jnp.isfinite(norm),
    )
    return TakenStep(step=step, metrics=metrics, padded_tokens=64, real_tokens=40)


def test_a_line_holds_the_mean_loss_and_all_three_token_counts(tmp_path: Path) -> None:
    """A sum of 8 nats over 4 tokens is a loss of 2; 40 tokens in 0.5 s are 80 per second."""
    times = iter([0.0, 0.5])
    file = io.StringIO()
    beats = Heartbeats(tmp_path / "beat.json", io.StringIO())
    log = StepLog(file, beats, lambda: next(times), divergence=DivergenceTable())

    with beats.phase("train", total=1):
        log.finish(taken(1, 8.0))

    assert json.loads(file.getvalue()) == {
        "step": 1,
        "loss_nats": 2.0,
        "learning_rate": 0.5,
        "gradient_norm": 1.0,
        "padded_tokens": 64,
        "real_tokens": 40,
        "supervised_tokens": 4,
        "duration_s": 0.5,
    }
    beat = read_record(tmp_path / "beat.json", run_records.Heartbeat)
    assert (beat.done, beat.loss_nats, beat.tokens_per_s) == (1, 2.0, 80.0)


@pytest.mark.parametrize(
    ("loss_sum", "norm"), [(float("nan"), 1.0), (float("inf"), 1.0), (8.0, float("nan"))]
)
def test_a_step_that_is_not_finite_stops_at_once(
    tmp_path: Path, loss_sum: float, norm: float
) -> None:
    """The error names the step, the finished ones stay on the record and no line is made up."""
    file = io.StringIO()
    log = StepLog(
        file, Heartbeats(tmp_path / "beat.json", io.StringIO()), divergence=DivergenceTable()
    )
    log.finish(taken(1, 8.0))

    with pytest.raises(NonFiniteLossError, match="at step 2") as caught:
        log.finish(taken(2, loss_sum, norm))

    assert caught.value.step == 2
    assert caught.value.failure_class is FailureClass.NON_FINITE_LOSS
    assert len(file.getvalue().splitlines()) == 1
