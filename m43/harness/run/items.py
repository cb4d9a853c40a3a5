"""The items of the checklist: what can be known before a run, as one record."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from m43.errors import FailureClass
from m43.evidence.contract import Check

State = Literal["ok", "NO", "not checked", "at the gate", "note"]

# "at the gate" and "note" stand in nobody's way: the one is looked at by the run itself before
# anything depends on it, the other is for a person to know.
_MOST_SHOWN = 3
BLOCKING: tuple[State, ...] = ("NO", "not checked")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One line of the checklist; the action is empty where there is nothing to do."""

    name: str
    state: State
    found: str
    expected: str
    action: str


@dataclass(frozen=True, kw_only=True)
class Group:
    """The items of a gate, or of the ground that all gates stand on."""

    gate: str  # "ground", or the gate's name
    title: str
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True)
class Checklist:
    """All that was looked at. What `m43 checklist --json` prints."""

    kind: str
    profile: str
    run: str
    ready: bool  # whether the run could start
    groups: tuple[Group, ...]
    command: str  # what to type next: the run, or this look again
    duration_s: float

    @property
    def items(self) -> tuple[Item, ...]:
        """The items of all groups, in the order of the run."""
        return tuple(item for group in self.groups for item in group.items)

    def count(self, *states: State) -> int:
        """Count the items in one of these states."""
        return sum(item.state in states for item in self.items)


def is_ready(groups: Sequence[Group]) -> bool:
    """Tell whether something was checked, and nothing stands in the way."""
    items = [item for group in groups for item in group.items]
    held = any(item.state == "ok" for item in items)
    return held and not any(item.state in BLOCKING for item in items)


def item_of(check: Check) -> Item:
    """Write a gate's check as an item; one that could not be made says what prevented it."""
    if not check.checked:
        return unchecked(check.name, check.failure_class, check.expected)
    return Item(
        name=check.name,
        state="ok" if check.holds else "NO",
        found=check.found,
        expected=check.expected,
        action="" if check.holds else check.action,
    )


def checked(name: str, holds: bool, found: str, expected: str, action: str) -> Item:
    """Make an item of something that was looked at."""
    state: State = "ok" if holds else "NO"
    return Item(
        name=name, state=state, found=found, expected=expected, action="" if holds else action
    )


def listed(lines: Sequence[str]) -> str:
    """Write the first of many on a line, and count the others."""
    more = len(lines) - _MOST_SHOWN
    return "; ".join(lines[:_MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def unchecked(name: str, cause: FailureClass, expected: str) -> Item:
    """Make an item of something that could not be looked at, because of something before it."""
    action = f"settle this first: {cause}"
    return Item(name=name, state="not checked", found=str(cause), expected=expected, action=action)


def note(name: str, found: str, expected: str = "", action: str = "") -> Item:
    """Make an item that a person should know and that decides nothing."""
    return Item(name=name, state="note", found=found, expected=expected, action=action)
