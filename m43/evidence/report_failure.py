"""The failure analysis in the report: what happened, what to do, why, before anything else."""

from collections.abc import Iterator

from m43.evidence import sections
from m43.evidence.diagnosis import child_name, child_of, diagnose_dossier
from m43.evidence.dossier import Dossier
from m43.evidence.failure_analysis import gate_checks
from m43.evidence.failure_facts import LOGS
from m43.evidence.hypertext import escaped, linked, mark, rich, section, table
from m43.evidence.next_actions import next_actions
from m43.evidence.report_promises import promise_table
from m43.evidence.stop import Stop, find_stop

_STANDINGS = (
    "established: a record says so. supported: the records point to it. hypothesis: plausible, not "
    "tested. unknown: nothing recorded tells."
)


def failure_html(dossier: Dossier) -> str:
    """Write the sections that a person needs who has to act."""
    stop, diagnosis = find_stop(dossier.entries), diagnose_dossier(dossier)
    actions = next_actions(dossier, stop, diagnosis.failure_class)
    items = "".join(f"<li>{linked(rich(action))}</li>" for action in actions)
    claims = table(
        ("standing", "claim", "evidence"),
        (
            (
                f'<span class="standing">{escaped(claim.standing)}</span>',
                escaped(claim.text),
                "<br/>".join(
                    f'<code class="evidence">{escaped(name)}</code>' for name in claim.evidence
                )
                or "none",
            )
            for claim in diagnosis.claims
        ),
    )
    compared = "".join(_compared(dossier, stop))
    excerpt = "".join(_excerpt(dossier, stop))
    return "".join(
        (
            section(
                "actions",
                "What a person can do now",
                f'<p class="note">m43 did none of these: nothing was retried, nothing was '
                f"installed or repaired, nothing was put in place of what was missing.</p>"
                f'<ol class="actions">{items}</ol>',
            ),
            section(
                "why",
                "Why, as far as it is known",
                f'{claims}<p class="note">{escaped(_STANDINGS)}</p>',
            ),
            section("compared", "Expected against observed", compared) if compared else "",
            section("excerpt", "What was printed", excerpt) if excerpt else "",
        )
    )


def _compared(dossier: Dossier, stop: Stop) -> Iterator[str]:
    checks = gate_checks(dossier, stop.gate)
    # What fails stands first, and what holds is there as well.
    ordered = sorted(checks, key=lambda check: check.holds)
    if ordered:
        rows = [
            (
                escaped(check.name),
                mark("holds" if check.holds else "does not hold", check.holds),
                f"<code>{escaped(check.expected)}</code>",
                f"<code>{escaped(check.found)}</code>",
                "" if check.holds else escaped(check.action),
            )
            for check in ordered
        ]
        head = ("check", "state", "expected", "observed", "to do")
        yield table(head, rows, f"Checks of gate {stop.gate} ({stop.gate}.json)")
    if stop.problems:
        reasons = [
            (
                f"<code>{escaped(item.where)}</code>",
                f"<code>{escaped(item.expected)}</code>",
                f"<code>{escaped(item.found)}</code>",
                escaped(item.action),
            )
            for item in stop.problems
        ]
        parts = ("where", "expected", "observed", "to do")
        yield table(parts, reasons, "Why the gate stopped (journal.jsonl)")
    states = sections.promise_states(dossier)
    broken = [
        item for item in sections.judged(dossier) if states.get(item.promise.name) == "BROKEN"
    ]
    if broken:
        yield f"<h3>Broken promises</h3>{promise_table(broken, states)}"


def _excerpt(dossier: Dossier, stop: Stop) -> Iterator[str]:
    """Show what was printed; it was redacted when it was written."""
    child, name = child_of(dossier, stop.gate), child_name(dossier, stop.gate)
    if child and child.error:
        yield "<h3>What the child reported</h3>" + _block(child.error.problems)
    if child and child.stacks:
        title = f"Where its threads stood when m43 ended it ({name}.stacks.txt)"
        yield f"<h3>{escaped(title)}</h3>{_block(child.stacks)}"
    if child and child.log_tail:
        name = LOGS[name]
        title = f"The last {len(child.log_tail)} lines of {name}"
        yield f"<h3>{escaped(title)}</h3>{_block(child.log_tail)}"
    if stop.gate == "venv" and dossier.venv and dossier.venv.probe.import_error:
        lines = tuple(dossier.venv.probe.import_error.splitlines())
        yield f"<h3>What importing JAX said (venv.json)</h3>{_block(lines)}"
    for entry in dossier.entries if stop.how == "broken" else ():
        if entry.event == "promise_broken" and entry.detail:
            title = f"What {entry.name} said (journal.jsonl, entry {entry.seq})"
            said = _block(tuple(entry.detail.splitlines()))
            yield f"<details><summary>{escaped(title)}</summary>{said}</details>"


def _block(lines: tuple[str, ...]) -> str:
    text = "\n".join(lines)
    return f'<pre class="block">{escaped(text)}</pre>'
