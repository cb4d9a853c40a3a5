"""Words of others can be shown anywhere: nothing in them steers, and they have an end."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.text import clipped, duration_words, one_line, size_words, visible
from tests.unit.evidence.documents.goldens import FOLDER as DOCUMENTS
from tests.unit.fuzzing import hostile


@pytest.mark.parametrize(
    "character",
    [
        *("\0", "\x07", "\x08", "\x0b", "\x1b", "\r", "\x7f", "\x85", "\x9b", "\u061c", "\u200b"),
        *("\u200f", "\u2028", "\u2029", "\u202e", "\u2060", "\u2066", "\u2069", "\ufeff"),
        *("\ud800", "\udfff"),
    ],
)
def test_a_character_that_steers_is_replaced(character: str) -> None:
    """One for one, so that it can be seen that something stood there."""
    assert visible(f"a{character}b") == "a\ufffdb"


def test_what_says_something_stays() -> None:
    """Letters of every script, emoji, tabs and line feeds; a CRLF is a line feed."""
    text = "é ß 漢字 🙂 עברית\tx\n"

    assert visible(text) == text
    assert visible("a\r\nb") == "a\nb"


def test_a_text_is_cut_with_the_number_of_what_is_missing() -> None:
    """At the limit nothing is cut."""
    assert clipped("abcd", 4) == "abcd"
    assert clipped("abcde", 4) == "abcd [and 1 more characters]"


@hostile(50)
@given(st.text(st.characters(exclude_categories=[]), max_size=200), st.integers(1, 50))
def test_any_text_becomes_one_line_that_can_be_written(text: str, most: int) -> None:
    """Also halves of surrogate pairs, and separators that only Unicode knows."""
    line = one_line(text, most)

    assert len(line.splitlines()) <= 1
    assert len(line) <= most + len(" [and 200 more characters]")
    line.encode()
    assert visible(line) == line


@pytest.mark.parametrize(
    ("seconds", "text", "whole"),
    [
        (0.04, "0.04 s", "0 s"),
        (59.94, "59.9 s", "1 min 00 s"),
        (59.96, "1 min 00 s", "1 min 00 s"),
        (83.4, "1 min 23 s", "1 min 23 s"),
        (3599.6, "1 h 00 min", "1 h 00 min"),
        (3725, "1 h 02 min", "1 h 02 min"),
    ],
)
def test_a_duration_is_said_in_its_own_unit(seconds: float, text: str, whole: str) -> None:
    """Nothing is ever 60 seconds or 60 minutes; what moves has no parts of a second."""
    assert (duration_words(seconds), duration_words(seconds, whole=True)) == (text, whole)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.0 MiB"), (2**20, "1.0 MiB"), (2**30 - 1, "1024.0 MiB"), (863 * 10**6, "823.0 MiB")],
)
def test_a_size_below_a_gibibyte_is_said_in_mebibytes(size: int, text: str) -> None:
    """The same peak reads the same in every document."""
    assert size_words(size) == text
    assert size_words(2**30 + size).endswith(" GiB")


@pytest.mark.parametrize("golden", sorted(DOCUMENTS.glob("*.md")), ids=lambda path: path.stem)
def test_no_document_counts_in_another_unit(golden: Path) -> None:
    """No GB beside GiB, and no 83.0 s beside 1 min 23 s."""
    text = golden.read_text(encoding="utf-8")

    assert not re.findall(r"\d [KMG]B\b", text)
    assert all(float(seconds) < 60 for seconds in re.findall(r"(\d+\.\d+) s\b", text))
