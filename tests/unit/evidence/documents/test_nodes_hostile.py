"""Whatever a text holds: no node type of either writer lets it become anything but text."""

import dataclasses
import typing
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping

import pytest
from markdown_it import MarkdownIt

from m43.evidence.documents import nodes
from m43.evidence.documents.charts import Line, Picture
from m43.evidence.documents.nodes import (
    Bar,
    Break,
    Bullets,
    CodeBlock,
    Details,
    Figure,
    Link,
    Node,
    Pairs,
    Quote,
    Section,
    Span,
    Table,
    Text,
)
from m43.text import visible
from tests.unit.evidence.documents.written import as_html, as_markdown

HOSTILE = (
    "<script>alert(1)</script>",
    "</pre></td></table></details></section><img src=x onerror=alert(1)>",
    "a|b|c \\| d",
    "`` ` ``` code",
    "\x1b[31m\x1b]0;title\x07",
    "a\u202eb\u2066c\u200f",
    "one\n\n# two\n- three\n> four\n\n    five\n***\n<hr>",
    "]]> <![CDATA[ <!-- --> <?x?>",
    '"\'` onload=alert(1) x="',
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)//https://x",
    "data:text/html,<script>alert(1)</script>",
    "[a](javascript:alert(1)) ![b](http://x/y.png) <http://x> www.x.y a@b.c",
    "&lt;b&gt; &#60;i&#62; &amp;",
    "**bold** _it_ ~~s~~ $x$ [^1]",
    "\ud800 \x00 \x85 \u2028",
    "# heading",
    "1. item",
    "=== ",
)
PARTS = set(typing.get_args(nodes.Inline)) - {str}
BLOCKS = set(typing.get_args(nodes.Node))


def picture(text: str) -> Picture:
    """Say a text wherever a picture can hold one."""
    line = Line(label=text, steps=(1, 2), values=(1.0, 2.0))
    texts = dict.fromkeys(("title", "unit", "description", "watermark"), text)
    return Picture(name="p", lines=(line, line), smoothed=True, **texts)


def spans(text: str) -> list[Node]:
    """Write a text as each kind of span."""
    return [Text(("a ", Span(text, kind), " b")) for kind in typing.get_args(nodes.SpanKind)]


# For each type of node: everything that can be said with it, a text in every place for text.
EXAMPLES: Mapping[type, Callable[[str], list[Node]]] = {
    Text: lambda text: [
        Text(text),
        Text((text, text)),
        *(Text(text, kind) for kind in ("note", "banner")),
    ],
    Section: lambda text: [Section(text, (Text(text),)), Section(text, (), "an-anchor")],
    Table: lambda text: [Table((text, text), [(text, text), ("1", "2")], caption=text)],
    Pairs: lambda text: [Pairs([(text, text)])],
    CodeBlock: lambda text: [CodeBlock((text, text)), CodeBlock((text,), "sh")],
    Bullets: lambda text: [Bullets((text, text)), Bullets((text,), ordered=True)],
    Details: lambda text: [Details(text, (Text(text),)), Details(text, (), is_open=True)],
    Figure: lambda text: [Figure(picture(text)), Figure(picture(text), text)],
    Span: spans,
    Link: lambda text: [
        Text(("a ", Link(text, text), " b")),
        Text(("a ", Link(text, "https://x.y/z", text), " b")),
        Text(("a ", Link(text, f"#{text}"), " b")),
    ],
    Quote: lambda text: [Text((Quote(text), "b"))],
    Bar: lambda text: [Text((text, Bar(float("inf"), -1.0, 2.0), text))],
    Break: lambda text: [Table(("a",), [((text, nodes.BREAK, text),)])],
}

POLITE = "polite"
# What a text may become: nothing, one line or several, shown as code or not.
EITHER = {"text", "code_inline", "paragraph_open", "paragraph_close", "inline", "softbreak"}


def test_every_type_of_node_is_tried() -> None:
    """A type added later is tried as well, or this fails."""
    defined = {
        each
        for each in vars(nodes).values()
        if isinstance(each, type)
        and dataclasses.is_dataclass(each)
        and each.__module__ == nodes.__name__
    }
    assert defined == PARTS | BLOCKS == set(EXAMPLES)
    assert len(BLOCKS) <= 8


def elements(page: str) -> set[str]:
    """Parse HTML strictly, and list its elements with the names of their attributes."""
    root = ET.fromstring(f"<body>{page}</body>")
    return {f"{node.tag} {sorted(node.attrib)}" for node in root.iter()}


def kinds(text: str) -> set[str]:
    """Parse Markdown, and list what is there, with where links lead."""
    found = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    every = [*found, *(part for token in found for part in token.children or ())]
    return {f"{each.type} {each.attrs.get('href') or each.attrs.get('src')}" for each in every}


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda each: each.__name__)
def test_a_hostile_text_makes_the_same_page_as_a_polite_one(kind: type, text: str) -> None:
    """The same elements with the same attributes, and every letter of the text in it."""
    for hostile, polite in zip(EXAMPLES[kind](text), EXAMPLES[kind](POLITE), strict=True):
        page = as_html(hostile)
        # What leads nowhere is text alone; nothing quoted is called empty.
        assert elements(page) <= elements(as_html(polite)) | {"em []", "p []"}
        assert visible(page) == page
        root = ET.fromstring(f"<body>{page}</body>")
        for node in root.iter():
            for name in ("href", "src"):
                address = node.get(name, "https://")
                assert address.startswith(("https://", "#")) or address.isalnum(), page
            assert not [name for name in node.attrib if name.startswith("on") or name == "style"]
        said = "".join(root.itertext()) + "".join(
            value for node in root.iter() for value in node.attrib.values()
        )
        assert "".join(visible(text).split()) in "".join(said.split())


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda each: each.__name__)
def test_a_hostile_text_makes_the_same_document_as_a_polite_one(kind: type, text: str) -> None:
    """No heading, list, rule, link, image or tag that was not there before."""
    for hostile, polite in zip(EXAMPLES[kind](text), EXAMPLES[kind](POLITE), strict=True):
        written = as_markdown(Text("before"), hostile, Text("after"))
        assert visible(written) == written
        expected = kinds(as_markdown(Text("before"), polite, Text("after")))
        more = {each for each in kinds(written) - expected if each.split()[0] not in EITHER}
        # Its own anchor or file is where a polite link leads; a hostile one may lead to an anchor.
        assert all(each.startswith("link_open #") for each in more), (more, written)


def test_forgetting_to_escape_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a writer that escapes nothing, both tests fail."""
    from m43.evidence.documents import html, markdown

    monkeypatch.setattr(html, "escaped", lambda text: text)
    monkeypatch.setattr(markdown, "_escaped", lambda text: text)
    script, link = HOSTILE[0], "**bold**"

    assert "script []" in elements(as_html(Text(script)))
    assert "strong_open None" in kinds(as_markdown(Text(link)))
