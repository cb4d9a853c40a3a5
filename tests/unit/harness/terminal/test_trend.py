"""The trend of a loss in one word."""

import pytest

from m43.harness.terminal.progress import Trend


@pytest.mark.parametrize(
    ("losses", "word"),
    [
        ([3.0, 2.9, 2.8, 2.7, 2.6, 2.5, 2.4], ""),
        ([3.0, 2.9, 2.8, 2.7, 2.6, 2.5, 2.4, 2.3], "falling"),
        ([1.0, 1.1, 1.0, 1.1, 1.0, 1.1, 1.0, 1.1], "level"),
        ([1.0, 1.0, 1.0, 1.0, 1.5, 2.0, 3.0, 9.0], "rising"),
        ([9.0] * 40 + [1.0] * 40, "level"),
        ([0.0] * 8, "level"),
    ],
)
def test_the_newer_half_is_held_against_the_older_one(losses: list[float], word: str) -> None:
    """Too few say nothing, what is long ago counts no more, and noise is no direction."""
    trend = Trend()
    for step, loss in enumerate(losses, start=1):
        trend.add(step, loss)
    assert trend.word == word


def test_a_step_that_is_seen_again_counts_once() -> None:
    """The parent looks oftener than steps are taken."""
    trend = Trend()
    for _ in range(20):
        trend.add(1, 3.0)
    assert trend.word == ""
