"""`failure_analysis.md`: what failed, why as far as it is known, and what a person can do."""

from collections.abc import Sequence

from m43.evidence import sections
from m43.evidence.checks import Check, auth_checks
from m43.evidence.child_diagnosis import ending
from m43.evidence.claim import Diagnosis
from m43.evidence.diagnosis import child_of, diagnose_dossier
from m43.evidence.dossier import Dossier
from m43.evidence.failure_facts import error_excerpt, progress_at_failure, resources_then
from m43.evidence.markdown import code, document, prose, rich, table
from m43.evidence.next_actions import next_actions
from m43.evidence.plan_checks import venv_gate_checks
from m43.evidence.promise import CLOSING
from m43.evidence.sections import NOT_JUDGED, NOT_MEASURED, NOTED
from m43.evidence.stop import Stop, find_stop
from m43.evidence.verdict import Verdict
from m43.records import GATES


def render_failure(dossier: Dossier, verdict: Verdict) -> str:
    """Write the failure analysis of a run that was not accepted, or has not been yet."""
    stop = find_stop(dossier.entries)
    diagnosis = diagnose_dossier(dossier)
    watermark = sections.watermark(dossier)
    title = "# M43 failure analysis" + (f": {watermark}" if watermark else "")
    actions = next_actions(dossier, stop, diagnosis.failure_class)
    return document(
        (
            title,
            sections.banner(dossier),
            _verdict_line(dossier, stop, diagnosis),
            sections.other_contract(dossier),
            _facts(dossier, stop, diagnosis),
            "## What happened",
            _what_happened(dossier, stop, diagnosis),
            "## Next actions for a person",
            "m43 did none of these.",
            "\n".join(f"{number}. {rich(text)}" for number, text in enumerate(actions, start=1)),
            "## Why, as far as it is known",
            _claims(diagnosis),
            _rejection(stop, verdict),
            "## Expected against observed",
            _expected_against_observed(dossier, stop),
            "## Gates not run",
            _not_run(dossier, stop),
            "## Progress at failure",
            progress_at_failure(dossier),
            "## Resources then",
            resources_then(dossier),
            "## Error excerpt",
            error_excerpt(dossier, stop),
            "## Timeline",
            sections.timeline(dossier),
            "## Environment difference",
            sections.environment_difference(dossier),
            NOTED if dossier.noted else "",
            sections.noted(dossier),
            "## Earlier attempts",
            sections.attempts(dossier),
            "## Files that cannot be read" if dossier.problems else "",
            "\n".join(f"- {prose(str(problem))}" for problem in dossier.problems),
            "## Evidence index",
            sections.evidence_index(dossier),
            "## Impact on M42",
            sections.impact_on_m42(dossier),
        )
    )


def _verdict_line(dossier: Dossier, stop: Stop, diagnosis: Diagnosis) -> str:
    words = f"**{dossier.verdict_words(False)}**"
    if stop.how == "no closing record":
        return f"{words}: no closing record; last seen {diagnosis.place}."
    if stop.how == "sealed":
        return f"{words}: all gates ended, and the journal is not that of an accepted run."
    return f"{words} {diagnosis.place}: **{diagnosis.failure_class}**."


def _facts(dossier: Dossier, stop: Stop, diagnosis: Diagnosis) -> str:
    told = sections.told(dossier)
    opening, entry = dossier.opening, stop.entry or (told[-1] if told else None)
    silent = stop.how == "no closing record"
    child = child_of(dossier, stop.gate)
    process = child.process if child else None
    ended = ending(process) if process else "none ended at this gate"
    rows = [
        ("run", code(dossier.name)),
        ("class", "none: there is no closing record" if silent else prose(diagnosis.failure_class)),
        ("child process", prose(ended)),
        ("began", prose(opening.started_utc if opening else "not known")),
        ("last sign" if silent else "stopped", prose(entry.time_utc if entry else "not known")),
        ("commit", code(opening.commit if opening else "not known")),
        ("m43", prose(opening.m43_version if opening else "not known")),
        ("profile", code(opening.profile if opening else "not known")),
    ]
    if opening and opening.profile_differences:
        rows.append(
            (
                "differs from the locked decisions",
                "<br>".join(map(code, opening.profile_differences)),
            )
        )
    return table(("what", "value"), rows)


def _what_happened(dossier: Dossier, stop: Stop, diagnosis: Diagnosis) -> str:
    closed = [
        entry.gate
        for entry in dossier.entries
        if entry.event == "gate_closed" and entry.gate in GATES and entry.gate != stop.gate
    ]
    waiting = [gate for gate in _gates_after(stop) if gate != CLOSING]
    parts = [rich(diagnosis.sentence)]
    parts.append(
        f"Finished before that: {', '.join(closed)}." if closed else "No gate finished before that."
    )
    if waiting:
        so_far = "Not run so far" if stop.how == "no closing record" else "Not run"
        because = "because each gate needs the one before it"
        parts.append(f"{so_far}: {', '.join(waiting)}, {because}.")
    parts.append(
        "Nothing was retried, nothing was installed or repaired, and nothing was put in place of "
        "what was missing."
    )
    return " ".join(parts)


def _gates_after(stop: Stop) -> Sequence[str]:
    stages = (*GATES, CLOSING)
    return stages[stages.index(stop.gate) + 1 :] if stop.gate in stages else stages


def _claims(diagnosis: Diagnosis) -> str:
    rows = [
        (claim.standing, prose(claim.text), prose(", ".join(claim.evidence)) or "none")
        for claim in diagnosis.claims
    ]
    legend = (
        "*established*: a record says so; *supported*: the records point to it; *hypothesis*: "
        "plausible, not tested; *unknown*: nothing recorded tells."
    )
    return f"{table(('standing', 'claim', 'evidence'), rows)}\n\n{legend}"


def _rejection(stop: Stop, verdict: Verdict) -> str:
    """Give the judge's reasons where nothing simpler explains the refusal."""
    if stop.how != "sealed":
        return ""
    lines = "\n".join(f"- {prose(reason)}" for reason in verdict.reasons)
    return f"Why the judge refused it (journal.jsonl):\n\n{lines}"


def gate_checks(dossier: Dossier, gate: str) -> tuple[Check, ...]:
    """List the checks of a gate that has some, if its record is there."""
    if gate == "auth" and dossier.auth and dossier.profile:
        return auth_checks(dossier.auth, dossier.profile)
    if gate == "venv" and dossier.venv and dossier.profile:
        return venv_gate_checks(dossier.venv, dossier.plan, dossier.profile)
    return ()


def _expected_against_observed(dossier: Dossier, stop: Stop) -> str:
    parts = []
    checks = gate_checks(dossier, stop.gate)
    if checks:
        rows = [
            (
                "ok" if check.holds else "**NO**",
                prose(check.name),
                code(check.expected),
                code(check.found),
                "" if check.holds else prose(check.action),
            )
            for check in checks
        ]
        files = "venv.json, plan.json" if stop.gate == "venv" else f"{stop.gate}.json"
        parts.append(f"Checks of gate {stop.gate} ({files}):")
        parts.append(table(("holds", "check", "expected", "observed", "to do"), rows))
    if stop.problems:
        rows = [
            ("**NO**", code(item.where), code(item.expected), code(item.found), prose(item.action))
            for item in stop.problems
        ]
        parts.append("Why the gate stopped (journal.jsonl):")
        parts.append(table(("holds", "where", "expected", "observed", "to do"), rows))
    parts += _promises(dossier, stop)
    return "\n\n".join(parts) or f"Nothing ({NOT_MEASURED})."


def _promises(dossier: Dossier, stop: Stop) -> list[str]:
    """Show the promises that were judged or could have been; count the others."""
    states = sections.promise_states(dossier)
    promises = [item for item in sections.judged(dossier) if item.promise.gate == stop.gate]
    shown = [item for item in promises if states.get(item.promise.name, NOT_JUDGED) != NOT_JUDGED]
    parts = []
    if shown:
        parts.append(f"Promises of gate {stop.gate}, with what was measured:")
        parts.append(sections.promise_table(shown, states))
    if len(shown) < len(promises):
        count = f"{len(promises) - len(shown)} of {len(promises)} promises of gate {stop.gate}"
        parts.append(f"{count} were not judged: the gate ended before them (journal.jsonl).")
    return parts


def _not_run(dossier: Dossier, stop: Stop) -> str:
    states = sections.promise_states(dossier)
    rows = []
    for gate in _gates_after(stop):
        promises = [
            promise
            for promise in (dossier.contract.promises if dossier.contract else ())
            if promise.gate == gate and states.get(promise.name, NOT_JUDGED) == NOT_JUDGED
        ]
        ran = any(item.event == "gate_closed" and item.gate == gate for item in dossier.entries)
        # What a run changed is measured also when it ended early.
        ran = ran or (gate == CLOSING and dossier.closing is not None)
        if not ran or promises:
            because = (
                "its measurement was taken, its promises were not judged" if ran else "NOT RUN"
            )
            rows.append((gate, because, str(len(promises))))
    if not rows:
        return "None: every gate ran."
    return table(("gate", "state", "promises not judged (contract.txt)"), rows)
