"""Whatever a text holds, a Markdown parser finds that text in the documents and nothing else."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from m43.evidence.documents.nodes import CodeBlock, Table, code, rich
from m43.text import visible
from tests.unit.evidence.documents.written import as_markdown
from tests.unit.evidence.documents.written import line as prose
from tests.unit.fuzzing import hostile

CORPUS = Path(__file__).parents[2] / "corpus" / "outputs"
OUTPUTS = {
    path.name: path.read_bytes().decode("utf-8", "surrogatepass") for path in CORPUS.iterdir()
}
# As GitHub has it, but for what it makes of bare addresses, which is looked for by hand.
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
BARE_ADDRESS = re.compile(r"(?i)(?:https?|ftp|mailto|xmpp):\S|www\.\S|\S@\S")
PIECES = [
    *("\\", "`", "``", "```", "*", "_", "[", "]", "(", ")", "<", ">", "!", "&", "#", "~", "|", "$"),
    *("-", "+", "=", "1.", "2)", ":", "http://x", "www.x.y", "a@b.c", "javascript:", "<b>", "-->"),
    *(" ", "  ", "\n", "\n\n", "\t", "a", "é", "\x1b[31m", "\u202e", "\ud800", "&lt;", "[^1]"),
]
hostile_texts = st.lists(st.sampled_from(PIECES), max_size=14).map("".join) | st.text(
    st.characters(exclude_categories=[]), max_size=40
)


def tokens(text: str) -> Iterator[Token]:
    """Parse a text, the parts of its lines included."""
    for token in PARSER.parse(text):
        yield token
        yield from token.children or ()


def kinds(text: str) -> set[str]:
    """Give the kinds of tokens in a text."""
    return {token.type for token in tokens(text)}


def reads(found: Sequence[Token]) -> str:
    """Give what a person reads of the parts of a line."""
    return "".join(token.content for token in found)


def plain(text: str) -> str:
    """Give a text as it should be read: plain, on one line."""
    return " ".join(visible(text).split())


PARAGRAPH = {"paragraph_open", "inline", "text", "code_inline", "paragraph_close"}
LIST = {"bullet_list_open", "list_item_open", "list_item_close", "bullet_list_close"}


def assert_reads_as_it_is(text: str) -> None:
    """As a paragraph and as an item of a list."""
    for before, more in (("", set()), ("- ", LIST)):
        written = before + prose(text)
        assert kinds(written) <= PARAGRAPH | more, written
        assert len(written.splitlines()) <= 1
        (line,) = [token for token in tokens(written) if token.type == "inline"] or [None]
        parts = line.children or [] if line else []
        assert reads(parts) == plain(text), written
        bare = [part.content for part in parts if part.type == "text"]
        assert not any(BARE_ADDRESS.search(part) for part in bare), written


def assert_is_code(text: str) -> None:
    """One span of code, with the text in it."""
    written = prose(code(text))
    (line,) = [token for token in tokens(written) if token.type == "inline"]
    expected = [("code_inline", plain(text))] if plain(text) else [("text", "(empty)")]
    assert [(part.type, part.content) for part in line.children or ()] == expected
    assert kinds(written) <= PARAGRAPH


def assert_is_a_block(text: str) -> None:
    """One fence, with the lines in it."""
    (fence,) = tokens(as_markdown(CodeBlock([text, "last"])))
    assert (fence.type, fence.info) == ("fence", "text")
    assert fence.content == f"{visible(text)}\nlast\n"


def assert_is_a_cell(text: str) -> None:
    """Three cells in a row of their own, and the next row where it belongs."""
    rows = [(text, code(text), rich(text)), ("1", "2", "3")]
    written = as_markdown(Table(("a", "b", "c"), rows))
    found = [token.type for token in tokens(written)]
    assert (found.count("tr_open"), found.count("td_open")) == (3, 6), written
    forbidden = {"html_inline", "link_open", "image", "em_open", "strong_open", "s_open"}
    assert not forbidden & set(found), written


@pytest.mark.parametrize("name", OUTPUTS)
def test_every_output_of_the_corpus_is_text(name: str) -> None:
    """In prose, in code, in a block and in the cells of a table."""
    for check in (assert_reads_as_it_is, assert_is_code, assert_is_a_block, assert_is_a_cell):
        check(OUTPUTS[name])


@hostile(120)
@given(hostile_texts)
def test_any_text_is_text(text: str) -> None:
    """Whatever it is put together from."""
    for check in (assert_reads_as_it_is, assert_is_code, assert_is_a_block, assert_is_a_cell):
        check(text)


@hostile(60)
@given(hostile_texts)
def test_a_sentence_with_code_is_no_more_than_that(text: str) -> None:
    """Backticks mean code; everything else that was put into the sentence stays text."""
    assert kinds(prose("It said: ", rich(text), ".")) <= PARAGRAPH


def test_a_hundred_thousand_characters_are_written_at_once() -> None:
    """No pattern takes longer the longer a text is."""
    for piece in PIECES:
        long = piece * (100_000 // len(piece))
        # Spaces alone are no text; code says so.
        assert bool(prose(long)) == bool(piece.strip())
        assert prose(code(long))
        assert as_markdown(CodeBlock([long]))
        assert as_markdown(Table(("a",), [(long,)]))
