"""HTML from text that may be hostile: a model's answer must not become markup."""

import html
from collections.abc import Iterable, Sequence

from m43.plain_text import visible


def escaped(words: str) -> str:
    """Write text so that it reads as it is."""
    return html.escape(visible(words))


def rich(words: str) -> str:
    """Write text in which backticks mean code."""
    parts = enumerate(words.split("`"))
    return "".join(f"<code>{escaped(part)}</code>" if i % 2 else escaped(part) for i, part in parts)


def table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a table; the cells are HTML already."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>" for cells in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
