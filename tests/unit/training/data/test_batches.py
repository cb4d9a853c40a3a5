"""Batches are planned before the first step, and no row is used twice."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.core.batch import check_batch
from m43.errors import FailureClass
from m43.training.data.batches import (
    MOST_LENGTHS,
    OutOfExamplesError,
    PlannedBatch,
    assemble,
    plan_batches,
)
from m43.training.data.examples import Example

lengths_of_rows = st.lists(st.integers(3, 200), min_size=6, max_size=60)


EXAMPLES = (
    Example(tokens=(2, 7, 9, 1), completion=2, prompt="a", answer="b"),
    Example(tokens=(2, 8, 8, 5, 5, 1), completion=3, prompt="c", answer="d"),
)


def planned(lengths: list[int], **changes: object) -> tuple[PlannedBatch, ...]:
    """Plan batches of one row without packing, unless told otherwise."""
    settings = {"batch_rows": 1, "longest": 200, "packing": False, "seed": 0}
    return plan_batches(lengths, **{**settings, **changes})


@given(lengths_of_rows, st.integers(1, 3), st.integers(0, 2**31))
def test_no_row_is_used_twice_and_every_batch_holds_its_rows(
    lengths: list[int], batch_rows: int, seed: int
) -> None:
    """Distinct rows, full batches, rows that fit, few lengths."""
    steps = len(lengths) // batch_rows

    plan = planned(lengths, steps=steps, batch_rows=batch_rows, seed=seed)

    used = [index for each in plan for index in each.examples]
    assert len(plan) == steps
    assert len(used) == len(set(used)) == steps * batch_rows
    assert all(len(row) == 1 for each in plan for row in each.rows)
    assert all(lengths[index] <= each.length for each in plan for index in each.examples)
    assert all(each.length <= 200 for each in plan)
    assert len({each.length for each in plan}) <= MOST_LENGTHS


@pytest.mark.parametrize(
    ("compilation", "kept"),
    [(0, {24, 56, 96}), (128, {24, 56, 96}), (129, {56, 96}), (640, {56, 96}), (641, {96})],
)
def test_a_length_that_spares_less_than_it_costs_is_given_up(
    compilation: int, kept: set[int]
) -> None:
    """Four steps of 24 spare 128 positions of 56; without them sixteen of 56 spare 640 of 96."""
    lengths = [20] * 4 + [50] * 12 + [90] * 2
    plan = planned(lengths, steps=18, compilation=compilation)
    assert {each.length for each in plan} == kept


@pytest.mark.parametrize(("compilation", "kept"), [(144, {24, 96}), (145, {96})])
def test_all_rows_of_a_step_count_as_spared(compilation: int, kept: set[int]) -> None:
    """In whatever order they come, one step has two short rows: 2 x 72 positions of 96."""
    plan = planned([20] * 3 + [90], steps=2, batch_rows=2, compilation=compilation)
    assert {each.length for each in plan} == kept


@given(lengths_of_rows, st.integers(0, 2**31))
def test_in_several_epochs_every_row_is_used_once_before_any_again(
    lengths: list[int], seed: int
) -> None:
    """Each epoch is a permutation of its own, and the first is that of a single one."""
    count = len(lengths)
    once = planned(lengths, steps=count, seed=seed)
    plan = planned(lengths, steps=2 * count, seed=seed, epochs=2)

    used = [index for each in plan for index in each.examples]
    assert sorted(used[:count]) == sorted(used[count:]) == list(range(count))
    assert used[:count] == [index for each in once for index in each.examples]
    with pytest.raises(OutOfExamplesError, match=r"rows \(\d+ steps of 1, in 2 epochs\)"):
        planned(lengths, steps=2 * count + 1, seed=seed, epochs=2)


@given(st.lists(st.integers(3, 50), min_size=6, max_size=60), st.integers(0, 2**31))
def test_packed_rows_hold_every_example_once_and_fit(lengths: list[int], seed: int) -> None:
    """All rows of the file are packed, none twice, and no sequence is longer than it may be."""
    rows = -(-sum(lengths) // 50)  # so many at least

    plan = planned(lengths, steps=rows, longest=50, packing=True, seed=seed)

    used = [index for each in plan for index in each.examples]
    assert len(used) == len(set(used))
    assert all(sum(lengths[index] for index in each.examples) <= each.length for each in plan)
    assert all(each.length <= 50 for each in plan)


def test_the_order_follows_from_the_seed() -> None:
    """The same seed gives the same plan, another seed another one."""
    for packing in (False, True):
        plans = [
            planned([9] * 50, steps=2, batch_rows=5, longest=32, packing=packing, seed=seed)
            for seed in (1, 1, 2)
        ]

        assert plans[0] == plans[1]
        assert plans[0] != plans[2]


@given(st.lists(st.integers(1, 70), min_size=1, max_size=40), st.integers(0, 300))
def test_no_other_few_lengths_would_cost_less(lengths: list[int], compilation: int) -> None:
    """Held against every choice of lengths, multiples of 8 but for the longest allowed."""
    plan = planned(lengths, steps=len(lengths), longest=70, compilation=compilation)

    allowed = [*range(8, 70, 8), 70]
    costs = (
        sum(min((size for size in kept if size >= need), default=1000) for need in lengths)
        + compilation * count
        for count in range(1, MOST_LENGTHS + 1)
        for kept in combinations(allowed, count)
    )
    taken = {each.length for each in plan}
    assert taken <= set(allowed)
    assert sum(each.length for each in plan) + compilation * len(taken) == min(costs)


def test_too_few_rows_name_how_many_steps_they_give() -> None:
    """The error counts the rows, the steps that they give, the need, and what would fit."""
    with pytest.raises(OutOfExamplesError) as caught:
        planned([9] * 7, steps=4, batch_rows=2)

    assert caught.value.failure_class is FailureClass.DATA_INVALID
    (problem,) = caught.value.problems
    assert problem.found == "7 rows, which give 3 steps"
    assert problem.expected == "at least 8 rows (4 steps of 2, none used twice)"
    assert problem.action.startswith("lower training.batch_rows to 1, or add rows")


def test_too_few_packed_rows_name_the_sequences_that_they_fill() -> None:
    """Seven rows of which three share a sequence fill three; one step of four cannot be."""
    with pytest.raises(OutOfExamplesError) as caught:
        planned([9] * 7, steps=4, longest=32, packing=True)

    (problem,) = caught.value.problems
    assert problem.found == "7 rows packed into 3, which give 3 steps"
    assert problem.expected == "at least 4 rows when packed (4 steps of 1, none used twice)"
    assert problem.action.startswith("add rows")


def test_rows_are_padded_on_the_right_and_only_completions_are_supervised() -> None:
    """Laid out by hand: two rows in a batch of eight positions."""
    (plan,) = planned([4, 6], steps=1, batch_rows=2, longest=8)

    batch = assemble(plan, EXAMPLES, pad_id=0)

    rows = {index: row for row, (index,) in enumerate(plan.rows)}
    check_batch(batch, vocab_size=10)
    assert np.asarray(batch.tokens)[rows[0]].tolist() == [2, 7, 9, 1, 0, 0, 0, 0]
    assert np.asarray(batch.positions)[rows[0]].tolist() == [0, 1, 2, 3, 0, 0, 0, 0]
    assert np.asarray(batch.segments)[rows[0]].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert np.asarray(batch.supervised)[rows[0]].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert np.asarray(batch.supervised)[rows[1]].tolist() == [0, 0, 0, 1, 1, 1, 0, 0]


def test_packed_rows_are_segments_that_begin_anew() -> None:
    """Laid out by hand: positions restart, and no label crosses from one example to the next."""
    batch = assemble(PlannedBatch(rows=((1, 0),), length=12), EXAMPLES, pad_id=0)

    check_batch(batch, vocab_size=10)
    assert np.asarray(batch.tokens)[0].tolist() == [2, 8, 8, 5, 5, 1, 2, 7, 9, 1, 0, 0]
    assert np.asarray(batch.positions)[0].tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 0, 0]
    assert np.asarray(batch.segments)[0].tolist() == [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0]
    assert np.asarray(batch.supervised)[0].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0]
