"""The stop: where a journal shows that a run did not go on, and what it says about it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from m43.errors import FailureClass, Problem
from m43.evidence.entry import Entry
from m43.evidence.promise import CLOSING
from m43.records import GATES

How = Literal["stopped", "broken", "interrupted", "no closing record", "sealed"]


@dataclass(frozen=True, kw_only=True)
class Stop:
    """The place in the journal where the run ended, for whatever reason."""

    how: How
    gate: str  # empty before the first gate
    entry: Entry | None  # None when the journal holds nothing about the end
    failure_class: FailureClass | None  # as the journal names it
    broken: tuple[str, ...]  # promises
    problems: tuple[Problem, ...]

    @property
    def place(self) -> str:
        """Where it ended, as a person counts the gates."""
        last = len(GATES)
        if self.gate in GATES:
            return f"at gate {GATES.index(self.gate) + 1} of {last} ({self.gate})"
        closing = f"at the closing check after gate {last} of {last}"
        return closing if self.gate == CLOSING else f"before gate 1 of {last}"


def find_stop(entries: Sequence[Entry]) -> Stop:
    """Find where a run ended: the first entry that an accepted run does not have."""
    bad = ("gate_stopped", "promise_broken", "interrupted")
    entry = next((entry for entry in entries if entry.event in bad), None)
    opened = [item.gate for item in entries if item.event == "gate_opened"]
    gate = (entry.gate if entry else "") or (opened[-1] if opened else "")
    how: How = "sealed" if any(item.event == "sealed" for item in entries) else "no closing record"
    if entry is not None:
        names: dict[str, How] = {"gate_stopped": "stopped", "promise_broken": "broken"}
        how = names.get(entry.event, "interrupted")
    return Stop(
        how=how,
        gate=gate,
        entry=entry,
        failure_class=_failure_class(entry.failure_class) if entry else None,
        broken=tuple(item.name for item in entries if item.event == "promise_broken"),
        problems=_problems(entry) if entry and entry.event == "gate_stopped" else (),
    )


def _failure_class(name: str) -> FailureClass | None:
    return FailureClass(name) if name in set(FailureClass) else None


def _problems(entry: Entry) -> tuple[Problem, ...]:
    """Read the problems out of a `gate_stopped` entry: JSON as the gate wrote it, or plain text."""
    try:
        data = json.loads(entry.detail)
        tables = data if isinstance(data, list) else [data]
        return tuple(
            Problem(
                found=str(table["found"]),
                expected=str(table["expected"]),
                where=str(table["where"]),
                action=str(table["action"]),
            )
            for table in tables
        )
    except (ValueError, KeyError, TypeError):
        if not entry.detail:
            return ()
        text = entry.detail
        return (Problem(found=text, expected="a gate that finishes", where=entry.gate, action=""),)
