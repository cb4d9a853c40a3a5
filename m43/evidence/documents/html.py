"""HTML from text that may be hostile: a model's answer must not become markup."""

import html
import re
from collections.abc import Iterable, Sequence

from m43.text import visible

_ADDRESS = re.compile(r"https://[A-Za-z0-9./_~-]*[A-Za-z0-9/_~-]")


def escaped(words: str) -> str:
    """Write text so that it reads as it is."""
    return html.escape(visible(words))


def rich(words: str) -> str:
    """Write text in which backticks mean code."""
    parts = enumerate(words.split("`"))
    return "".join(f"<code>{escaped(part)}</code>" if i % 2 else escaped(part) for i, part in parts)


def linked(markup: str) -> str:
    """Make the addresses in escaped text links; a full stop after one ends the sentence."""
    return _ADDRESS.sub(r'<a href="\g<0>">\g<0></a>', markup)


def section(anchor: str, title: str, body: str) -> str:
    """Write a section that the page's list of contents can lead to."""
    return (
        f'<section id="{anchor}" aria-labelledby="{anchor}-title">'
        f'<h2 id="{anchor}-title">{escaped(title)}</h2>{body}</section>'
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """Write a table; head and caption are text, the cells are HTML already.

    Every cell carries the head of its column, because on a phone each row becomes a card of its
    own and the heads are out of sight. The roles stay when the style takes the table apart.
    """
    heads = "".join(f'<th scope="col" role="columnheader">{escaped(cell)}</th>' for cell in head)
    title = f"<caption>{escaped(caption)}</caption>" if caption else ""
    body = "".join(_row(head, cells) for cells in rows)
    return (
        f'<table role="table">{title}<thead role="rowgroup"><tr role="row">{heads}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table>'
    )


def _row(head: Sequence[str], cells: Sequence[str]) -> str:
    first, *others = zip(head, cells, strict=True)
    row = f'<th scope="row" role="rowheader">{first[1]}</th>'
    row += "".join(
        f'<td role="cell" data-label="{escaped(name)}">{cell}</td>' for name, cell in others
    )
    return f'<tr role="row">{row}</tr>'


def listed(pairs: Iterable[tuple[str, str]], kind: str) -> str:
    """Write terms with their values; the terms are text, the values HTML already."""
    items = "".join(f"<div><dt>{escaped(a)}</dt><dd>{b}</dd></div>" for a, b in pairs)
    return f'<dl class="{kind}">{items}</dl>'


def bar(share: float) -> str:
    """Draw a share of a whole as a bar; the number stands beside it, so it is not read aloud."""
    width = f"{100 * min(max(share, 0.0), 1.0):.1f}"
    return (
        '<svg class="bar" aria-hidden="true" focusable="false" viewBox="0 0 100 6" '
        f'preserveAspectRatio="none"><rect class="track" width="100" height="6"/>'
        f'<rect class="part" width="{width}" height="6"/></svg>'
    )


def mark(state: str, good: bool | None) -> str:
    """Write a state with a sign of its own: colour alone tells some readers nothing."""
    sign, tone = {True: ("\u2713", "good"), False: ("\u2717", "bad"), None: ("\u25cb", "open")}[
        good
    ]
    return (
        f'<span class="mark {tone}"><span aria-hidden="true">{sign}</span> {escaped(state)}</span>'
    )
