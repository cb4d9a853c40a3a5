"""The gates of a run as a timeline: what each asked, how it ended, how long it took."""

from m43.evidence.dossier import Dossier
from m43.evidence.durations import clock_words
from m43.evidence.gate_state import GateState, gate_states
from m43.evidence.hypertext import bar, escaped, mark


def gates_html(dossier: Dossier) -> str:
    """Write the gates in their order."""
    gates = gate_states(dossier)
    longest = max((gate.seconds or 0.0 for gate in gates), default=0.0)
    return f'<ol class="gates">{"".join(_gate(gate, longest) for gate in gates)}</ol>'


def _gate(gate: GateState, longest: float) -> str:
    tone = {True: "good", False: "bad", None: "open"}[gate.good]
    took = "" if gate.seconds is None else clock_words(gate.seconds)
    drawn = bar(gate.seconds / longest) if gate.seconds is not None and longest else ""
    count = f"{gate.kept} of {gate.promised} promises kept"
    return (
        f'<li class="{tone}"><h3>{escaped(gate.title)}</h3><p>{mark(gate.state, gate.good)}</p>'
        f'<p class="question">{escaped(gate.question)}</p>'
        f'<p class="took"><span class="number">{took}</span> {drawn}</p>'
        f'<p class="count">{count}</p></li>'
    )
