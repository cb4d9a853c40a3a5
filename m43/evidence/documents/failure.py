"""The failure analysis: what failed, why as far as it is known, and what a person can do."""

from collections.abc import Sequence

from m43.evidence.contract.check import Check
from m43.evidence.contract.checks import auth_checks
from m43.evidence.contract.plan_checks import venv_gate_checks
from m43.evidence.contract.verdict import Verdict
from m43.evidence.diagnosis.by_child import ending
from m43.evidence.diagnosis.catalogue import next_actions
from m43.evidence.diagnosis.diagnosis import child_name, child_of, diagnose_dossier
from m43.evidence.diagnosis.finding import Diagnosis
from m43.evidence.documents.markdown import block, code, document, prose, rich, table
from m43.evidence.documents.promises import (
    NOTED,
    attempts,
    banner,
    environment_difference,
    evidence_index,
    impact_on_m42,
    noted,
    other_contract,
    promise_table,
    timeline,
    unasked_words,
)
from m43.evidence.run import history
from m43.evidence.run.history import NOT_JUDGED, NOT_MEASURED
from m43.evidence.run.loaded_run import Child, Dossier
from m43.evidence.run.run_end import Stop, find_stop
from m43.records.gates import CLOSING, GATES

LOGS = {
    "download": "download_log.txt",
    "train": "training_log.txt",
    "eval": "evaluation_log.txt",
}


def progress_at_failure(dossier: Dossier) -> str:
    """Say how far training and evaluation had come."""
    lines = [*_download(dossier), *_training(dossier), *_evaluation(dossier)]
    if unasked := unasked_words(dossier):
        lines.append(f"Requests that m43 did not make, judged by nobody: {prose(unasked)}.")
    return "\n".join(f"- {line}" for line in lines)


def _download(dossier: Dossier) -> list[str]:
    beat = dossier.download_child.heartbeat
    if beat is None or dossier.download is not None:
        return []
    return [
        f"Download: {code(beat.phase)}, {beat.done:,} of {beat.total:,} bytes "
        "(download.heartbeat.json)."
    ]


def _training(dossier: Dossier) -> list[str]:
    lines = _heartbeat(dossier.train_child, "train")
    if dossier.metrics:
        last = dossier.metrics[-1]
        lines.append(
            f"Last recorded step: {last.step}, loss {last.loss_nats:.4f} nats, gradient norm "
            f"{last.gradient_norm:.4g} (training_metrics.jsonl); curve: loss_curve.svg."
        )
    if dossier.metrics_cut:
        lines.append("The line after it cannot be read; it was being written at the end.")
    if not dossier.metrics:
        lines.append(f"Optimizer steps: {NOT_MEASURED} (training_metrics.jsonl).")
    return lines


def _evaluation(dossier: Dossier) -> list[str]:
    lines = _heartbeat(dossier.eval_child, "eval")
    if dossier.results is None:
        return [*lines, f"Evaluation: {NOT_MEASURED} (evaluation_results.json)."]
    tally = dossier.results.overall
    text = (
        f"Evaluation, not accepted: {tally.rows} rows, {tally.base_correct} right before "
        f"training, {tally.tuned_correct} after (evaluation_results.json)."
    )
    return [*lines, text]


def _heartbeat(child: Child, name: str) -> list[str]:
    beat = child.heartbeat
    if beat is None:
        return []
    return [
        f"Last heartbeat: phase {code(beat.phase)}, {beat.done} of {beat.total}, "
        f"{beat.tokens_per_s:.0f} tokens/s ({name}.heartbeat.json)."
    ]


def resources_then(dossier: Dossier) -> str:
    """Say what the children used and what the machine had."""
    lines = []
    children = {
        "download": dossier.download_child,
        "train": dossier.train_child,
        "eval": dossier.eval_child,
    }
    for name, child in children.items():
        if child.process:
            process = child.process
            lines.append(
                f"{name}: {process.duration_s:.1f} s, peak host memory "
                f"{process.peak_bytes / 1e9:.2f} GB, out-of-memory kills of the kernel "
                f"meanwhile: {process.oom_kills} ({name}.process.json)."
            )
    if dossier.venv:
        probe = dossier.venv.probe
        lines.append(
            f"Machine at the venv gate: {probe.host_memory_bytes / 1e9:.1f} GB memory, "
            f"{probe.disk_free_bytes / 1e9:.1f} GB free on the disk, NVIDIA driver "
            f"{prose(probe.driver_version)} (venv.json)."
        )
        lines += [
            f"Device: {prose(device.platform)} {prose(device.kind)}, "
            f"{device.memory_bytes / 1e9:.1f} GB (venv.json)."
            for device in probe.devices
        ]
    return "\n".join(f"- {line}" for line in lines) or f"{NOT_MEASURED.capitalize()}."


def error_excerpt(dossier: Dossier, stop: Stop) -> str:
    """Show what was printed about the failure; it was redacted when it was written."""
    child = child_of(dossier, stop.gate)
    parts = []
    if child and child.error:
        parts += ["What the child reported:", block(child.error.problems)]
    if child and child.stacks:
        file = f"{child_name(dossier, stop.gate)}.stacks.txt"
        parts += [f"Where its threads stood when m43 ended it ({file}):", block(child.stacks)]
    if child and child.log_tail:
        name = LOGS[child_name(dossier, stop.gate)]
        parts += [f"The last {len(child.log_tail)} lines of {name}:", block(child.log_tail)]
    if stop.gate == "venv" and dossier.venv and dossier.venv.probe.import_error:
        error = dossier.venv.probe.import_error.splitlines()
        parts += ["What importing JAX said (venv.json):", block(error)]
    # A gate that stopped blocks its first promise, whose text says nothing new.
    for entry in dossier.entries if stop.how == "broken" else ():
        if entry.event == "promise_broken" and entry.detail:
            title = f"What {code(entry.name)} said (journal.jsonl, entry {entry.seq}):"
            parts += [title, block(entry.detail.splitlines())]
    return "\n\n".join(parts) or "None: nothing printed an error beyond what stands above."


def render_failure(dossier: Dossier, verdict: Verdict) -> str:
    """Write the failure analysis of a run that was not accepted, or has not been yet."""
    stop = find_stop(dossier.entries)
    diagnosis = diagnose_dossier(dossier)
    watermark = history.watermark(dossier)
    title = "# M43 failure analysis" + (f": {watermark}" if watermark else "")
    actions = next_actions(dossier, stop, diagnosis.failure_class)
    return document(
        (
            title,
            banner(dossier),
            _verdict_line(dossier, stop, diagnosis),
            other_contract(dossier),
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
            timeline(dossier),
            "## Environment difference",
            environment_difference(dossier),
            NOTED if dossier.noted else "",
            noted(dossier),
            "## Earlier attempts",
            attempts(dossier),
            "## Files that cannot be read" if dossier.problems else "",
            "\n".join(f"- {prose(str(problem))}" for problem in dossier.problems),
            "## Evidence index",
            evidence_index(dossier),
            "## Impact on M42",
            impact_on_m42(dossier),
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
    told = history.told_entries(dossier)
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
    states = history.promise_states(dossier)
    promises = [item for item in history.judged(dossier) if item.promise.gate == stop.gate]
    shown = [item for item in promises if states.get(item.promise.name, NOT_JUDGED) != NOT_JUDGED]
    parts = []
    if shown:
        parts.append(f"Promises of gate {stop.gate}, with what was measured:")
        parts.append(promise_table(shown, states))
    if len(shown) < len(promises):
        count = f"{len(promises) - len(shown)} of {len(promises)} promises of gate {stop.gate}"
        parts.append(f"{count} were not judged: the gate ended before them (journal.jsonl).")
    return parts


def _not_run(dossier: Dossier, stop: Stop) -> str:
    states = history.promise_states(dossier)
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
