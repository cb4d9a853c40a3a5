"""Batches are planned before the first step, and no row is used twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.core.batch import check_batch
from m43.errors import FailureClass
from m43.training.batches import MOST_LENGTHS, OutOfExamplesError, assemble, plan_batches
from m43.training.examples import Example

lengths_of_rows = st.lists(st.integers(3, 200), min_size=6, max_size=60)


@given(lengths_of_rows, st.integers(1, 3), st.integers(0, 2**31))
def test_no_row_is_used_twice_and_every_batch_holds_its_rows(
    lengths: list[int], batch_rows: int, seed: int
) -> None:
    """Distinct rows, full batches, rows that fit, few lengths."""
    steps = len(lengths) // batch_rows

    plan = plan_batches(lengths, steps=steps, batch_rows=batch_rows, longest=200, seed=seed)

    used = [index for planned in plan for index in planned.examples]
    assert len(plan) == steps
    assert len(used) == len(set(used)) == steps * batch_rows
    assert all(lengths[index] <= planned.length for planned in plan for index in planned.examples)
    assert all(planned.length <= 200 for planned in plan)
    assert len({planned.length for planned in plan}) <= MOST_LENGTHS


def test_the_order_follows_from_the_seed() -> None:
    """The same seed gives the same plan, another seed another one."""
    plans = [
        plan_batches([9] * 50, steps=5, batch_rows=10, longest=32, seed=seed) for seed in (1, 1, 2)
    ]

    assert plans[0] == plans[1]
    assert plans[0] != plans[2]


def test_rare_lengths_are_given_up_first() -> None:
    """Four lengths become three by the merge that costs the fewest padded positions."""
    lengths = [30] * 10 + [60] + [90] * 10 + [120] * 10

    plan = plan_batches(lengths, steps=31, batch_rows=1, longest=128, seed=0)

    assert sorted({planned.length for planned in plan}) == [32, 96, 128]


def test_too_few_rows_name_how_many_are_needed() -> None:
    """The error counts the rows, the need and says what may be changed."""
    with pytest.raises(OutOfExamplesError, match=r"7 rows.*at least 8 .4 steps of 2") as caught:
        plan_batches([9] * 7, steps=4, batch_rows=2, longest=32, seed=0)

    assert caught.value.failure_class is FailureClass.DATA_INVALID


def test_rows_are_padded_on_the_right_and_only_completions_are_supervised() -> None:
    """Laid out by hand: two rows in a batch of eight positions."""
    examples = (
        Example(tokens=(2, 7, 9, 1), completion=2, prompt="a"),
        Example(tokens=(2, 8, 8, 5, 5, 1), completion=3, prompt="b"),
    )
    (plan,) = plan_batches([4, 6], steps=1, batch_rows=2, longest=8, seed=0)

    batch = assemble(plan, examples, pad_id=0)

    rows = {index: row for row, index in enumerate(plan.examples)}
    check_batch(batch, vocab_size=10)
    assert np.asarray(batch.tokens)[rows[0]].tolist() == [2, 7, 9, 1, 0, 0, 0, 0]
    assert np.asarray(batch.positions)[rows[0]].tolist() == [0, 1, 2, 3, 0, 0, 0, 0]
    assert np.asarray(batch.segments)[rows[0]].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert np.asarray(batch.supervised)[rows[0]].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert np.asarray(batch.supervised)[rows[1]].tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
