"""The Markdown writer: the document tree as Markdown that GitHub and CommonMark read alike."""

import re
from collections.abc import Sequence

from m43.evidence.documents import nodes
from m43.evidence.documents.nodes import Node, Section, Words, flat, leads_somewhere
from m43.text import visible

# "$" because GitHub sets what stands between two of them as mathematics.
_SPECIAL = re.compile(r"([\\`*\[\]<>&~$])")
# GitHub makes links of bare addresses, which no backslash prevents.
_ADDRESS = re.compile(r"(?i)[a-z]:/|www\.|mailto:|xmpp:|[^\s@]@[^\s@]")
# At the beginning of a line these would be a heading or a list, or turn the line before into a
# heading.
_FIRST = re.compile(r"^(?:#+|[-+=]+(?= |$)|\d{1,9}(?=[.)](?: |$)))")
# From the first backslash of a run only: else a run of many takes time by its square.
_PIPE = re.compile(r"(?<!\\)(\\*)\|")
# Inside a word an underscore is harmless, and file names stay readable.
_OUTER_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def markdown(document: Section) -> str:
    """Write a whole document."""
    return _block(document, 1) + "\n"


def _block(node: Node, level: int) -> str:
    match node:
        case nodes.Section() | nodes.Details():
            # What a page folds stands under a heading here.
            title = _line(node.title)
            head = f"{'#' * min(level, 6)} {title}" if title else ""
            parts = (head, *(_block(child, level + 1) for child in node.children))
            return "\n\n".join(part for part in parts if part)
        case nodes.Text():
            line = _begin(node.words)
            return f"> {line}" if line and node.kind == "banner" else line
        case nodes.Table() | nodes.Pairs():
            return _table(node)
        case nodes.CodeBlock():
            return _fence(node.lines, node.language)
        case nodes.Bullets():
            items = enumerate(map(_begin, node.items), start=1)
            return "\n".join(f"{f'{n}.' if node.ordered else '-'} {item}" for n, item in items)
    title = _begin(node.picture.title)
    return f"![{title}]({node.file})" if leads_somewhere(node.file) else title


def _table(table: nodes.Table | nodes.Pairs) -> str:
    if isinstance(table, nodes.Pairs):
        table = nodes.Table(("what", "value"), table.items)
    head, rows = table.head, table.rows
    lines = [[_cell(each) for each in line] for line in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(words: Words) -> str:
    """Keep a pipe from ending its cell, which it does even inside a code span.

    It is escaped by an odd number of backslashes before it.
    """
    escape = chr(92)
    return _PIPE.sub(
        lambda match: f"{match[1]}{'' if len(match[1]) % 2 else escape}|", _line(words)
    )


def _begin(words: Words) -> str:
    """Write a line that begins a block."""
    line = _line(words)
    parts = flat(words)
    return _FIRST.sub(_begun, line) if parts and isinstance(parts[0], str) else line


def _begun(match: re.Match[str]) -> str:
    # Only punctuation can be escaped: of "1." that is the dot.
    return f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}"


def _line(words: Words) -> str:
    """Write words on one line."""
    return "".join(map(_inline, flat(words))).strip(" ")


def _inline(part: nodes.Inline) -> str:
    match part:
        case str():
            return _text(part)
        case nodes.Span():
            return _span(part)
        case nodes.Link():
            return _link(part)
        case nodes.Quote():
            return _code(part.text)
        case nodes.Bar():
            return ""
        case nodes.Break():
            return "<br>"


def _text(text: str, *, is_address: bool = False) -> str:
    """Write text so that it reads as it is, the spaces around it as one."""
    words = visible(text).split()
    line = " ".join(
        _code(word) if _ADDRESS.search(word) and not is_address else _escaped(word)
        for word in words
    )
    head = " " if text[:1].isspace() else ""
    tail = " " if text[-1:].isspace() and words else ""
    return f"{head}{line}{tail}"


def _escaped(word: str) -> str:
    return _OUTER_UNDERSCORE.sub(r"\\_", _SPECIAL.sub(r"\\\1", word))


def _span(span: nodes.Span) -> str:
    if span.kind == "code":
        return _code(span.text)
    text = _text(span.text)
    sign = {"strong": "**", "bad": "**", "emphasis": "*"}.get(span.kind, "")
    return f"{sign}{text.strip(' ')}{sign}" if sign and text.strip(" ") else text


def _link(link: nodes.Link) -> str:
    if link.text == link.address and link.address.startswith(("https://", "http://")):
        # As it is: GitHub makes a link of it, and it reads well where nothing does.
        return _text(link.text, is_address=True)
    if not leads_somewhere(link.address):
        return _text(link.text)
    address = re.sub(r"[()<>\\]", lambda match: f"%{ord(match[0]):X}", link.address)
    return f"[{_text(link.text)}]({address})"


def _code(text: str) -> str:
    """Write text as a code span, on one line."""
    line = " ".join(visible(text).split())
    if not line:
        return "(empty)"
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def _fence(lines: Sequence[str], language: str) -> str:
    """Write lines as a fenced block that no line can end."""
    text = "\n".join(visible(line) for line in lines)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"
