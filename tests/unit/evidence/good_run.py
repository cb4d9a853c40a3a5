"""A complete, accepted run folder made in a moment: what the tests break, one thing at a time."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from m43 import scoring, typed_json
from m43.evidence import contract, documents, manifest
from m43.evidence.digests import gate_digest
from m43.evidence.dossier import read_dossier
from m43.evidence.journal import Journal
from m43.evidence.promise import CLOSING, Promise
from m43.evidence.report_seal import seal_reports
from m43.evidence.verdict import STAGES
from m43.profile import RunTable
from m43.records import Heartbeat
from m43.run_dir import RunDir, write_record
from tests.unit.evidence.good_plan import plan_record
from tests.unit.evidence.good_records import (
    CONFIG,
    CONTRACT,
    ROWS,
    STEPS,
    WEIGHTS,
    auth_record,
    closing_record,
    code_listing,
    download_record,
    evaluation_record,
    lint_record,
    opening_record,
    predictions,
    process_record,
    profile_of,
    step_metrics,
    ticking,
    train_record,
    venv_record,
)


def write_opening(run: RunDir, kind: str = "rehearsal", **changes: object) -> Journal:
    """Begin a run: profile, contract, opening, journal, the dead-man's document."""
    write_record(run.profile, replace(profile_of(kind), run=RunTable(name=run.path.name)))
    contract.keep(run, CONTRACT)
    run.code.write_text(code_listing())
    write_record(run.opening, opening_record(kind, run.path.name, **changes))
    journal = Journal.create(run.journal, now=ticking())
    journal.append("opened", detail=run.path.name)
    documents.write_opening_analysis(run)
    return journal


def write_gate_files(run: RunDir, gate: str) -> None:
    """Write what a gate of a good run leaves behind."""
    if gate == "auth":
        write_record(run.auth, auth_record(run.read_profile()))
    elif gate == "venv":
        write_record(run.venv, venv_record())
        write_record(run.plan, plan_record())
        run.env_snapshot.write_text("jax==0.10.2\n")
        run.gpu_snapshot.write_text("no NVIDIA driver\n")
    elif gate == "train-300":
        _write_training(run)
    elif gate == "eval":
        rows = predictions()
        run.predictions.write_text("".join(typed_json.dump_line(row) for row in rows))
        write_record(run.results, scoring.tally(rows))
        write_record(run.evaluation, evaluation_record())
        write_record(run.process("eval"), process_record(steps_seen=ROWS))
        run.log("eval").write_text("decoded 100 rows\n")
    elif gate == CLOSING:
        write_record(run.closing, closing_record())


def _write_training(run: RunDir) -> None:
    write_record(run.download, download_record(run.read_profile().contract.revision))
    write_record(run.process("download"), process_record(steps_seen=9000))
    run.log("download").write_text("{}\n")
    lines = [typed_json.dump_line(step_metrics(step)) for step in range(1, STEPS + 1)]
    run.metrics.write_text("".join(lines))
    run.model.mkdir()
    (run.model / "model.safetensors").write_bytes(WEIGHTS)
    (run.model / "config.json").write_bytes(CONFIG)
    run.log("train").write_text("step 300 of 300\n")
    beat = Heartbeat(
        phase="steps", done=STEPS, total=STEPS, loss_nats=0.42, tokens_per_s=4000.0, beat=301
    )
    write_record(run.heartbeat("train"), beat)
    write_record(run.lint, lint_record())
    write_record(run.train, train_record())
    write_record(run.process("train"), process_record())


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
    journal.append("sealed", detail=manifest.seal(run))
    verdict = documents.write_documents(run)
    dossier = read_dossier(run)
    journal.append("closed", detail=dossier.verdict_words(verdict.accepted))
    run.report.write_text(f"<html>{dossier.kind}: 35 passed</html>")
    run.junit.write_text("<testsuites/>")
    seal_reports(run)


def write_good_run(folder: Path, kind: str = "rehearsal", **opening: object) -> RunDir:
    """Write a complete, accepted run folder, as the harness does."""
    name = "rehearsal-1" if kind == "rehearsal" else "m43_v1"
    run = RunDir.create(folder / name)
    journal = write_opening(run, kind, **opening)
    promises = contract.read_contract(CONTRACT).promises
    for gate in STAGES:
        keep_gate(run, journal, gate, promises)
    finish(run, journal)
    assert run.summary.exists(), run.failure_analysis.read_text(encoding="utf-8")
    return run


def stop_at(folder: Path, gate: str, write: Callable[[RunDir], None], **stopped: str) -> RunDir:
    """Write a run that stops at a gate, after `write` has left there what it left."""
    run = RunDir.create(folder / "rehearsal-1")
    journal = write_opening(run)
    promises = contract.read_contract(CONTRACT).promises
    for stage in STAGES[: STAGES.index(gate)]:
        keep_gate(run, journal, stage, promises)
    journal.append("gate_opened", gate=gate)
    write(run)
    journal.append("gate_stopped", gate=gate, **stopped)
    for promise in promises:
        if STAGES.index(promise.gate) >= STAGES.index(gate):
            journal.append("promise_not_run", gate=promise.gate, name=promise.name)
    finish(run, journal)
    return run


def break_gate(
    folder: Path, gate: str, name: str, write: Callable[[RunDir], None] | None = None
) -> RunDir:
    """Write a run in which a gate ends and one of its promises is broken."""
    run = RunDir.create(folder / "rehearsal-1")
    journal = write_opening(run)
    promises = contract.read_contract(CONTRACT).promises
    for stage in STAGES[: STAGES.index(gate)]:
        keep_gate(run, journal, stage, promises)
    journal.append("gate_opened", gate=gate)
    write_gate_files(run, gate)
    if write is not None:
        write(run)
    journal.append("gate_closed", gate=gate, detail=gate_digest(run, gate))
    for promise in promises:
        if promise.name == name:
            journal.append("promise_broken", gate=gate, name=name, detail="assert 1 == 2")
        elif promise.gate == gate:
            journal.append("promise_kept", gate=gate, name=promise.name)
        elif STAGES.index(promise.gate) > STAGES.index(gate):
            journal.append("promise_not_run", gate=promise.gate, name=promise.name)
    finish(run, journal)
    return run
