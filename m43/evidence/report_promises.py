"""The promises in the report: each in plain words, with what it asks and what was measured."""

from collections.abc import Sequence

from m43.evidence import sections
from m43.evidence.dossier import Dossier
from m43.evidence.hypertext import escaped, mark, table
from m43.evidence.measurement import Judged
from m43.evidence.verdict import STAGES

_HEAD = ("promise", "state", "measured (file)", "expected")
_GOOD: dict[str, bool | None] = {"kept": True, "BROKEN": False}


def promises_html(dossier: Dossier) -> str:
    """Write the promises gate by gate."""
    items, states = sections.judged(dossier), sections.promise_states(dossier)
    parts = []
    for gate in STAGES:
        mine = [item for item in items if item.promise.gate == gate]
        if mine:
            parts.append(f"<h3>{escaped(gate)}</h3>{promise_table(mine, states)}")
    return "".join(parts) or "<p>The run folder does not say what was promised.</p>"


def promise_table(items: Sequence[Judged], states: dict[str, str]) -> str:
    """Write promises, the clause first, because it is what a person reads."""
    rows = []
    for item in items:
        state = states.get(item.promise.name, sections.NOT_JUDGED)
        expected = "<br/>".join(f"<code>{escaped(text)}</code>" for text in item.expected)
        rows.append(
            (
                escaped(item.promise.clause),
                mark(state, _GOOD.get(state)),
                _measured(item),
                f'<span class="note">{expected}</span>',
            )
        )
    return f'<div class="promises">{table(_HEAD, rows)}</div>'


def _measured(item: Judged) -> str:
    sides = [
        f"<strong>{escaped(side.value)}</strong> <code>{escaped(side.expression)}</code> "
        f'<span class="file">{escaped(side.file)}</span>'
        for side in item.measurements
    ]
    return "<br/>".join(sides) or escaped(sections.NOT_MEASURED)
