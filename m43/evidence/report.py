"""The part of `report.html` that can be read without JavaScript: verdict, gates, curve, scores."""

from collections.abc import Sequence

from m43.evidence import scores, sections
from m43.evidence.diagnosis import diagnose_dossier
from m43.evidence.documents import verdict_of
from m43.evidence.dossier import Dossier, read_dossier
from m43.evidence.hypertext import escaped, rich, table
from m43.evidence.measurement import Judged
from m43.evidence.next_actions import next_actions
from m43.evidence.plots import loss_curve_svg
from m43.evidence.promise import CLOSING
from m43.evidence.report_rows import rows_html
from m43.evidence.stop import find_stop
from m43.evidence.summary import acceptance_words
from m43.evidence.verdict import STAGES, verdict_words
from m43.records import GATES, Tally
from m43.run_dir import RunDir

# Every contrast is at least 4.5 to 1 (WCAG AA) in both schemes. pytest-html writes its tables in
# #999 on white, which is 2.8 to 1, and its results in red and orange: the first rules mend that.
# The dark scheme is for this part alone, because the rest of the page has backgrounds of its own.
_STYLE = """
body, #results-table, .filters button, .collapse button { color: #1b1b1b; }
body a { color: #0b4f9e; }
span.failed, span.error, .failed .col-result, .error .col-result { color: #b00020; }
span.skipped, .skipped .col-result { color: #8a4b00; }
.m43 { --ink: #1b1b1b; --paper: #ffffff; --line: #8a8a8a; --good: #1b5e20; --bad: #b00020;
  font: 14px/1.4 system-ui, sans-serif; max-width: 80rem; padding: 0.5rem 1rem;
  background: var(--paper); }
@media (prefers-color-scheme: dark) {
  .m43 { --ink: #e8e8e8; --paper: #1b1b1b; --line: #7a7a7a; --good: #81c784; --bad: #ff8a80; }
  .m43 svg { background: #ffffff; }
}
.m43, .m43 h2, .m43 p, .m43 th, .m43 td, .m43 li, .m43 pre { color: var(--ink); }
.m43 table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; }
.m43 th, .m43 td { border: 1px solid var(--line); padding: 0.25rem 0.6rem; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
.m43 th { overflow-wrap: normal; }
.m43 details td:first-child { min-width: 12rem; }
.m43 td strong { white-space: nowrap; }
.m43 pre { margin: 0; white-space: pre-wrap; font: inherit; }
.m43 summary { cursor: pointer; font-weight: bold; padding: 0.3rem 0; }
.m43 .rehearsal, .m43 .bad { color: var(--bad); font-weight: bold; }
.m43 .rehearsal { border: 3px solid var(--bad); padding: 0.4rem 0.8rem; }
.m43 .good { color: var(--good); }
.m43 .verdict { font-size: 1.4rem; }
.m43 svg { max-width: 100%; height: auto; }
"""


def summary_html(run: RunDir) -> str:
    """Write the summary of a run as it stands, every word from outside escaped."""
    dossier = read_dossier(run)
    accepted = verdict_of(dossier).accepted
    watermark = sections.watermark(dossier)
    parts = [
        f"<style>{_STYLE}</style>",
        f'<p class="rehearsal">{escaped(watermark)}</p>' if watermark else "",
        _accepted(dossier) if accepted else _failed(dossier),
        "<h2>Gates</h2>",
        _gates(dossier),
        _curve(dossier, watermark),
        _evaluation(dossier),
        "<h2>Promises</h2>",
        _promises(sections.judged(dossier), sections.promise_states(dossier)),
    ]
    return '<section class="m43">' + "\n".join(part for part in parts if part) + "</section>"


def _accepted(dossier: Dossier) -> str:
    opening = dossier.opening
    differences = opening.profile_differences if opening else ()
    words = acceptance_words(dossier.kind, bool(differences))
    lines = "".join(f"<li><code>{escaped(line)}</code></li>" for line in differences)
    listed = f"<p>Differences from the locked decisions:</p><ul>{lines}</ul>" if lines else ""
    return (
        f'<p class="verdict"><strong>{escaped(words)}</strong>: every promise was kept.</p>{listed}'
        "<p>The whole account: <code>m43_summary.md</code> in this folder.</p>"
    )


def _failed(dossier: Dossier) -> str:
    stop = find_stop(dossier.entries)
    diagnosis = diagnose_dossier(dossier)
    silent = stop.how == "no closing record"
    failure = "no closing record yet" if silent else str(diagnosis.failure_class)
    actions = next_actions(dossier, stop, diagnosis.failure_class)
    items = "".join(f"<li>{rich(action)}</li>" for action in actions)
    return (
        f'<p class="verdict"><strong class="bad">{escaped(verdict_words(False, dossier.kind))}'
        f"</strong> {escaped(diagnosis.place)}: <strong>{escaped(failure)}</strong></p>"
        f"<p>{rich(diagnosis.sentence)}</p>"
        f"<h2>Next actions for a person</h2><ol>{items}</ol>"
        "<p>The whole account: <code>failure_analysis.md</code> in this folder.</p>"
    )


def _gates(dossier: Dossier) -> str:
    rows = []
    for number, gate in enumerate(STAGES, start=1):
        seconds = sections.gate_seconds(dossier, gate)
        name = "closing check" if gate == CLOSING else f"{number} of {len(GATES)}: {gate}"
        state = _state(dossier, gate)
        marked = escaped(state) if state == "kept" else f'<span class="bad">{escaped(state)}</span>'
        rows.append((escaped(name), marked, "" if seconds is None else f"{seconds:.1f} s"))
    return table(("gate", "state", "duration"), rows)


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


def _evaluation(dossier: Dossier) -> str:
    results = dossier.results
    if results is None:
        return ""
    parts = [
        "<h2>Evaluation</h2>",
        f"<p>{escaped(scores.change_words(results))} {escaped(scores.luck_words(results))}</p>",
        _scores(scores.by_kind(results)),
        f"<p>{escaped(scores.no_answer_words(results))}</p>",
        "<h2>Rows that training also had</h2>",
        f"<p>{escaped(scores.overlap_words(results))}</p>",
        _scores(scores.by_overlap(results)),
    ]
    if dossier.evaluation:
        parts += [
            "<h2>Every row (predictions.jsonl)</h2>",
            rows_html(dossier.evaluation.predictions),
        ]
    return "".join(parts)


def _scores(tallies: Sequence[Tally]) -> str:
    return table(
        scores.HEAD, ([escaped(cell) for cell in scores.cells(tally)] for tally in tallies)
    )


def _promises(items: Sequence[Judged], states: dict[str, str]) -> str:
    rows = []
    for item in items:
        measured = "<br>".join(
            f"<code>{escaped(side.expression)}</code> = {escaped(f'{side.value} ({side.file})')}"
            for side in item.measurements
        )
        state = states.get(item.promise.name, "not run")
        expected = "<br>".join(f"<code>{escaped(text)}</code>" for text in item.expected)
        rows.append(
            (
                escaped(item.promise.clause),
                expected,
                measured or escaped(sections.NOT_MEASURED),
                escaped(state) if state == "kept" else f'<span class="bad">{escaped(state)}</span>',
            )
        )
    return table(("promise", "expected", "measured (file)", "state"), rows)
