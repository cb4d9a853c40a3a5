"""The checklist's page: the record as lines for a person, in colour on a terminal."""

from collections.abc import Iterable, Iterator
from typing import TextIO

from m43.harness.run.items import Checklist, Item, State
from m43.harness.terminal.line import EMPTY, STYLES, Line, Tone, wrapped
from m43.text import ascii_text

TONE_OF_STATE: dict[State, Tone] = {
    "ok": "ok",
    "NO": "bad",
    "not checked": "open",
    "at the gate": "quiet",
    "note": "quiet",
}
_INDENT = 15


def page(checklist: Checklist) -> tuple[Line, ...]:
    """Write the checklist."""
    return tuple(_lines(checklist))


def _lines(checklist: Checklist) -> Iterator[Line]:
    yield Line(
        tone="title",
        head=f"m43 checklist: {checklist.kind} run {ascii_text(checklist.run)}",
        rest=f", by {ascii_text(checklist.profile)}",
    )
    yield Line(tone="quiet", head="It only looks: nothing is written, no attempt is used up.")
    for group in checklist.groups:
        yield EMPTY
        yield Line(tone="title", head=group.title)
        for item in group.items:
            yield from item_lines(item)
    yield EMPTY
    yield from _verdict(checklist)


def item_lines(item: Item) -> Iterator[Line]:
    """Write an item: one line, or four where there is something to do."""
    head = f"  {item.state:<13}"
    tone = TONE_OF_STATE[item.state]
    if item.state != "NO":
        rest = f"{ascii_text(item.name)}: {ascii_text(item.found)}{_expected(item)}"
        yield Line(tone=tone, head=head, rest=rest, indent=_INDENT)
        return
    yield Line(tone=tone, head=head, rest=ascii_text(item.name), indent=_INDENT)
    for word, text in (
        ("found", item.found),
        ("expected", item.expected),
        ("to do", item.action),
    ):
        start = f"{'':{_INDENT}}{word:<10}"
        yield Line(tone="quiet", head=start, rest=ascii_text(text), indent=len(start))


def _expected(item: Item) -> str:
    """Say what was expected where what was found does not say it already."""
    same = item.expected in ("", item.found)
    return "" if same else f" (expected: {ascii_text(item.expected)})"


def _follow(later: int) -> str:
    return "1 more follows at its gate" if later == 1 else f"{later} more follow at their gates"


def _verdict(checklist: Checklist) -> Iterator[Line]:
    good, bad = checklist.count("ok"), checklist.count("NO")
    unchecked, later = checklist.count("not checked"), checklist.count("at the gate")
    took = f"{checklist.duration_s:.1f} s"
    if checklist.ready:
        yield Line(
            tone="ok",
            head="READY",
            rest=f": {good} checks hold, {_follow(later)} ({took}). The run, once:",
        )
    else:
        yield Line(
            tone="bad",
            head="NOT READY",
            rest=f": {good} checks hold, {bad} do not, {unchecked} could not be made ({took}). "
            "Settle them, then look again:",
        )
    yield EMPTY
    yield Line(tone="title", head=f"  {checklist.command}", whole=True)


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
