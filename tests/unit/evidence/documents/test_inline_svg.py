"""A picture in a page has no inline style, colours of the page, and ids of its own."""

import re
import xml.etree.ElementTree as ET

import pytest

from m43.evidence.documents.charts import Line, Picture, draw, inline_svg

PICTURE = Picture(
    name="speed",
    title="Throughput",
    unit="tokens per second",
    description="Slow & steady.",
    lines=tuple(
        Line(label=label, steps=(1, 2, 3), values=(1.0, 2.0, 4.0)) for label in ("this", "that")
    ),
    smoothed=True,
)


@pytest.fixture(scope="module")
def svg() -> str:
    """The picture as a part of a page."""
    return inline_svg(draw(PICTURE), PICTURE.name)


def test_nothing_in_it_needs_a_policy_that_allows_inline_style(svg: str) -> None:
    """No style element, no style attribute; what they said stands in attributes."""
    assert "style" not in svg
    assert 'stroke-width="1.8"' in svg
    assert 'font-size="10px"' in svg


def test_its_colours_are_those_of_the_page(svg: str) -> None:
    """Not one colour is fixed, so the dark scheme reaches all of them."""
    assert not re.findall(r"#[0-9a-f]{6}", svg)
    assert "var(--strong-a)" in svg
    assert "var(--strong-b)" in svg
    assert "currentColor" in svg


def test_every_id_is_its_own_and_leads_somewhere(svg: str) -> None:
    """Two pictures on a page do not take each other's clip paths."""
    root = ET.fromstring(svg)
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg)) | {"speed-title", "speed-desc"}
    assert all(str(each).startswith("speed-") for each in ids)
    assert set(ids) == used
    assert root.findtext("desc") == "Slow & steady."
