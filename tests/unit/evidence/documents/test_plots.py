"""The loss curve is small, the same each time, and readable without eyes."""

import re
import xml.etree.ElementTree as ET

import pytest

from m43.evidence.documents.charts import description, loss_curve_svg
from m43.evidence.run.performance import running_mean
from tests.unit.evidence.good_records import step_metrics

METRICS = tuple(step_metrics(step) for step in range(1, 301))
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def svg() -> str:
    """The curve of a rehearsal."""
    return loss_curve_svg(METRICS, "REHEARSAL")


def test_the_curve_is_the_same_bytes_for_the_same_steps(svg: str) -> None:
    """No date, no random ids: verify can compare it."""
    assert loss_curve_svg(METRICS, "REHEARSAL") == svg
    assert loss_curve_svg(METRICS[:-1], "REHEARSAL") != svg
    assert "dc:date" not in svg


def test_the_curve_is_small_and_well_formed(svg: str) -> None:
    """It can be inlined into a report."""
    assert len(svg.encode()) < 60_000
    ET.fromstring(svg)


def test_the_curve_names_its_axes_and_describes_itself(svg: str) -> None:
    """Axes carry units; a title and a description stand for the picture."""
    root = ET.fromstring(svg)
    texts = [element.text for element in root.iter(f"{SVG}text")]

    assert "optimizer step" in texts
    assert "loss (nats per supervised token)" in texts
    assert root.get("aria-labelledby") == "loss-title loss-desc"
    assert root.findtext(f"{SVG}desc") == description(METRICS, "REHEARSAL")
    assert root.find(f"{SVG}title") is not None


def test_a_rehearsal_is_marked_in_the_picture(svg: str) -> None:
    """The picture alone cannot be taken for production."""
    assert re.search(r"<text[^>]*>REHEARSAL</text>", svg)
    assert "REHEARSAL" not in loss_curve_svg(METRICS, "")


def test_a_curve_without_steps_is_refused() -> None:
    """There is no empty picture that looks like a run."""
    with pytest.raises(ValueError, match="at least one step"):
        loss_curve_svg((), "")


def test_the_running_mean_uses_what_there_is_at_the_ends() -> None:
    """By hand: (1+2)/2, (1+2+6)/3, (2+6)/2."""
    assert running_mean([1.0, 2.0, 6.0], 3) == [1.5, 3.0, 4.0]
