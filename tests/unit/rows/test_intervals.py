"""Wilson's interval against its own definition, another implementation and hand-made cases."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from m43.records.evaluation_record import Interval
from m43.rows.scoring import wilson_interval

counts = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_one_of_two_is_computed_by_hand() -> None:
    """At one half the interval is one half, plus and minus z / (2 sqrt(n + z^2)): here 0.405469."""
    reach = 1.959964 / (2 * math.sqrt(2 + 1.959964**2))

    assert wilson_interval(1, 2) == Interval(low=round(0.5 - reach, 6), high=round(0.5 + reach, 6))
    assert wilson_interval(1, 2) == Interval(low=0.094531, high=0.905469)


@given(counts)
def test_agrees_with_scipy(pair: tuple[int, int]) -> None:
    """The same bounds as scipy.stats, to the six decimals that are kept."""
    successes, trials = pair
    other = binomtest(successes, trials).proportion_ci(method="wilson")

    interval = wilson_interval(successes, trials)

    assert interval.low == pytest.approx(other.low, abs=6e-7)
    assert interval.high == pytest.approx(other.high, abs=6e-7)


@given(counts)
def test_each_bound_is_a_share_at_which_the_count_lies_z_errors_away(
    pair: tuple[int, int],
) -> None:
    """Wilson's own definition: the bounds solve |share - p| = z sqrt(p (1 - p) / n)."""
    successes, trials = pair
    interval = wilson_interval(successes, trials)

    for bound in (interval.low, interval.high):
        if bound not in (0.0, 1.0):
            errors = abs(successes / trials - bound) / math.sqrt(bound * (1 - bound) / trials)
            # Rounding to six decimals moves a bound near 0 or 1 by a visible part of an error.
            slack = 1e-6 / math.sqrt(bound * (1 - bound) / trials) * 4
            assert errors == pytest.approx(1.959964, abs=1e-4 + slack)


@given(counts)
def test_contains_the_share_and_stays_between_0_and_1(pair: tuple[int, int]) -> None:
    """Also at no and at all successes, where it does not shrink to a point."""
    successes, trials = pair
    interval = wilson_interval(successes, trials)

    assert 0 <= interval.low <= successes / trials <= interval.high <= 1
    assert interval.low < interval.high


@given(st.integers(1, 10**6))
def test_no_success_and_no_failure_reach_the_ends(trials: int) -> None:
    """Exactly 0, without a sign, and exactly 1."""
    assert str(wilson_interval(0, trials).low) == "0.0"
    assert wilson_interval(trials, trials).high == 1.0


@given(counts)
def test_failures_mirror_successes(pair: tuple[int, int]) -> None:
    """Counting what went wrong instead gives the same interval, seen from the other end."""
    successes, trials = pair
    one, other = wilson_interval(successes, trials), wilson_interval(trials - successes, trials)

    assert one.low == pytest.approx(1 - other.high, abs=1e-9)
    assert one.high == pytest.approx(1 - other.low, abs=1e-9)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 5), (6, 5)])
def test_counts_that_cannot_be_are_refused(successes: int, trials: int) -> None:
    """No trials have no share."""
    with pytest.raises(ValueError, match=f"found {successes} successes in {trials} trials"):
        wilson_interval(successes, trials)
