"""Rows share sequences by first fit."""

from hypothesis import given
from hypothesis import strategies as st

from m43.training.data.batches import first_fit

CAPACITY = 40


@given(st.lists(st.integers(1, CAPACITY), max_size=80))
def test_every_row_lies_in_the_first_sequence_that_had_room(lengths: list[int]) -> None:
    """The definition of first fit, row by row, against a plain loop."""
    expected: list[list[int]] = []
    for row, length in enumerate(lengths):
        for sequence in expected:
            if sum(lengths[each] for each in sequence) + length <= CAPACITY:
                sequence.append(row)
                break
        else:
            expected.append([row])

    assert first_fit(lengths, CAPACITY) == tuple(tuple(rows) for rows in expected)


def test_rows_that_fill_a_sequence_lie_alone() -> None:
    """The capacity itself fits, and leaves room for nothing."""
    assert first_fit([40, 40, 1, 39], CAPACITY) == ((0,), (1,), (2, 3))


def test_no_rows_fill_no_sequence() -> None:
    """Nothing in, nothing out."""
    assert first_fit([], CAPACITY) == ()
