"""McNemar's exact test against scipy's binomial test, a count of coin throws, and known cases."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from m43.rows.scoring import mcnemar_p


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (0, 0, 1.0),  # nothing to compare
        (1, 0, 1.0),  # 2 of 2
        (5, 0, 2 / 32),
        (6, 0, 2 / 64),  # the least that is below 0.05
        (3, 1, 10 / 16),  # two tails of 1 + 4
        (2, 2, 1.0),  # both tails hold the middle
        (9, 1, 22 / 1024),  # two tails of 1 + 10
    ],
)
def test_known_cases(gained: int, lost: int, p: float) -> None:
    """Small tables whose p is a count of coin throws."""
    assert mcnemar_p(gained, lost) == p


@given(st.integers(0, 6), st.integers(0, 6))
def test_is_the_share_of_coin_throws_at_least_as_uneven(gained: int, lost: int) -> None:
    """Throw as many coins as there are rows that differ, in every way: by definition."""
    rows = gained + lost
    throws = [sum(throw) for throw in itertools.product((0, 1), repeat=rows)]
    uneven = [heads for heads in throws if abs(2 * heads - rows) >= abs(gained - lost)]

    assert mcnemar_p(gained, lost) == len(uneven) / len(throws)


@given(st.integers(0, 300), st.integers(0, 300).filter(bool))
def test_agrees_with_scipy(gained: int, lost: int) -> None:
    """A two-sided binomial test of a fair coin."""
    other = binomtest(gained, gained + lost, 0.5).pvalue

    assert mcnemar_p(gained, lost) == pytest.approx(other, rel=1e-9)


@given(st.integers(0, 500), st.integers(0, 500))
def test_has_no_direction_and_is_a_probability(gained: int, lost: int) -> None:
    """Two-sided: which of the models is called the first does not matter."""
    assert mcnemar_p(gained, lost) == mcnemar_p(lost, gained)
    assert 0 < mcnemar_p(gained, lost) <= 1


@given(st.integers(0, 200), st.integers(0, 200))
def test_more_rows_on_the_larger_side_are_stronger_evidence(gained: int, lost: int) -> None:
    """Moving the split further from even never raises p."""
    larger, smaller = max(gained, lost), min(gained, lost)

    assert mcnemar_p(larger + 1, smaller) <= mcnemar_p(larger, smaller)


def test_a_thousand_rows_neither_overflow_nor_vanish() -> None:
    """2**1000 is no float, yet p is: two of so many throws."""
    assert mcnemar_p(1000, 0) == 2.0**-999


@pytest.mark.parametrize(("gained", "lost"), [(-1, 0), (0, -1)])
def test_negative_counts_are_refused(gained: int, lost: int) -> None:
    """A count of rows is none."""
    with pytest.raises(ValueError, match="expected no negative count"):
        mcnemar_p(gained, lost)
