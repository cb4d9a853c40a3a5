"""The checklist's screen: the page in colour on a terminal, as it is in a pipe."""

import textwrap
from collections.abc import Iterable
from typing import TextIO

from m43.harness.checklist_page import Line, Tone

_STYLES: dict[Tone, str] = {
    "title": "bold",
    "ok": "green",
    "bad": "bold red",
    "open": "yellow",
    "quiet": "dim",
    "plain": "",
}
# Narrower than this a hanging indent leaves no room for words.
_NARROWEST = 40


def show(lines: Iterable[Line], stream: TextIO) -> None:
    """Write lines: wrapped and in colour for a person, one line each for a program."""
    if not stream.isatty():
        stream.writelines(f"{line}\n" for line in lines)
        return
    # Here and not above: a pipe needs none of it.
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    for line in lines:
        # Kept in one piece by the terminal itself: a command is there to be copied.
        whole = line.indent == 0 and line.tone == "title" and line.head.startswith("  ")
        text = str(line) if whole else wrapped(line, console.width)
        styled = Text(text)
        styled.stylize(_STYLES[line.tone], 0, len(line.head))
        console.print(styled, soft_wrap=True)


def wrapped(line: Line, width: int) -> str:
    """Break a line at a width, with what follows below the place where its text begins."""
    return "\n".join(
        textwrap.wrap(
            str(line),
            width=max(width, _NARROWEST),
            subsequent_indent=" " * line.indent,
            break_on_hyphens=False,
            drop_whitespace=True,
            break_long_words=False,
            replace_whitespace=False,
        )
    )
