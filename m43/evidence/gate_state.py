"""The state of a gate: what it asked, how it ended, and how many of its promises were kept."""

from collections.abc import Mapping
from dataclasses import dataclass

from m43.evidence import sections
from m43.evidence.dossier import Dossier
from m43.evidence.promise import CLOSING
from m43.evidence.verdict import STAGES
from m43.records import GATES

# What a gate is for, as a question that somebody asks who has never seen one.
QUESTIONS: Mapping[str, str] = {
    "auth": "May this token read exactly the pinned files?",
    "venv": "Is this the machine and the software that were promised?",
    "train-300": "Did the promised training really happen, step by step?",
    "eval": "Were all questions put to both models, and scored?",
    CLOSING: "Was nothing else touched?",
}

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
        return QUESTIONS[self.gate]

    @property
    def good(self) -> bool | None:
        """Whether it ended well; None where that cannot be said yet."""
        return _GOOD.get(self.state)


def gate_states(dossier: Dossier) -> tuple[GateState, ...]:
    """Give the gates in their order, the closing check last."""
    states = sections.promise_states(dossier)
    promises = dossier.contract.promises if dossier.contract else ()
    found = []
    for gate in STAGES:
        mine = [states.get(promise.name) for promise in promises if promise.gate == gate]
        found.append(
            GateState(
                gate=gate,
                state=_state(dossier, gate, mine),
                seconds=sections.gate_seconds(dossier, gate),
                kept=mine.count("kept"),
                promised=len(mine),
            )
        )
    return tuple(found)


def _state(dossier: Dossier, gate: str, promises: list[str | None]) -> str:
    """Call a gate kept only if every promise of it was kept, and there are some."""
    events = {entry.event for entry in dossier.entries if entry.gate == gate}
    state = "running, or ended from outside"
    if "gate_stopped" in events:
        state = "STOPPED"
    elif "interrupted" in events:
        state = "INTERRUPTED"
    elif "BROKEN" in promises:
        state = "BROKEN"
    elif "gate_opened" not in events:
        # What a run changed is measured also when it ended early.
        state = "measured" if gate == CLOSING and dossier.closing else "NOT RUN"
    elif "gate_closed" in events:
        state = "kept" if promises and set(promises) == {"kept"} else "measured"
    return state
