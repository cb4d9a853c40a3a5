"""The checklist's screen: the page in colour on a terminal, as it is in a pipe."""

from collections.abc import Iterable
from typing import TextIO

from m43.harness.page_line import STYLES, Line, wrapped


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
        styled = Text(wrapped(line, console.width))
        styled.stylize(STYLES[line.tone], 0, len(line.head))
        console.print(styled, soft_wrap=True)
