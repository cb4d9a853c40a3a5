"""Words of others can be shown anywhere: nothing in them steers, and they have an end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.text import clipped, one_line, visible
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
