"""Training that makes the model worse is stopped; a hard batch is not."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.errors import FailureClass
from m43.records.profile import DivergenceTable
from m43.training.progress import DivergedError, DivergenceWatch

TABLE = DivergenceTable(first_steps=3, last_steps=4, loss_ratio=2.0)


def watched(losses: Sequence[float]) -> int:
    """Show the losses to a watch; give the step at which it stopped, 0 if it did not."""
    watch = DivergenceWatch(TABLE)
    try:
        for step, loss in enumerate(losses, start=1):
            watch.see(step, loss)
    except DivergedError as error:
        return error.step
    return 0


def test_a_loss_that_stays_twice_as_high_has_diverged() -> None:
    """First 3 steps 1.0; of 1, 1, 5, 5 the median is 3, above 2 times 1.0."""
    assert watched([1.0, 1.0, 1.0, 1.0, 1.0, 5.0, 5.0, 5.0]) == 7


def test_one_hard_batch_is_no_divergence() -> None:
    """However hard it is."""
    assert watched([1.0] * 5 + [1e6] + [1.0] * 5) == 0


def test_a_loss_at_the_limit_has_not_diverged() -> None:
    """More than so many times, not as many."""
    assert watched([1.0] * 3 + [2.0] * 9) == 0


@pytest.mark.parametrize("steps", range(7))
def test_too_few_steps_tell_nothing(steps: int) -> None:
    """Before the last steps are others than the first ones there is nothing to compare."""
    assert watched([1.0, 1.0, 1.0, 9.0, 9.0, 9.0, 9.0][:steps]) == 0


@given(st.lists(st.floats(0.01, 10.0), min_size=3, max_size=60))
def test_losses_within_the_ratio_never_stop_a_run(noise: list[float]) -> None:
    """Nothing below twice the smallest of the first losses is ever called divergence."""
    first = [10.0, 10.0, 10.0]
    assert watched(first + noise) == 0


def test_the_message_says_both_medians_and_where_the_limit_stands() -> None:
    """A tired person sees by how much, and which table it is."""
    watch = DivergenceWatch(TABLE)
    for step in range(1, 7):
        watch.see(step, 1.0 if step <= 3 else 3.0)
    with pytest.raises(DivergedError, match=r"3\.00 times the first 3 steps' 1\.0000") as raised:
        watch.see(7, 3.0)
    assert raised.value.failure_class is FailureClass.DIVERGED
    assert "[divergence] in the profile" in str(raised.value)
