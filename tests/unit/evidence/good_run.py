"""A complete, accepted run folder made in a moment: what the tests break, one thing at a time."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from m43 import typed_json
from m43.evidence.contract import contract
from m43.evidence.contract.contract import Promise
from m43.evidence.documents import write
from m43.evidence.documents.report import report_html, seal_reports
from m43.evidence.journal import manifest
from m43.evidence.journal.digests import gate_digest
from m43.evidence.journal.journal import Journal
from m43.evidence.run.history import gate_seconds
from m43.evidence.run.loaded_run import load_run
from m43.evidence.run.snapshots import devices_snapshot, env_snapshot
from m43.files import file_sha256, weights_sha256
from m43.records.gates import CLOSING, STAGES
from m43.records.hub_record import DownloadRecord
from m43.records.numerics_record import NOT_MEASURED
from m43.records.profile import Profile, RunTable
from m43.records.run_dir import RunDir, write_record
from m43.records.run_records import Phase, StepMetrics
from m43.records.venv_record import VenvRecord
from m43.rows import scoring
from tests.unit.evidence.contract_words import broken_words
from tests.unit.evidence.good_plan import plan_record
from tests.unit.evidence.good_records import (
    CONFIG,
    CONTRACT,
    EVAL_ROWS,
    FILES,
    ROWS,
    START,
    STEPS,
    WEIGHTS,
    auth_record,
    child_ended,
    closing_record,
    code_listing,
    download_record,
    evaluation_record,
    heartbeat,
    imported_record,
    lint_record,
    mesh_record,
    opening_record,
    predictions,
    probe_record,
    profile_of,
    step_metrics,
    ticking,
    train_record,
    training_process,
    venv_record,
)

Write = Callable[[RunDir], None]
PROMISES = contract.read_contract(CONTRACT).promises


def spent_s(run: RunDir) -> float:
    """Sum up what the records say that their gates took: the journal's clock went on meanwhile."""
    paths = (run.auth, run.venv, run.plan, *map(run.process, ("download", "train", "eval")))
    return float(sum(json.loads(path.read_text())["duration_s"] for path in paths if path.exists()))


def write_opening(
    run: RunDir, kind: str = "rehearsal", profile: Profile | None = None, **changes: object
) -> Journal:
    """Begin a run: profile, contract, opening, journal, the dead-man's document."""
    profile = profile or profile_of(kind)
    write_record(run.profile, replace(profile, run=RunTable(name=run.path.name)))
    contract.keep(run, CONTRACT)
    run.code.write_text(code_listing())
    write_record(run.opening, opening_record(profile.kind, run.path.name, **changes))
    journal = Journal.create(run.journal, now=ticking(spent_s=lambda: spent_s(run)))
    journal.append("opened")
    write.write_opening_analysis(run)
    return journal


def write_gate_files(run: RunDir, gate: str) -> None:
    """Write what a gate of a good run leaves behind."""
    profile = run.read_profile()
    if gate == "auth":
        write_record(run.auth, auth_record(profile))
    elif gate == "venv" and profile.contract.platform == "gpu":
        # Here, because what lies beside a card is written with the help of this file.
        from tests.unit.evidence import on_a_card

        on_a_card.card()(run)
    elif gate == "venv":
        venv = venv_record() if profile.contract.devices == 1 else write_mesh(run)
        write_record(run.venv, venv)
        plan = plan_record()
        if plan.training is not None:
            step = replace(plan.training.step, mesh=profile.mesh)
            plan = replace(plan, training=replace(plan.training, step=step))
        write_record(run.plan, plan)
        run.env_snapshot.write_text(env_snapshot(venv))
        run.gpu_snapshot.write_text(devices_snapshot(venv) + "\nno NVIDIA driver\n")
    elif gate == "train-300":
        write_download(run)
        _write_training(run)
    elif gate == "eval":
        rows = predictions()
        run.predictions.write_text("".join(typed_json.dump_line(row) for row in rows))
        write_record(run.results, scoring.tally(rows))
        write_record(run.evaluation, evaluation_record())
        write_record(run.process("eval"), child_ended("eval", "score", ROWS, run.path.name))
        write_record(run.imported("eval"), imported_record(bytecode=_bytecode(run)))
        write_record(run.heartbeat("eval"), heartbeat("score", ROWS, ROWS))
        run.log("eval").write_text(phase_lines(evaluation_record().phases))
    elif gate == CLOSING:
        write_record(run.closing, closing_record())


def write_mesh(run: RunDir) -> VenvRecord:
    """Write what the second of two processes says of its environment; give what the first says."""
    told, own = mesh_record(), {"profile_sha256": file_sha256(run.profile)}
    processes = tuple(replace(each, **own) for each in told.processes)
    second = run.of_process(1)
    second.path.mkdir(parents=True)
    write_record(second.probe, probe_record(numerics=NOT_MEASURED))
    return venv_record(probe_record(mesh=replace(told, processes=processes)))


def _bytecode(run: RunDir) -> str:
    production = run.read_profile().kind == "production"
    return "compiled for this run" if production else "as found"


def write_download(run: RunDir) -> None:
    """Write what a download leaves that brought every file."""
    largest = FILES[-1]
    phase = f"digest {largest.name}"
    contract = run.read_profile().contract
    record = download_record(contract.revision, run.path.name, contract.repo)
    write_record(run.download, record)
    ended = child_ended("download", phase, largest.size_bytes, duration_s=0.5)
    write_record(run.process("download"), ended)
    beat = heartbeat(phase, largest.size_bytes, largest.size_bytes)
    write_record(run.heartbeat("download"), beat)
    run.log("download").write_text(fetched_line(record))


def _write_training(run: RunDir) -> None:
    write_steps(run, [step_metrics(step) for step in range(1, STEPS + 1)])
    run.model.mkdir()
    (run.model / "model.safetensors").write_bytes(WEIGHTS)
    (run.model / "config.json").write_bytes(CONFIG)
    own = training_process(profile_sha256=file_sha256(run.profile))
    last, record = step_metrics(STEPS), train_record(processes=(own,))
    pace = last.real_tokens / last.duration_s
    told = f"train: {STEPS} of {STEPS}, loss {last.loss_nats:.4f}, {pace:.0f} tokens/s\n"
    run.log("train").write_text(told + phase_lines(record.phases))
    beat = heartbeat("read back", STEPS, STEPS, loss_nats=last.loss_nats, tokens_per_s=pace)
    write_record(run.heartbeat("train"), beat)
    write_record(run.train, record)
    write_record(run.process("train"), child_ended("train", "read back", STEPS, run.path.name))
    write_record(run.imported("train"), imported_record(bytecode=_bytecode(run)))


def phase_lines(phases: Sequence[Phase]) -> str:
    """Write what a child prints at the end of each phase."""
    return "".join(f"{each.name}: {each.duration_s:.1f} s\n" for each in phases)


def fetched_line(record: DownloadRecord) -> str:
    """Write what the download prints at its end."""
    arrivals = [
        {
            "found": typed_json.to_plain(each),
            "path": str(record.cache / each.name),
            "bytes_moved": each.size_bytes if number else 0,
        }
        for number, each in enumerate(record.files)
    ]
    said = {"arrivals": arrivals, "transport": record.transport, "requests": record.requests}
    return json.dumps({**said, "unasked": []}) + "\n"


def write_steps(run: RunDir, steps: Sequence[StepMetrics]) -> None:
    """Write what a training leaves that has read its rows and taken steps."""
    write_lint(run)
    run.metrics.write_text("".join(typed_json.dump_line(step) for step in steps))


def write_lint(run: RunDir) -> None:
    """Write what a training leaves that has read its rows."""
    asked = run.read_profile().data.evaluation
    # The bundled profile was not loaded from its file, and its paths are relative to that.
    write_record(run.lint, lint_record(asked if asked.is_absolute() else EVAL_ROWS))


def keep_gate(run: RunDir, journal: Journal, gate: str, promises: tuple[Promise, ...]) -> None:
    """Carry a gate out as a good run does: opened, measured, closed, its promises kept."""
    journal.append("gate_opened", gate=gate)
    write_gate_files(run, gate)
    journal.append("gate_closed", gate=gate, detail=gate_digest(run, gate))
    for promise in promises:
        if promise.gate == gate:
            journal.append("promise_kept", gate=gate, name=promise.name)


def finish(run: RunDir, journal: Journal) -> None:
    """Seal a run, write its document and close it."""
    write.write_model_card(run, load_run(run))
    journal.append("sealed", detail=manifest.seal(run))
    verdict = write.write_documents(run)
    loaded_run = load_run(run)
    journal.append("closed", detail=loaded_run.verdict_words(verdict.accepted))
    write_report(run)
    write_junit(run)
    seal_reports(run)


def write_report(run: RunDir, tests: str = f"<p>{len(PROMISES)} tests took 1 s.</p>") -> None:
    """Write the page as pytest-html has it written, after everything else."""
    kind = load_run(run).kind
    page = report_html(run, f"m43 {kind} {run.path.name}", tests)
    run.report.write_text(page, encoding="utf-8")


def write_junit(run: RunDir) -> None:
    """Write junit.xml as pytest does: each promise's outcome, each gate's time at its first."""
    loaded_run = load_run(run)
    marks = {"promise_broken": '<failure message="x">x</failure>', "promise_not_run": "<skipped/>"}
    told = [entry for entry in loaded_run.entries if entry.event.startswith("promise_")]
    order = [promise.name for promise in PROMISES]
    told.sort(key=lambda entry: order.index(entry.name))
    cases, timed, whole_s = [], set[str](), 0.0
    for entry in told:
        spent_s = 0.0 if entry.gate in timed else gate_seconds(loaded_run, entry.gate) or 0.0
        timed.add(entry.gate)
        whole_s += spent_s
        cases.append(
            f'<testcase classname="acceptance.test_production" name="{entry.name}" '
            f'time="{spent_s:.3f}">{marks.get(entry.event, "")}</testcase>'
        )
    counts = Counter(entry.event for entry in told)
    run.junit.write_text(
        f'<testsuites name="pytest tests"><testsuite name="pytest" errors="0" '
        f'failures="{counts["promise_broken"]}" skipped="{counts["promise_not_run"]}" '
        f'tests="{len(told)}" time="{whole_s:.3f}" timestamp="{START.isoformat()}">'
        f"{''.join(cases)}</testsuite></testsuites>"
    )


def write_good_run(folder: Path, kind: str = "rehearsal", **opening: object) -> RunDir:
    """Write a complete, accepted run folder, as the harness does."""
    name = "rehearsal-1" if kind == "rehearsal" else "m43_v1"
    run = RunDir.create(folder / name)
    journal = write_opening(run, kind, **opening)
    for gate in STAGES:
        keep_gate(run, journal, gate, PROMISES)
    finish(run, journal)
    assert run.summary.exists(), run.failure_analysis.read_text(encoding="utf-8")
    return run


def stop_at(folder: Path, gate: str, write: Write, **stopped: str) -> RunDir:
    """Write a run that stops at a gate, after `write` has left there what it left."""
    run, journal = reach(folder, gate)
    write(run)
    stop_gate(journal, gate, **stopped)
    return close(run, journal, gate)


def stop_gate(journal: Journal, gate: str, **stopped: str) -> None:
    """Write that a gate stopped: none of its promises is judged."""
    entry = journal.append("gate_stopped", gate=gate, **stopped)
    pass_over(journal, gate, f"gate {gate} stopped: {entry.failure_class}")


def interrupt_at(folder: Path, gate: str, write: Write, cause: str) -> RunDir:
    """Write a run that somebody interrupted while a gate was open."""
    run, journal = reach(folder, gate)
    write(run)
    journal.append("interrupted", gate=gate, failure_class="interrupted", detail=cause)
    pass_over(journal, gate, f"the run was interrupted ({cause})")
    return close(run, journal, gate)


def break_gate(folder: Path, gate: str, name: str, write: Write | None = None) -> RunDir:
    """Write a run in which a gate ends and its journal calls one promise broken, true or not."""
    run, journal = reach(folder, gate)
    write_gate_files(run, gate)
    if write is not None:
        write(run)
    journal.append("gate_closed", gate=gate, detail=gate_digest(run, gate))
    for promise in PROMISES:
        if promise.name == name:
            detail = f"assert {promise.asserts[0].source}"
            journal.append("promise_broken", gate=gate, name=name, detail=detail)
        elif promise.gate == gate:
            journal.append("promise_kept", gate=gate, name=promise.name)
    pass_over(journal, gate, f"gate {gate} did not keep its promises", of=STAGES.index(gate) + 1)
    return close(run, journal, gate)


def fail_gate(
    folder: Path,
    gate: str,
    write: Write,
    profile: Profile | None = None,
    opened: Mapping[str, object] = MappingProxyType({}),
) -> RunDir:
    """Write a run in which a gate ends, and its promises are judged over what it left."""
    run, journal = reach(folder, gate, profile, **opened)
    write(run)
    journal.append("gate_closed", gate=gate, detail=gate_digest(run, gate))
    records = load_run(run).records
    for promise in PROMISES:
        if promise.gate != gate:
            continue
        if words := broken_words(promise.name, records):
            journal.append("promise_broken", gate=gate, name=promise.name, detail=words)
        else:
            journal.append("promise_kept", gate=gate, name=promise.name)
    pass_over(journal, gate, f"gate {gate} did not keep its promises", of=STAGES.index(gate) + 1)
    return close(run, journal, gate)


def reach(
    folder: Path, gate: str, profile: Profile | None = None, **opened: object
) -> tuple[RunDir, Journal]:
    """Write a run up to the moment at which a gate has been opened."""
    kind = profile.kind if profile else "rehearsal"
    run = RunDir.create(folder / ("rehearsal-1" if kind == "rehearsal" else "m43_v1"))
    journal = write_opening(run, kind, profile, **opened)
    for stage in STAGES[: STAGES.index(gate)]:
        keep_gate(run, journal, stage, PROMISES)
    journal.append("gate_opened", gate=gate)
    return run, journal


def pass_over(journal: Journal, gate: str, reason: str, *, of: int | None = None) -> None:
    """Write that the promises from a gate on, or from the stage with a number, were not judged."""
    first = STAGES.index(gate) if of is None else of
    for promise in PROMISES:
        if STAGES.index(promise.gate) >= first:
            journal.append("promise_not_run", gate=promise.gate, name=promise.name, detail=reason)


def close(run: RunDir, journal: Journal, gate: str) -> RunDir:
    """End a run that got to a gate: what it changed is measured also when it ended early."""
    if gate != CLOSING:
        seen = {"model_sha256": weights_sha256(run.model)}
        if not run.venv.exists():
            # Without the probe nobody knows where the packages lie.
            seen["packages_sha256"] = ""
        write_record(run.closing, closing_record(**seen))
    finish(run, journal)
    return run
