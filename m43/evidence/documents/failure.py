"""The failure analysis: what failed, why as far as it is known, and what a person can do.

One file: each section is a few lines, and they stand in the order of the document.
"""

from collections.abc import Sequence

from m43.evidence.contract import Check, Verdict, auth_checks, venv_gate_checks
from m43.evidence.diagnosis import (
    Diagnosis,
    child_name,
    child_of,
    diagnose_loaded,
    ending,
    next_actions,
)
from m43.evidence.documents import promises
from m43.evidence.documents.markdown import markdown
from m43.evidence.documents.nodes import (
    BREAK,
    Bullets,
    CodeBlock,
    Node,
    Section,
    Span,
    Table,
    Text,
    Words,
    code,
    joined,
    linked,
    mark,
    strong,
)
from m43.evidence.documents.performance import last_look
from m43.evidence.documents.provenance import commit_words
from m43.evidence.run import NOT_JUDGED, NOT_MEASURED, Child, LoadedRun, Stop, find_stop, history
from m43.records import CLOSING, GATES, RunDir
from m43.text import duration_words, size_words

_LOGS = {
    "download": RunDir.download_log.name,
    "train": RunDir.train_log.name,
    "eval": RunDir.eval_log.name,
}


def render_failure(loaded_run: LoadedRun, verdict: Verdict) -> str:
    """Write the failure analysis of a run that was not accepted, or has not been yet."""
    stop = find_stop(loaded_run.entries)
    diagnosis = diagnose_loaded(loaded_run)
    watermark = history.watermark(loaded_run)
    name = f"{loaded_run.contract_name.capitalize()} f" if loaded_run.contract_name else "F"
    unreadable = Bullets([str(problem) for problem in loaded_run.problems])
    document = Section(
        f"{name}ailure analysis" + (f": {watermark}" if watermark else ""),
        (
            promises.banner(watermark, another=bool(loaded_run.contract_differences)),
            _verdict_line(loaded_run, stop, diagnosis),
            *promises.other_contract(loaded_run),
            _facts(loaded_run, stop, diagnosis),
            *analysis(loaded_run, verdict),
            Section("Timeline", promises.timeline(loaded_run)),
            Section("Environment difference", promises.environment_difference(loaded_run)),
            *promises.noted(loaded_run),
            Section("Earlier attempts", promises.attempts(loaded_run)),
            *([Section("Files that cannot be read", (unreadable,))] if loaded_run.problems else ()),
            Section("Evidence index", promises.evidence_index(promises.evidence_rows(loaded_run))),
            Section("Impact on M42", promises.impact_on_m42(loaded_run)),
        ),
    )
    return markdown(document)


def analysis(loaded_run: LoadedRun, verdict: Verdict) -> tuple[Section, ...]:
    """Say what a person needs who has to act: in the failure analysis and in the report."""
    stop, diagnosis = find_stop(loaded_run.entries), diagnose_loaded(loaded_run)
    actions = next_actions(loaded_run, stop, diagnosis.failure_class)
    happened = Text(_what_happened(loaded_run, stop, diagnosis))
    todo = (Text("m43 did none of these."), Bullets([linked(each) for each in actions], True))
    return (
        Section("What happened", (happened,), "happened"),
        Section("Next actions for a person", todo, "actions"),
        Section("Why, as far as it is known", _claims(stop, diagnosis, verdict), "why"),
        Section(
            "Expected against observed", _expected_against_observed(loaded_run, stop), "compared"
        ),
        Section("Gates not run", (_not_run(loaded_run, stop),), "not-run"),
        Section("Progress at failure", (progress_at_failure(loaded_run),), "progress"),
        Section("Resources then", (resources_then(loaded_run),), "resources"),
        Section("Error excerpt", error_excerpt(loaded_run, stop), "excerpt"),
    )


def progress_at_failure(loaded_run: LoadedRun) -> Node:
    """Say how far training and evaluation had come."""
    lines = [*_download(loaded_run), *_training(loaded_run), *_evaluation(loaded_run)]
    if unasked := promises.unasked_words(loaded_run):
        lines.append(f"Requests that m43 did not make, judged by nobody: {unasked}.")
    return Bullets(lines)


def _download(loaded_run: LoadedRun) -> list[Words]:
    beat = loaded_run.download_child.heartbeat
    if beat is None or loaded_run.download is not None:
        return []
    count = f", {beat.done:,} of {beat.total:,} bytes (download.heartbeat.json)."
    return [("Download: ", code(beat.phase), count)]


def _training(loaded_run: LoadedRun) -> list[Words]:
    lines = _heartbeat(loaded_run.train_child, "train")
    if loaded_run.metrics:
        last = loaded_run.metrics[-1]
        lines.append(
            f"Last recorded step: {last.step}, loss {last.loss_nats:.4f} nats, gradient norm "
            f"{last.gradient_norm:.4g} (training_metrics.jsonl); curve: loss_curve.svg."
        )
    if loaded_run.metrics_cut:
        lines.append("The line after it cannot be read; it was being written at the end.")
    if not loaded_run.metrics:
        lines.append(f"Optimizer steps: {NOT_MEASURED} (training_metrics.jsonl).")
    return lines


def _evaluation(loaded_run: LoadedRun) -> list[Words]:
    lines = _heartbeat(loaded_run.eval_child, "eval")
    if loaded_run.results is None:
        return [*lines, f"Evaluation: {NOT_MEASURED} (evaluation_results.json)."]
    tally = loaded_run.results.overall
    text = (
        f"Evaluation, not accepted: {tally.rows} rows, {tally.base_correct} right before "
        f"training, {tally.tuned_correct} after (evaluation_results.json)."
    )
    return [*lines, text]


def _heartbeat(child: Child, name: str) -> list[Words]:
    beat = child.heartbeat
    if beat is None:
        return []
    count = f", {beat.done} of {beat.total}, {beat.tokens_per_s:.0f} tokens/s"
    return [("Last heartbeat: phase ", code(beat.phase), f"{count} ({name}.heartbeat.json).")]


def resources_then(loaded_run: LoadedRun) -> Node:
    """Say what the children used and what the machine had."""
    lines: list[Words] = []
    children = {
        "download": loaded_run.download_child,
        "train": loaded_run.train_child,
        "eval": loaded_run.eval_child,
    }
    for name, child in children.items():
        if child.process:
            process = child.process
            lines.append(
                f"{name}: {duration_words(process.duration_s)}, peak host memory "
                f"{size_words(process.peak_bytes)}, out-of-memory kills of the kernel "
                f"meanwhile: {process.oom_kills} ({name}.process.json)."
            )
    watched = (last_look(loaded_run, "train"), last_look(loaded_run, "eval"))
    lines += [each for each in watched if each]
    if loaded_run.venv:
        probe = loaded_run.venv.probe
        lines.append(
            f"Machine at the venv gate: {size_words(probe.host_memory_bytes)} memory, "
            f"{size_words(probe.disk_free_bytes)} free on the disk, NVIDIA driver "
            f"{probe.driver_version} (venv.json)."
        )
        lines += [
            f"Device: {device.platform} {device.kind}, "
            f"{size_words(device.memory_bytes)} (venv.json)."
            for device in probe.devices
        ]
    return Bullets(lines) if lines else Text(f"{NOT_MEASURED.capitalize()}.")


def error_excerpt(loaded_run: LoadedRun, stop: Stop) -> list[Node]:
    """Show what was printed about the failure; it was redacted when it was written."""
    child = child_of(loaded_run, stop.gate)
    found: list[tuple[Words, Sequence[str]]] = []
    if child and child.error:
        found.append(("What the child reported:", child.error.problems))
    if child and child.stacks:
        file = f"{child_name(loaded_run, stop.gate)}.stacks.txt"
        found.append((f"Where its threads stood when m43 ended it ({file}):", child.stacks))
    if child and child.log_tail:
        name = _LOGS[child_name(loaded_run, stop.gate)]
        found.append((f"The last {len(child.log_tail)} lines of {name}:", child.log_tail))
    if stop.gate == "venv" and loaded_run.venv and loaded_run.venv.probe.import_error:
        error = loaded_run.venv.probe.import_error.splitlines()
        found.append(("What importing JAX said (venv.json):", error))
    # A gate that stopped blocks its first promise, whose text says nothing new.
    for entry in loaded_run.entries if stop.how == "broken" else ():
        if entry.event == "promise_broken" and entry.detail:
            where = f" said (journal.jsonl, entry {entry.seq}):"
            found.append((("What ", code(entry.name), where), entry.detail.splitlines()))
    if not found:
        return [Text("None: nothing printed an error beyond what stands above.")]
    return [node for title, lines in found for node in (Text(title), CodeBlock(lines))]


def _verdict_line(loaded_run: LoadedRun, stop: Stop, diagnosis: Diagnosis) -> Node:
    words = strong(loaded_run.verdict_words(False))
    if stop.how == "no closing record":
        return Text((words, f": no closing record; last seen {diagnosis.place}."))
    if stop.how == "sealed":
        text = ": all gates ended, and the journal is not that of an accepted run."
        return Text((words, text))
    return Text((words, f" {diagnosis.place}: ", strong(str(diagnosis.failure_class)), "."))


def _facts(loaded_run: LoadedRun, stop: Stop, diagnosis: Diagnosis) -> Node:
    told = history.told_entries(loaded_run)
    opening, entry = loaded_run.opening, stop.entry or (told[-1] if told else None)
    silent = stop.how == "no closing record"
    child = child_of(loaded_run, stop.gate)
    process = child.process if child else None
    ended = ending(process) if process else "none ended at this gate"
    failure_class = str(diagnosis.failure_class)
    rows: list[tuple[str, Words]] = [
        ("run", code(loaded_run.name)),
        ("class", "none: there is no closing record" if silent else failure_class),
        ("child process", ended),
        ("began", opening.started_utc if opening else "not known"),
        ("last sign" if silent else "stopped", entry.time_utc if entry else "not known"),
        ("commit", code(commit_words(opening) if opening else "not known")),
        ("m43", opening.m43_version if opening else "not known"),
        ("profile", code(opening.profile if opening else "not known")),
    ]
    if opening and opening.profile_differences:
        differences = joined(map(code, opening.profile_differences), BREAK)
        rows.append(("differs from the locked decisions", differences))
    return Table(("what", "value"), rows)


def _what_happened(loaded_run: LoadedRun, stop: Stop, diagnosis: Diagnosis) -> Words:
    closed = [
        entry.gate
        for entry in loaded_run.entries
        if entry.event == "gate_closed" and entry.gate in GATES and entry.gate != stop.gate
    ]
    waiting = [gate for gate in _gates_after(stop) if gate != CLOSING]
    parts: list[Words] = [linked(diagnosis.sentence)]
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
    return joined(parts, " ")


def _gates_after(stop: Stop) -> Sequence[str]:
    stages = (*GATES, CLOSING)
    return stages[stages.index(stop.gate) + 1 :] if stop.gate in stages else stages


def _claims(stop: Stop, diagnosis: Diagnosis, verdict: Verdict) -> list[Node]:
    rows = [
        (claim.confidence, claim.text, ", ".join(claim.evidence) or "none")
        for claim in diagnosis.findings
    ]
    legend = (
        (Span("established", "emphasis"), ": a record says so"),
        (Span("supported", "emphasis"), ": the records point to it"),
        (Span("hypothesis", "emphasis"), ": plausible, not tested"),
        (Span("unknown", "emphasis"), ": nothing recorded tells."),
    )
    found: list[Node] = [
        Table(("standing", "claim", "evidence"), rows, names=1),
        Text(joined(legend, "; "), "note"),
    ]
    if stop.how == "sealed":
        # The judge's reasons, where nothing simpler explains the refusal.
        found += [Text("Why the judge refused it (journal.jsonl):"), Bullets(verdict.reasons)]
    return found


def gate_checks(loaded_run: LoadedRun, gate: str) -> tuple[Check, ...]:
    """List the checks of a gate that has some, if its record is there."""
    if gate == "auth" and loaded_run.auth and loaded_run.profile:
        return auth_checks(loaded_run.auth, loaded_run.profile)
    if gate == "venv" and loaded_run.venv and loaded_run.profile:
        return venv_gate_checks(loaded_run.venv, loaded_run.plan, loaded_run.profile)
    return ()


def _expected_against_observed(loaded_run: LoadedRun, stop: Stop) -> list[Node]:
    found: list[Node] = []
    checks = gate_checks(loaded_run, stop.gate)
    no = mark("NO", False)
    if checks:
        rows = [
            (
                mark("ok", True) if check.holds else no,
                check.name,
                code(check.expected),
                code(check.found),
                "" if check.holds else check.action,
            )
            for check in checks
        ]
        files = "venv.json, plan.json" if stop.gate == "venv" else f"{stop.gate}.json"
        head = ("holds", "check", "expected", "observed", "to do")
        found += [Text(f"Checks of gate {stop.gate} ({files}):"), Table(head, rows, names=1)]
    if stop.problems:
        reasons = [
            (no, code(item.where), code(item.expected), code(item.found), item.action)
            for item in stop.problems
        ]
        head = ("holds", "where", "expected", "observed", "to do")
        found += [Text("Why the gate stopped (journal.jsonl):"), Table(head, reasons, names=1)]
    found += _promises(loaded_run, stop)
    return found or [Text(f"Nothing ({NOT_MEASURED}).")]


def _promises(loaded_run: LoadedRun, stop: Stop) -> list[Node]:
    """Show the promises that were judged or could have been; count the others."""
    states = history.promise_states(loaded_run)
    asked = [item for item in loaded_run.judged if item.promise.gate == stop.gate]
    shown = [item for item in asked if states.get(item.promise.name, NOT_JUDGED) != NOT_JUDGED]
    found: list[Node] = []
    if shown:
        title = Text(f"Promises of gate {stop.gate}, with what was measured:")
        found += [title, promises.promise_table(shown, states)]
    if len(shown) < len(asked):
        count = f"{len(asked) - len(shown)} of {len(asked)} promises of gate {stop.gate}"
        text = f"{count} were not judged: the gate ended before them (journal.jsonl)."
        found.append(Text(text))
    return found


def _not_run(loaded_run: LoadedRun, stop: Stop) -> Node:
    states = history.promise_states(loaded_run)
    rows = []
    for gate in _gates_after(stop):
        waiting = [
            promise
            for promise in (loaded_run.contract.promises if loaded_run.contract else ())
            if promise.gate == gate and states.get(promise.name, NOT_JUDGED) == NOT_JUDGED
        ]
        ran = any(item.event == "gate_closed" and item.gate == gate for item in loaded_run.entries)
        # What a run changed is measured also when it ended early.
        ran = ran or (gate == CLOSING and loaded_run.closing is not None)
        if not ran or waiting:
            because = (
                "its measurement was taken, its promises were not judged" if ran else "NOT RUN"
            )
            rows.append((gate, because, str(len(waiting))))
    if not rows:
        return Text("None: every gate ran.")
    return Table(("gate", "state", "promises not judged (contract.txt)"), rows)
