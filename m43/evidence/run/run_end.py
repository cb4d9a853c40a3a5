"""The end of a run: where a journal shows that it did not go on, and the state of each gate."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from m43.errors import FailureClass, Problem
from m43.evidence.journal import Entry
from m43.evidence.run import history
from m43.evidence.run.loaded_run import LoadedRun
from m43.records import CLOSING, GATES, STAGES, gate_named

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


_GOOD: Mapping[str, bool | None] = {
    "kept": True,
    "STOPPED": False,
    "INTERRUPTED": False,
    "BROKEN": False,
}


@dataclass(frozen=True, kw_only=True)
class GateState:
    """A gate as the journal and the promises tell of it."""

    gate: str
    state: str
    seconds: float | None  # None: it did not begin and end
    kept: int
    promised: int

    @property
    def title(self) -> str:
        """The gate as a person counts it."""
        if self.gate == CLOSING:
            return "closing check"
        return f"{STAGES.index(self.gate) + 1} of {len(GATES)}: {self.gate}"

    @property
    def question(self) -> str:
        """What the gate asks."""
        return gate_named(self.gate).question

    @property
    def good(self) -> bool | None:
        """Whether it ended well; None where that cannot be said yet."""
        return _GOOD.get(self.state)


def gate_states(loaded_run: LoadedRun) -> tuple[GateState, ...]:
    """Give the gates in their order, the closing check last."""
    states = history.promise_states(loaded_run)
    promises = loaded_run.contract.promises if loaded_run.contract else ()
    found = []
    for gate in STAGES:
        mine = [states.get(promise.name) for promise in promises if promise.gate == gate]
        found.append(
            GateState(
                gate=gate,
                state=_state(loaded_run, gate, mine),
                seconds=history.gate_seconds(loaded_run, gate),
                kept=mine.count("kept"),
                promised=len(mine),
            )
        )
    return tuple(found)


def _state(loaded_run: LoadedRun, gate: str, promises: list[str | None]) -> str:
    """Call a gate kept only if every promise of it was kept, and there are some."""
    events = {entry.event for entry in loaded_run.entries if entry.gate == gate}
    state = "running, or ended from outside"
    if "gate_stopped" in events:
        state = "STOPPED"
    elif "interrupted" in events:
        state = "INTERRUPTED"
    elif "BROKEN" in promises:
        state = "BROKEN"
    elif "gate_opened" not in events:
        # What a run changed is measured also when it ended early.
        state = "measured" if gate == CLOSING and loaded_run.closing else "NOT RUN"
    elif "gate_closed" in events:
        state = "kept" if promises and set(promises) == {"kept"} else "measured"
    return state
