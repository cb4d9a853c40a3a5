"""The checklist's page: the record as lines for a person, what has to be settled once more last."""

from collections.abc import Iterator
from itertools import groupby

from m43.harness.run import Checklist, Item, State, listed
from m43.harness.terminal.line import EMPTY, Line, Tone, labelled
from m43.text import ascii_text, counted, duration_words

TONE_OF_STATE: dict[State, Tone] = {
    "ok": "ok",
    "NO": "bad",
    "not checked": "open",
    "at the gate": "quiet",
    "note": "quiet",
}
_WIDTH = 13


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
        for cause, alike in groupby(group.items, _cause):
            items = tuple(alike)
            yield from _waiting(cause, items) if cause else _each(items)
    yield EMPTY
    yield from _verdict(checklist)


def _cause(item: Item) -> str:
    """Return what an item waits for; empty where it waits for nothing."""
    return item.found if item.state == "not checked" else ""


def _each(items: tuple[Item, ...]) -> Iterator[Line]:
    for item in items:
        yield from item_lines(item)


def _waiting(cause: str, items: tuple[Item, ...]) -> Iterator[Line]:
    """Write the items that wait for one thing on one line: a NO must not drown among them."""
    names = listed([item.name for item in items])
    wait = "waits" if len(items) == 1 else "wait"
    text = f"{counted(len(items), 'check')} {wait} until this is settled: {cause} ({names})"
    yield labelled("not checked", text, tone=TONE_OF_STATE["not checked"], width=_WIDTH)


def item_lines(item: Item) -> Iterator[Line]:
    """Write an item: one line, or four where there is something to do."""
    tone = TONE_OF_STATE[item.state]
    if item.state != "NO":
        text = f"{item.name}: {item.found}{_expected(item)}"
        yield labelled(item.state, text, tone=tone, width=_WIDTH)
        return
    yield labelled(item.state, item.name, tone=tone, width=_WIDTH)
    for word, text in (
        ("found", item.found),
        ("expected", item.expected),
        ("to do", item.action),
    ):
        yield labelled(word, text, indent=2 + _WIDTH)


def _expected(item: Item) -> str:
    """Add what was expected where what was found does not say it already."""
    same = item.expected in ("", item.found)
    return "" if same else f" (expected: {item.expected})"


def _verdict(checklist: Checklist) -> Iterator[Line]:
    good, later = counted(checklist.count("ok"), "check"), checklist.count("at the gate")
    took = duration_words(checklist.duration_s)
    hold = f"{good} {'holds' if checklist.count('ok') == 1 else 'hold'}"
    if checklist.ready:
        follow = "follows at its gate" if later == 1 else "follow at their gates"
        rest = f": {hold}, {later} more {follow} ({took}). The run, once:"
        yield Line(tone="ok", head="READY", rest=rest)
    else:
        wrong = [item for item in checklist.items if item.state == "NO"]
        fail = f"{len(wrong)} {'does' if len(wrong) == 1 else 'do'} not"
        unmade = f"{checklist.count('not checked')} could not be made"
        yield Line(tone="bad", head="NOT READY", rest=f": {hold}, {fail}, {unmade} ({took}).")
        yield from _to_settle(wrong)
    yield EMPTY
    yield Line(tone="title", head=f"  {checklist.command}", whole=True)


def _to_settle(wrong: list[Item]) -> Iterator[Line]:
    if wrong:
        these = "this" if len(wrong) == 1 else f"these {len(wrong)}"
        yield EMPTY
        yield Line(tone="title", head=f"Settle {these} first:")
    for number, item in enumerate(wrong, start=1):
        yield labelled(f"{number}.", f"{item.name}: {item.action}", tone="bad", width=3)
    yield EMPTY
    yield Line(tone="title", head="Then look again:" if wrong else "Look again:")
