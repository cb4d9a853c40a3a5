"""The HTML writer: the document tree as a page that loads nothing and runs only what it holds."""

import base64
import hashlib
import html
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from m43.evidence.documents import nodes
from m43.evidence.documents.charts import draw
from m43.evidence.documents.nodes import Node, Section, Words, flat, leads_somewhere
from m43.text import visible

_STYLE = Path(__file__).with_name("report.css")
_SCRIPT = Path(__file__).with_name("report.js")

# A hundred rows have room in a report of two megabytes, whatever the models wrote: five texts of
# this many bytes each. The whole text is in the run folder.
_MOST_BYTES = 2500


def escaped(words: str) -> str:
    """Write text so that it reads as it is."""
    return html.escape(visible(words))


def page(
    title: str, header: Sequence[Node], sections: Sequence[Section], footer: nodes.Text
) -> str:
    """Write a page: a header, a list of contents, the sections.

    The policy names style and script by their digests, so that markup which slipped through the
    escaping could neither run nor call anywhere. `data:` is for the empty icon alone, without which
    a browser asks the server for one.
    """
    style, script = _STYLE.read_text(encoding="utf-8"), _SCRIPT.read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; style-src '{_source(style)}'; script-src '{_source(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    contents = "".join(
        f'<li><a href="#{escaped(each.anchor)}">{_line(each.title)}</a></li>' for each in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        '<meta name="color-scheme" content="light dark"/>'
        '<meta name="referrer" content="no-referrer"/>'
        f'<link rel="icon" href="data:,"/><title>{escaped(title)}</title>'
        f"<style>{style}</style></head>\n<body><header>{fragment(header, 1)}"
        f'<nav aria-label="Contents"><ul>{contents}</ul></nav></header>'
        f"<main>{fragment(sections)}</main><footer>{fragment((footer,))}</footer>"
        f"<script>{script}</script></body></html>\n"
    )


def _source(text: str) -> str:
    """Name an inline source as a content security policy does."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def fragment(nodes: Iterable[Node], level: int = 2) -> str:
    """Write nodes; `level` is that of the first heading."""
    return "".join(part for node in nodes for part in _node(node, level))


def _node(node: Node, level: int) -> Iterator[str]:
    match node:
        case Section():
            yield _section(node, level)
        case nodes.Text():
            kind = {"plain": "", "note": ' class="note"', "banner": ' class="rehearsal"'}
            yield f"<p{kind[node.kind]}>{_line(node.words)}</p>"
        case nodes.Table():
            yield _table(node)
        case nodes.Pairs():
            terms = (f"<dt>{escaped(a)}</dt><dd>{_line(b)}</dd>" for a, b in node.items)
            yield f"<dl>{''.join(f'<div>{each}</div>' for each in terms)}</dl>"
        case nodes.CodeBlock():
            lines = "\n".join(node.lines)
            yield f'<pre class="block">{escaped(lines)}</pre>'
        case nodes.Bullets():
            tag = "ol" if node.ordered else "ul"
            items = "".join(f"<li>{_line(item)}</li>" for item in node.items)
            yield f"<{tag}>{items}</{tag}>"
        case nodes.Details():
            opened = ' open=""' if node.is_open else ""
            yield f"<details{opened}><summary>{_line(node.title)}</summary>"
            yield f"{fragment(node.children, level)}</details>"
        case nodes.Figure():
            yield f"<figure><figcaption>{escaped(node.picture.title)}</figcaption>"
            yield f"{draw(node.picture)}</figure>"


def _section(node: Section, level: int) -> str:
    """Write a section; one with an anchor can be led to, and is styled by it."""
    title, body = _line(node.title), fragment(node.children, level + 1)
    anchor = escaped(node.anchor)
    if not anchor:
        return f"<h{min(level, 6)}>{title}</h{min(level, 6)}>{body}"
    if not title:
        return f'<div id="{anchor}" class="{anchor}">{body}</div>'
    return (
        f'<section id="{anchor}" class="{anchor}" aria-labelledby="{anchor}-title">'
        f'<h{level} id="{anchor}-title">{title}</h{level}>{body}</section>'
    )


def _table(table: nodes.Table) -> str:
    """Write a table.

    Every cell carries the head of its column, because on a phone each row becomes a card of its
    own and the heads are out of sight. The roles stay when the style takes the table apart.
    """
    heads = "".join(
        f'<th scope="col" role="columnheader">{_line(cell)}</th>' for cell in table.head
    )
    title = f"<caption>{escaped(table.caption)}</caption>" if table.caption else ""
    labels = [" ".join(map(_plain, flat(cell))) for cell in table.head]
    body = "".join(f'<tr role="row">{_cells(labels, row, table.names)}</tr>' for row in table.rows)
    return (
        f'<table role="table">{title}<thead role="rowgroup"><tr role="row">{heads}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table>'
    )


def _cells(labels: Sequence[str], row: Sequence[Words], names: int) -> str:
    return "".join(
        f'<th scope="row" role="rowheader">{_line(cell)}</th>'
        if place == names
        else f'<td role="cell" data-label="{escaped(label)}">{_line(cell)}</td>'
        for place, (label, cell) in enumerate(zip(labels, row, strict=True))
    )


def _plain(part: nodes.Inline) -> str:
    return part if isinstance(part, str) else getattr(part, "text", "")


def _line(words: Words) -> str:
    return "".join(map(_inline, flat(words)))


_SIGNS = {"good": "\u2713", "bad": "\u2717", "open": "\u25cb"}
_TAGS = {"code": "code", "strong": "strong", "emphasis": "em"}


def _inline(part: nodes.Inline) -> str:
    match part:
        case str():
            return escaped(part)
        case nodes.Span():
            return _span(part)
        case nodes.Link():
            return _link(part)
        case nodes.Quote():
            return _quote(part.text)
        case nodes.Bar():
            return _bar(part)
        case nodes.Break():
            return "<br/>"


def _span(span: nodes.Span) -> str:
    text = escaped(span.text)
    if span.kind in _TAGS:
        return f"<{_TAGS[span.kind]}>{text}</{_TAGS[span.kind]}>"
    if span.kind not in _SIGNS:
        return f'<span class="{span.kind}">{text}</span>'
    sign = f'<span aria-hidden="true">{_SIGNS[span.kind]}</span>'
    return f'<span class="mark {span.kind}">{sign} {text}</span>'


def _link(link: nodes.Link) -> str:
    if not leads_somewhere(link.address):
        return escaped(link.text)
    own = f' id="{escaped(link.anchor)}"' if link.anchor else ""
    return f'<a{own} href="{escaped(link.address)}">{escaped(link.text)}</a>'


def _quote(words: str) -> str:
    """Write a text as it is, as much of it as there is room for."""
    if not words:
        return "<pre><em>empty</em></pre>"
    shown = words[:_MOST_BYTES]
    while len(escaped(shown).encode(errors="replace")) > _MOST_BYTES:
        shown = shown[: len(shown) * 3 // 4]
    if len(shown) == len(words):
        return f"<pre>{escaped(shown)}</pre>"
    cut = f"cut here: {len(words):,} characters, all of them in predictions.jsonl"
    return f'<pre>{escaped(shown)}</pre><p class="note">{cut}</p>'


def _bar(bar: nodes.Bar) -> str:
    """Draw a share of a whole; the number stands beside it, so it is not read aloud."""
    inner = f'<rect class="part" width="{_percent(bar.share)}" height="6"/>'
    if bar.low is not None and bar.high is not None:
        low, high = _percent(bar.low), _percent(bar.high)
        inner += f'<path class="interval" d="M{low} 1v4m0 -2H{high}m0 -2v4"/>'
    return (
        '<svg class="bar" aria-hidden="true" focusable="false" viewBox="0 0 100 6" '
        f'preserveAspectRatio="none"><rect class="track" width="100" height="6"/>{inner}</svg>'
    )


def _percent(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.1f}"
