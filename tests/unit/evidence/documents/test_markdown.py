"""Hostile text stays text in Markdown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.evidence.documents.nodes import CodeBlock, Table, code, rich
from tests.unit.evidence.documents.written import as_markdown
from tests.unit.evidence.documents.written import line as prose


def test_markup_in_prose_is_escaped() -> None:
    """What a model wrote is shown, not rendered."""
    hostile = "# <script>alert(1)</script> **bold** [link](http://x) `code` a_b _it_"

    assert prose(hostile) == (
        r"\# \<script\>alert(1)\</script\> \*\*bold\*\* `[link](http://x)` \`code\` a_b \_it\_"
    )


def test_a_code_span_is_fenced_longer_than_what_it_holds() -> None:
    """Backticks inside cannot end the span, nor line feeds."""
    assert prose(code("a``b\n`")) == "``` a``b ` ```"
    assert prose(code("")) == "(empty)"


def test_a_block_is_fenced_longer_than_what_it_holds() -> None:
    """No line of a log can end its block."""
    text = as_markdown(CodeBlock(["````", "x"]))

    assert text.startswith("`````text\n")
    assert text.endswith("\n`````")


@pytest.mark.parametrize("cell", ["a|b", r"a\|b", "||", r"\\|"])
def test_a_pipe_does_not_end_a_cell(cell: str) -> None:
    """Every pipe in a cell has an odd number of backslashes before it."""
    row = as_markdown(Table(("x",), [(cell,)])).splitlines()[-1]

    inner = row.removeprefix("| ").removesuffix(" |")
    for place, character in enumerate(inner):
        if character == "|":
            before = inner[:place]
            assert (len(before) - len(before.rstrip("\\"))) % 2 == 1


@given(text=st.text())
def test_prose_is_one_line_without_control_characters(text: str) -> None:
    """Nothing can begin a heading, a list or a terminal sequence."""
    line = prose(text)

    assert len(line.splitlines()) <= 1
    assert "\x1b" not in line
    assert "\u202e" not in line


def test_backticks_mean_code_in_the_authors_own_texts() -> None:
    """Sentences and actions name commands so; the words around them are escaped."""
    assert prose(rich("run `a | b` now <b>")) == r"run `a | b` now \<b\>"
