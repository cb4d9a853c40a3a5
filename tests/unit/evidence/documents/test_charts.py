"""Charts are small, the same each time, readable without eyes, and show what the steps say."""

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from m43.evidence.documents.charts import Line, Picture, draw, loss_curve_svg, pictures, ticks
from m43.evidence.documents.nodes import Figure
from m43.evidence.run.speed import running_mean, tokens_per_s
from tests.unit.evidence.documents.written import as_html
from tests.unit.evidence.good_records import step_metrics

METRICS = tuple(step_metrics(step) for step in range(1, 301))
STEPS = METRICS[:30]
SVG = "{http://www.w3.org/2000/svg}"


def picture(*values: float, labels: tuple[str, ...] = ("a",), smoothed: bool = False) -> Picture:
    """Make a picture of these values, once for each label."""
    steps = tuple(range(1, len(values) + 1))
    lines = tuple(Line(label=label, steps=steps, values=values) for label in labels)
    return Picture(
        name="n",
        title="T",
        unit="u",
        description="Slow & < steady.",
        lines=lines,
        smoothed=smoothed,
    )


@pytest.fixture(scope="module")
def svg() -> str:
    """The loss curve of a rehearsal, as the file that it is."""
    return loss_curve_svg(METRICS, "REHEARSAL")


def test_the_curve_is_the_same_bytes_for_the_same_steps(svg: str) -> None:
    """Verify compares it; a step less is another picture."""
    assert loss_curve_svg(METRICS, "REHEARSAL") == svg
    assert loss_curve_svg(METRICS[:-1], "REHEARSAL") != svg
    assert len(svg.encode()) < 20_000


def test_the_curve_names_its_axes_and_describes_itself(svg: str) -> None:
    """Axes carry units; a title and a description stand for the picture."""
    root = ET.fromstring(svg)
    texts = [element.text for element in root.iter(f"{SVG}text")]

    assert {"optimizer step", "nats per supervised token", "REHEARSAL", "300", "3"} <= set(texts)
    assert root.get("role") == "img"
    ids = [root.find(f"{SVG}{tag}") for tag in ("title", "desc")]
    assert root.get("aria-labelledby") == " ".join(
        str(each.get("id")) for each in ids if each is not None
    )
    assert "3.392 at step 1" in str(root.findtext(f"{SVG}desc"))
    assert str(root.findtext(f"{SVG}desc")).startswith("REHEARSAL. Loss of the training")
    assert "REHEARSAL" not in loss_curve_svg(METRICS, "")


def test_a_curve_without_steps_is_refused() -> None:
    """There is no empty picture that looks like a run."""
    with pytest.raises(ValueError, match="at least one step"):
        loss_curve_svg((), "")


def test_points_stand_where_their_values_are() -> None:
    """By hand: 0 and 4.16 (4 and a little) are the ends of an axis from y = 180 up to y = 30."""
    (line,) = ET.fromstring(draw(picture(0.0, 4.0, 2.0))).findall("polyline")
    points = [tuple(map(float, point.split(","))) for point in str(line.get("points")).split()]

    assert [x for x, _ in points] == [64.0, 226.0, 388.0]
    assert points[0][1] == 180.0
    assert points[1][1] == pytest.approx(30 + 150 * 0.16 / 4.16, abs=0.06)
    assert points[2][1] == pytest.approx(180 - 150 * 2 / 4.16, abs=0.06)


def test_a_picture_in_a_page_has_classes_and_no_style() -> None:
    """The page's policy forbids style; its colours reach every part, also in the dark."""
    drawn = draw(picture(1.0, 2.0, labels=("this", "that"), smoothed=True))

    assert "style" not in drawn
    assert not re.findall(r"#[0-9a-f]{3,6}|rgb|stroke=|fill=", drawn)
    kinds = {str(node.get("class")) for node in ET.fromstring(drawn).iter("polyline")}
    assert kinds == {"faint a", "strong a", "faint b", "strong b"}
    assert {node.get("id") for node in ET.fromstring(drawn).iter() if node.get("id")} == {
        "n-title",
        "n-desc",
    }


@pytest.mark.parametrize("gap", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_interrupts_the_line(gap: float) -> None:
    """A gap is a gap; one point on its own is a dot."""
    root = ET.fromstring(draw(picture(1.0, 2.0, gap, 3.0)))

    assert len(root.findall("polyline")) == 1
    assert len(root.findall("circle")) == 1
    assert "nan" not in draw(picture(gap, gap))


values = st.lists(st.floats(), min_size=1, max_size=20)


@given(values, st.booleans())
@example([0.0, 1e300], True)
@example([1e300, 4.5e-203], True)
def test_any_values_are_a_picture_whose_points_lie_in_it(
    found: list[float], smoothed: bool
) -> None:
    """Zeros, negative ones, the largest and the smallest that there are."""
    drawn = draw(picture(*found, smoothed=smoothed))

    numbers = [
        float(each)
        for each in re.findall(r"[-\d.]+", " ".join(re.findall(r'points="([^"]+)"', drawn)))
    ]
    assert all(-1 <= number <= 401 for number in numbers)
    assert not re.search(r'="(?:nan|-?inf)', drawn)


@given(st.floats(-1e300, 1e300), st.floats(1e-300, 1e300), st.booleans())
def test_ticks_are_few_and_between_the_ends(low: float, more: float, whole: bool) -> None:
    """Two at least where the axis is longer than it is far away, and never a hundred."""
    high = low + more
    if not high > low or (whole and more < 1) or more < 1e-9 * abs(low):
        return
    found = ticks(low, high, whole=whole)
    assert len(found) <= 8
    assert all(low * (1 - 1e-9) - more <= each <= high + more for each in found)


def test_the_running_mean_uses_what_there_is_at_the_ends() -> None:
    """By hand: (1+2)/2, (1+2+6)/3, (2+6)/2."""
    assert running_mean([1.0, 2.0, 6.0], 3) == [1.5, 3.0, 4.0]


def test_four_curves_are_drawn_and_described() -> None:
    """Axes with units, and a text alternative with the figures."""
    drawn = {picture.title: picture for picture in pictures({"each step": STEPS})}

    assert [picture.unit for picture in drawn.values()] == [
        "nats per supervised token",
        "learning rate",
        "L2 norm",
        "real tokens per second",
    ]
    assert "30 steps, 0.0001 at step 1, 0.001995 at step 30" in drawn["Learning rate"].description
    assert "median 4000" in drawn["Throughput, over 15 steps"].description
    assert "<figcaption>Learning rate</figcaption><svg" in as_html(*map(Figure, drawn.values()))


def test_throughput_is_tokens_over_seconds_and_not_a_mean_of_rates() -> None:
    """By hand: a block of three steps, whose time was measured at the last of them."""
    block = [
        replace(STEPS[0], real_tokens=100, duration_s=seconds) for seconds in (0.01, 0.01, 0.28)
    ]

    assert [round(rate) for rate in tokens_per_s(block)] == [1000, 1000, 1000]


def test_a_clock_that_stood_still_gives_no_speed() -> None:
    """Not infinity, and not zero."""
    still = [replace(STEPS[0], duration_s=0.0)]
    (rate,) = tokens_per_s(still)
    assert math.isnan(rate)
    assert "none with a finite value" in pictures({"each step": still})[3].description


def test_two_runs_are_told_apart_in_words() -> None:
    """The description names both, and so does the legend."""
    loss = pictures({"one": STEPS, "other": STEPS[:10]})[0]

    assert "one: 30 steps" in loss.description
    assert "other: 10 steps" in loss.description
    texts = [node.text for node in ET.fromstring(draw(loss)).iter("text")]
    assert {"one", "other"} <= set(texts)
