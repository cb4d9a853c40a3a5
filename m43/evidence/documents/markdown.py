"""Markdown from text that may be hostile: a model's answer must not become markup."""

import re
from collections.abc import Iterable, Sequence

from m43.text import visible

# "$" because GitHub sets what stands between two of them as mathematics.
_SPECIAL = re.compile(r"([\\`*\[\]<>&#~$])")
# GitHub makes links of bare addresses, which no backslash prevents.
_ADDRESS = re.compile(r"(?i)[a-z]:/|www\.|mailto:|xmpp:|[^\s@]@[^\s@]")
# At the beginning of a line these would be a list, or turn the line before into a heading.
_FIRST = re.compile(r"^(?:[-+=]+(?= |$)|\d{1,9}(?=[.)](?: |$)))")
# From the first backslash of a run only: else a run of many takes time by its square.
_PIPE = re.compile(r"(?<!\\)(\\*)\|")
# Inside a word an underscore is harmless, and file names stay readable.
_OUTER_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def prose(text: str) -> str:
    """Write text so that it reads as it is, on one line."""
    words = visible(text).split()
    line = " ".join(code(word) if _ADDRESS.search(word) else _escaped(word) for word in words)
    return _FIRST.sub(_begun, line)


def _escaped(word: str) -> str:
    return _OUTER_UNDERSCORE.sub(r"\\_", _SPECIAL.sub(r"\\\1", word))


def _begun(match: re.Match[str]) -> str:
    # Only punctuation can be escaped: of "1." that is the dot.
    return f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}"


def code(text: str) -> str:
    """Write text as a code span, on one line."""
    line = " ".join(visible(text).split())
    if not line:
        return "(empty)"
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def rich(text: str) -> str:
    """Write text in which backticks mean code, as the sentences and actions do.

    They are m43's own words, so that an address in them may become a link.
    """
    parts = text.split("`")
    return "".join(
        (code(part) if index % 2 else _spaced_prose(part)) for index, part in enumerate(parts)
    )


def _spaced_prose(part: str) -> str:
    head = " " if part[:1].isspace() else ""
    tail = " " if part[-1:].isspace() and part.strip() else ""
    line = " ".join(map(_escaped, visible(part).split()))
    return f"{head}{_FIRST.sub(_begun, line)}{tail}"


def block(lines: Sequence[str]) -> str:
    """Write lines as a fenced block that no line can end."""
    text = "\n".join(visible(line) for line in lines)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; the cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Keep a pipe from ending its cell, which it does even inside a code span.

    It is escaped by an odd number of backslashes before it.
    """
    return _PIPE.sub(lambda match: f"{match[1]}{'' if len(match[1]) % 2 else chr(92)}|", text)


def document(parts: Iterable[str]) -> str:
    """Join the parts of a document, an empty line between them."""
    return "\n\n".join(part for part in parts if part) + "\n"
