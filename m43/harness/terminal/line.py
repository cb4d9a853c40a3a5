"""The page line: what is written for a person, and the tone of its first words."""

import textwrap
from dataclasses import dataclass
from typing import Literal

Tone = Literal["title", "ok", "bad", "open", "quiet", "plain"]

# As rich names them; pytest's own terminal writer knows the same colours.
STYLES: dict[Tone, str] = {
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
    """A piece of a line, in its tone."""

    tone: Tone
    text: str


EMPTY = Line(tone="plain", head="")


def wrapped(line: Line, width: int) -> str:
    """Break a line at a width, with what follows below the place where its text begins.

    Example:
        >>> print(wrapped(Line(tone="ok", head="  ok  ", rest="word " * 12, indent=6), 40))
          ok  word word word word word word
              word word word word word word
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
