"""The curves of the report show what the steps say, in numbers and in words."""

import math
from dataclasses import replace

from m43.evidence.documents.charts import compared, curves_html, pictures
from m43.evidence.run.performance import tokens_per_s
from tests.unit.evidence.good_records import step_metrics

STEPS = tuple(step_metrics(step) for step in range(1, 31))


def test_four_curves_are_drawn_and_described() -> None:
    """Axes with units, and a text alternative with the figures."""
    drawn = {picture.title: picture for picture in pictures(STEPS)}

    assert [picture.unit for picture in drawn.values()] == [
        "nats per supervised token",
        "learning rate",
        "L2 norm",
        "real tokens per second",
    ]
    assert "30 steps, 0.001 at step 1, 0.001 at step 30" in drawn["Learning rate"].description
    assert "median 4000" in drawn["Throughput, over 15 steps"].description


def test_throughput_is_tokens_over_seconds_and_not_a_mean_of_rates() -> None:
    """By hand: a block of three steps, whose time was measured at the last of them."""
    block = [
        replace(STEPS[0], real_tokens=100, duration_s=seconds) for seconds in (0.01, 0.01, 0.28)
    ]

    assert [round(rate) for rate in tokens_per_s(block)] == [1000, 1000, 1000]


def test_a_clock_that_stood_still_gives_no_speed() -> None:
    """Not infinity, and not zero."""
    (rate,) = tokens_per_s([replace(STEPS[0], duration_s=0.0)])
    assert math.isnan(rate)
    assert (
        "none with a finite value" in pictures([replace(STEPS[0], duration_s=0.0)])[3].description
    )


def test_no_step_draws_nothing_and_one_step_draws_a_point() -> None:
    """An empty picture would look like a run."""
    assert curves_html(()) == ""
    assert curves_html(STEPS[:1]).count("<use") > curves_html(STEPS[:2]).count("<use")


def test_two_runs_are_told_apart_in_words() -> None:
    """The description names both."""
    loss = compared({"one": STEPS, "other": STEPS[:10]})[0]

    assert "one: 30 steps" in loss.description
    assert "other: 10 steps" in loss.description
    assert len(loss.lines) == 2
