"""A record in which every field is its own name."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from m43 import typed_json
from m43.evidence.documents.template import specimen


class Colour(StrEnum):
    """An enumeration."""

    RED = "red"


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A record inside another."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Outer:
    """A record with a field of every kind."""

    count: int
    share: float
    holds: bool
    where: Path
    kind: Literal["a", "b"]
    colour: Colour
    inner: Inner
    many: tuple[Inner, ...]
    perhaps: Inner | None
    given: str


def test_every_field_is_filled_with_its_own_name() -> None:
    """From the type alone; what is given is taken as it is."""
    found = specimen(Outer, "run", given="known")
    assert str(found.count) == "{run.count}"
    assert str(found.share) == "{run.share}"
    assert found.holds is True
    assert found.where == Path("{run.where}")
    assert (found.kind, found.colour) == ("a", Colour.RED)
    assert found.inner.text == "{run.inner.text}"
    assert [each.text for each in found.many] == ["{run.many[].text}"]
    assert found.perhaps is not None
    assert found.given == "known"


def test_a_specimen_is_of_its_type() -> None:
    """What holds for the record holds for its specimen, such as being a table."""
    assert typed_json.to_plain(specimen(Inner, ""))["text"] == "{text}"
