"""The part of `report.html` that can be read without JavaScript: verdict, gates, curve, scores."""

import html
from collections.abc import Iterable, Sequence

from m43.evidence import sections
from m43.evidence.diagnosis import diagnose_dossier
from m43.evidence.documents import verdict_of
from m43.evidence.dossier import Dossier, read_dossier
from m43.evidence.markdown import visible
from m43.evidence.measurement import Judged
from m43.evidence.next_actions import next_actions
from m43.evidence.plots import loss_curve_svg
from m43.evidence.promise import CLOSING
from m43.evidence.stop import find_stop
from m43.evidence.summary import acceptance_words
from m43.evidence.verdict import STAGES, verdict_words
from m43.records import GATES, EvaluationResults
from m43.run_dir import RunDir

_STYLE = """
.m43 { font-family: system-ui, sans-serif; max-width: 72rem; line-height: 1.4; }
.m43 table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; }
.m43 th, .m43 td { border: 1px solid #bbb; padding: 0.25rem 0.6rem; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
.m43 .rehearsal { border: 3px solid #b00020; color: #b00020; padding: 0.4rem 0.8rem;
  font-weight: bold; }
.m43 .verdict { font-size: 1.4rem; }
.m43 .bad { color: #b00020; font-weight: bold; }
.m43 svg { max-width: 100%; height: auto; }
"""


def summary_html(run: RunDir) -> str:
    """Write the summary of a run as it stands, every word from outside escaped."""
    dossier = read_dossier(run)
    accepted = verdict_of(dossier).accepted
    watermark = sections.watermark(dossier)
    parts = [
        f"<style>{_STYLE}</style>",
        f'<p class="rehearsal">{_text(watermark)}</p>' if watermark else "",
        _accepted(dossier) if accepted else _failed(dossier),
        "<h2>Gates</h2>",
        _gates(dossier),
        _curve(dossier, watermark),
        _evaluation(dossier.results),
        "<h2>Promises</h2>",
        _promises(sections.judged(dossier), sections.promise_states(dossier)),
    ]
    return '<section class="m43">' + "\n".join(part for part in parts if part) + "</section>"


def _accepted(dossier: Dossier) -> str:
    opening = dossier.opening
    differences = opening.profile_differences if opening else ()
    words = acceptance_words(dossier.kind, bool(differences))
    lines = "".join(f"<li><code>{_text(line)}</code></li>" for line in differences)
    listed = f"<p>Differences from the locked decisions:</p><ul>{lines}</ul>" if lines else ""
    return (
        f'<p class="verdict"><strong>{_text(words)}</strong>: every promise was kept.</p>{listed}'
        "<p>The whole account: <code>m43_summary.md</code> in this folder.</p>"
    )


def _failed(dossier: Dossier) -> str:
    stop = find_stop(dossier.entries)
    diagnosis = diagnose_dossier(dossier)
    silent = stop.how == "no closing record"
    failure = "no closing record yet" if silent else str(diagnosis.failure_class)
    actions = next_actions(dossier, stop, diagnosis.failure_class)
    items = "".join(f"<li>{_rich(action)}</li>" for action in actions)
    return (
        f'<p class="verdict"><strong class="bad">{_text(verdict_words(False, dossier.kind))}'
        f"</strong> {_text(diagnosis.place)}: <strong>{_text(failure)}</strong></p>"
        f"<p>{_rich(diagnosis.sentence)}</p>"
        f"<h2>Next actions for a person</h2><ol>{items}</ol>"
        "<p>The whole account: <code>failure_analysis.md</code> in this folder.</p>"
    )


def _gates(dossier: Dossier) -> str:
    rows = []
    for number, gate in enumerate(STAGES, start=1):
        seconds = sections.gate_seconds(dossier, gate)
        name = "closing check" if gate == CLOSING else f"{number} of {len(GATES)}: {gate}"
        state = _state(dossier, gate)
        marked = _text(state) if state == "kept" else f'<span class="bad">{_text(state)}</span>'
        rows.append((_text(name), marked, "" if seconds is None else f"{seconds:.1f} s"))
    return _table(("gate", "state", "duration"), rows)


def _state(dossier: Dossier, gate: str) -> str:
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


def _curve(dossier: Dossier, watermark: str) -> str:
    if not dossier.metrics:
        return ""
    svg = loss_curve_svg(dossier.metrics, watermark)
    # An XML declaration and a DOCTYPE may not stand inside HTML.
    return f"<h2>Loss</h2>{svg[svg.index('<svg') :]}"


def _evaluation(results: EvaluationResults | None) -> str:
    if results is None:
        return ""
    rows = [
        (
            _text(tally.group),
            str(tally.rows),
            str(tally.base_correct),
            str(tally.tuned_correct),
            f"{tally.base_unanswered}, {tally.tuned_unanswered}",
        )
        for tally in (results.overall, *results.groups)
    ]
    head = ("rows", "count", "base right", "tuned right", "no answer: base, tuned")
    return f"<h2>Evaluation</h2>{_table(head, rows)}"


def _promises(items: Sequence[Judged], states: dict[str, str]) -> str:
    rows = []
    for item in items:
        measured = "<br>".join(
            f"<code>{_text(side.expression)}</code> = {_text(side.value)} ({_text(side.file)})"
            for side in item.measurements
        )
        state = states.get(item.promise.name, "not run")
        expected = "<br>".join(f"<code>{_text(text)}</code>" for text in item.expected)
        rows.append(
            (
                _text(item.promise.clause),
                expected,
                measured or _text(sections.NOT_MEASURED),
                _text(state) if state == "kept" else f'<span class="bad">{_text(state)}</span>',
            )
        )
    return _table(("promise", "expected", "measured (file)", "state"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>" for cells in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _text(text: str) -> str:
    return html.escape(visible(text))


def _rich(text: str) -> str:
    """Write text in which backticks mean code."""
    parts = enumerate(text.split("`"))
    return "".join(f"<code>{_text(part)}</code>" if i % 2 else _text(part) for i, part in parts)
