"""The bars: what counts of repeated runs, and when a line holds."""

import pytest

from tests.benchmarks.bars import Line, later_s, tokens_per_s, whole_s
from tests.benchmarks.measured import Share, Steps
from tests.benchmarks.table import render


def steps(*durations: float, compile_s: float = 0.0) -> Steps:
    """Make a training of steps that took so long."""
    return Steps(
        ready_s=9.0,
        compile_s=compile_s,
        step_s=durations,
        cpu_s=durations,
        losses_nats=(1.0,) * len(durations),
        real_tokens=30,
        peak_bytes=7,
    )


def line(figure: float, bar: float | None, direction: str) -> Line:
    """Make a line of the table."""
    return Line(text="a", figure=figure, unit="x", bar=bar, direction=direction, basis="b")  # type: ignore[arg-type]


def test_of_every_step_the_fastest_counts_and_the_first_not() -> None:
    """The disturbed step of each run is left out, so is what only the first one pays."""
    runs = (steps(9.0, 1.0, 5.0), steps(8.0, 4.0, 2.0))
    assert later_s(runs) == 1.5
    assert tokens_per_s(runs) == pytest.approx(10 / 1.5)


def test_the_first_step_and_its_compilation_count_where_the_whole_is_asked_for() -> None:
    """The faster run of the two, whole."""
    assert whole_s((steps(3.0, 1.0, compile_s=4.0), steps(2.0, 1.0, compile_s=9.0))) == 8.0


def test_the_share_is_of_the_products_rate() -> None:
    """300 FLOP in 2 s, where a product alone makes 200 a second, are three quarters."""
    assert Share(step_flop=300, step_s=2.0, product_flop_per_s=200.0).of_limit == 0.75


@pytest.mark.parametrize(
    ("figure", "bar", "direction", "holds"),
    [
        (2.0, 2.0, "at least", True),
        (1.9, 2.0, "at least", False),
        (2.0, 2.0, "at most", True),
        (2.1, 2.0, "at most", False),
        (2.1, None, "at most", None),
    ],
)
def test_a_line_holds_on_its_side_of_the_bar(
    figure: float, bar: float | None, direction: str, holds: bool | None
) -> None:
    """The bar itself is enough; without one there is nothing to hold."""
    assert line(figure, bar, direction).holds is holds


def test_a_bar_that_does_not_hold_is_seen() -> None:
    """In capitals, beside its figure."""
    assert "| at least 2.00 x | 1.90 x   | NO" in render([line(1.9, 2.0, "at least")])
