"""The gates of a run as a timeline: what each asked, how it ended, how long it took."""

from collections.abc import Mapping

from m43.evidence import sections
from m43.evidence.dossier import Dossier
from m43.evidence.durations import clock_words
from m43.evidence.hypertext import bar, escaped, mark
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


def gates_html(dossier: Dossier) -> str:
    """Write the gates in their order."""
    seconds = {gate: sections.gate_seconds(dossier, gate) for gate in STAGES}
    longest = max((each or 0.0 for each in seconds.values()), default=0.0)
    items = "".join(_gate(dossier, gate, seconds[gate], longest) for gate in STAGES)
    return f'<ol class="gates">{items}</ol>'


def _gate(dossier: Dossier, gate: str, seconds: float | None, longest: float) -> str:
    state = gate_state(dossier, gate)
    good = _GOOD.get(state)
    tone = {True: "good", False: "bad", None: "open"}[good]
    name = (
        "closing check" if gate == CLOSING else f"{STAGES.index(gate) + 1} of {len(GATES)}: {gate}"
    )
    took = "" if seconds is None else clock_words(seconds)
    drawn = bar(seconds / longest) if seconds is not None and longest else ""
    return (
        f'<li class="{tone}"><h3>{escaped(name)}</h3><p>{mark(state, good)}</p>'
        f'<p class="question">{escaped(QUESTIONS[gate])}</p>'
        f'<p class="took"><span class="number">{took}</span> {drawn}</p>'
        f'<p class="count">{escaped(_count(dossier, gate))}</p></li>'
    )


def _count(dossier: Dossier, gate: str) -> str:
    promises = dossier.contract.promises if dossier.contract else ()
    names = [promise.name for promise in promises if promise.gate == gate]
    states = sections.promise_states(dossier)
    kept = sum(states.get(name) == "kept" for name in names)
    return f"{kept} of {len(names)} promises kept"


def gate_state(dossier: Dossier, gate: str) -> str:
    """Give the state of a gate: kept only if every promise of it was kept, and there are some."""
    events = {entry.event for entry in dossier.entries if entry.gate == gate}
    states = sections.promise_states(dossier)
    promises = dossier.contract.promises if dossier.contract else ()
    mine = [states.get(promise.name) for promise in promises if promise.gate == gate]
    state = "running, or ended from outside"
    if "gate_stopped" in events:
        state = "STOPPED"
    elif "interrupted" in events:
        state = "INTERRUPTED"
    elif "BROKEN" in mine:
        state = "BROKEN"
    elif "gate_opened" not in events:
        state = "NOT RUN"
    elif "gate_closed" in events:
        state = "kept" if mine and all(item == "kept" for item in mine) else "measured"
    return state
