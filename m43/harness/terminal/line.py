"""The line model: what the run, the checklist and the plan show, and its one writer.

Lines are written by pytest's terminal writer, which knows colours, widths and streams without
UTF-8; rich draws only what moves (`screen`).
"""

import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TextIO

from m43.text import ascii_text

Tone = Literal["title", "ok", "bad", "open", "quiet", "plain"]

# As rich names them; pytest's writer knows the same, but for its word for "dim".
STYLES: Mapping[Tone, str] = {
    "title": "bold",
    "ok": "green",
    "bad": "bold red",
    "open": "yellow",
    "quiet": "dim",
    "plain": "",
}

# Narrower than this a hanging indent leaves no room for words.
_NARROWEST = 40


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line: its first words in a tone, the rest after them; wrapped below `indent`.

    Attributes:
        whole: never wrapped, because it is there to be copied.
    """

    tone: Tone
    head: str
    rest: str = ""
    indent: int = 0
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.head}{self.rest}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Word:
    """A piece of a line that moves, in its tone."""

    tone: Tone
    text: str


EMPTY = Line(tone="plain", head="")


def labelled(
    label: str,
    text: str,
    *,
    tone: Tone = "quiet",
    indent: int = 2,
    width: int = 10,
    whole: bool = False,
) -> Line:
    """Make a line of a label and a text; both columns stay apart when the text is wrapped.

    Example:
        >>> str(labelled("attempt", "the only one"))
        '  attempt   the only one'
    """
    head = f"{'':{indent}}{label:<{width}}"
    return Line(tone=tone, head=head, rest=ascii_text(text), indent=len(head), whole=whole)


def wrapped(line: Line, width: int) -> str:
    """Break a line at a width, with what follows below the place where its text begins.

    Example:
        >>> print(wrapped(Line(tone="ok", head="  ok  ", rest="word " * 12, indent=6), 40))
          ok  word word word word word word word
              word word word word word
    """
    if line.whole:
        return str(line)
    lines = textwrap.wrap(
        str(line),
        width=max(width, _NARROWEST),
        subsequent_indent=" " * line.indent,
        break_on_hyphens=False,
        break_long_words=False,
        replace_whitespace=False,
    )
    return "\n".join(lines)


def write_line(write: Callable[..., None], line: Line, width: int) -> None:
    """Write a line, its head in its tone.

    Args:
        write: `write` of pytest's terminal writer, or of its terminal reporter.
        line: the line.
        width: where it is wrapped; 0 does not wrap.
    """
    text = wrapped(line, width) if width else str(line)
    head = len(line.head) if text.startswith(line.head) else 0
    markup = {word.replace("dim", "light"): True for word in STYLES[line.tone].split()}
    write(text[:head], **markup)
    write(f"{text[head:]}\n", flush=True)


def show(lines: Iterable[Line], stream: TextIO) -> None:
    """Write lines: wrapped and in colour for a person, one line each for a program."""
    from _pytest._io import TerminalWriter

    writer, watched = TerminalWriter(stream), stream.isatty()
    writer.hasmarkup = writer.hasmarkup and watched
    for line in lines:
        # Read each time: a window changes its width.
        write_line(writer.write, line, writer.fullwidth if watched else 0)
