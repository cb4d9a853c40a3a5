"""A complete, accepted run folder made in a moment: what the tests break, one thing at a time."""

import hashlib
import json
import math
import tomllib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from m43 import config, scoring, typed_json
from m43.config import Profile, RunTable
from m43.evidence import contract, documents, manifest
from m43.evidence.digests import file_sha256, gate_digest
from m43.evidence.journal import Journal, stamp
from m43.evidence.promise import CLOSING, Promise
from m43.evidence.verdict import STAGES, verdict_words
from m43.records import (
    AuthRecord,
    ClosingRecord,
    Device,
    DownloadRecord,
    EvaluationRecord,
    Heartbeat,
    HubResponse,
    OpeningRecord,
    Package,
    Phase,
    PinnedFile,
    Prediction,
    ProbeRecord,
    ProcessRecord,
    Requirement,
    StepMetrics,
    TrainRecord,
    VenvRecord,
)
from m43.run_dir import RunDir, write_record

REPOSITORY = Path(__file__).resolve().parents[3]
CONTRACT = REPOSITORY / "acceptance" / "test_production.py"
EVAL_ROWS = REPOSITORY / "acceptance" / "data" / "eval_v2.jsonl"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STEPS = 300
ROWS = 100
DEVICE = "cpu:cpu"


def digest(word: str) -> str:
    """Give a digest that stands for something."""
    return hashlib.sha256(word.encode()).hexdigest()


def ticking(step_s: float = 1.0) -> Callable[[], datetime]:
    """Give a clock that goes on by the same time at each look."""
    moments = iter(START + timedelta(seconds=step_s * index) for index in range(10_000))
    return lambda: next(moments)


def profile_of(kind: str = "rehearsal") -> Profile:
    """Give the bundled profile, with what is settled at the opening of a run filled in."""
    text = (REPOSITORY / "acceptance" / "rehearsal.toml").read_text()
    text = text.replace('kind = "rehearsal"', f'kind = "{kind}"')
    data = tomllib.loads(text)
    profile, problems = typed_json.read_table(Profile, data, "rehearsal.toml")
    assert profile is not None, problems
    return profile


FILES = tuple(
    PinnedFile(name=name, size_bytes=100, digest_kind="sha256", digest=digest(name))
    for name in ("config.json", "tokenizer.json", "model.safetensors")
)


def own_differences() -> tuple[str, ...]:
    """List how a production run with this profile differs from the locked decisions."""
    locked = config.load(REPOSITORY / "acceptance" / "production.toml")
    return config.differences(profile_of("production"), locked)


def opening_record(kind: str, name: str, **changes: object) -> OpeningRecord:
    """Give the opening of a good run."""
    text = contract.read_contract(CONTRACT)
    values: dict[str, object] = {
        "run": name,
        "kind": kind,
        "started_utc": stamp(START),
        "m43_version": "0.1.0",
        "commit": "c0ffee" * 6 + "c0ff",
        "profile": f"acceptance/{kind}.toml",
        "profile_sha256": digest("profile"),
        "profile_differences": (),
        "contract_sha256": text.text_sha256,
        "promises": text.names,
        "train_rows_sha256": digest("train rows"),
        "eval_rows_sha256": file_sha256(EVAL_ROWS),
        "tree_sha256": digest("tree"),
        "tree_files": 123,
        "attempts_of_this_run": 1,
        "earlier_attempts": (),
        "command": ("pytest", "acceptance", "-m", kind),
    }
    return OpeningRecord(**{**values, **changes})


def auth_record(profile: Profile, **changes: object) -> AuthRecord:
    """Give the auth record of a good run."""
    steps = ("whoami", "auth_check", "revision", "weights_head")
    values: dict[str, object] = {
        "token_source": "HF_TOKEN",
        "endpoint": "http://127.0.0.1:8080",
        "account": "engineer",
        "repo": profile.contract.repo,
        "revision": profile.contract.revision,
        "responses": tuple(HubResponse(step=step, status=200, error="") for step in steps),
        "files": FILES,
        "missing_files": (),
        "weight_bytes": 0,
        "hub_variables": ("HF_TOKEN",),
        "duration_s": 0.25,
    }
    return AuthRecord(**{**values, **changes})


def probe_record(**changes: object) -> ProbeRecord:
    """Give what the probe of a good environment prints."""
    values: dict[str, object] = {
        "executable": "/venv/bin/python",
        "prefix": "/venv",
        "python_version": "3.11.9",
        "system": "Linux",
        "release": "6.8.0",
        "packages": (Package(name="jax", version="0.10.2"), Package(name="flax", version="0.12.8")),
        "site_packages": ("/venv/lib/python3.11/site-packages",),
        "import_error": "",
        "devices": (Device(platform="cpu", kind="cpu", memory_bytes=16 * 10**9),),
        "default_device": DEVICE,
        "product_relative_error": 1e-3,
        "softmax_relative_error": 1e-7,
        "driver_version": "none",
        "host_memory_bytes": 16 * 10**9,
        "disk_free_bytes": 50 * 10**9,
    }
    return ProbeRecord(**{**values, **changes})


def venv_record(probe: ProbeRecord | None = None, **changes: object) -> VenvRecord:
    """Give the venv record of a good run."""
    values: dict[str, object] = {
        "path": "/venv",
        "interpreter": "/venv/bin/python",
        "probe": probe or probe_record(),
        "requirements": (
            Requirement(requirement="jax>=0.10.2,<0.11", installed="0.10.2", satisfied=True),
            Requirement(requirement="flax>=0.12.8,<0.13", installed="0.12.8", satisfied=True),
        ),
        "packages_sha256": digest("packages"),
        "duration_s": 2.5,
    }
    return VenvRecord(**{**values, **changes})


def step_metrics(step: int) -> StepMetrics:
    """Give one step of a training that learns."""
    return StepMetrics(
        step=step,
        loss_nats=0.4 + 3 * math.exp(-step / 60) + 0.05 * math.sin(step),
        learning_rate=1e-3,
        gradient_norm=1.5,
        padded_tokens=1536,
        real_tokens=400,
        supervised_tokens=60,
        duration_s=0.1,
    )


def train_record(**changes: object) -> TrainRecord:
    """Give the train record of a good run."""
    values: dict[str, object] = {
        "backend": "jax",
        "device": DEVICE,
        "jax_version": "0.10.2",
        "flax_version": "0.12.8",
        "repo_config_sha256": digest("config.json"),
        "base_weights_sha256": digest("base"),
        "model_sha256": digest("model"),
        "reloaded_sha256": digest("model"),
        "parameters": 1_000_000,
        "parameters_moved": 900_000,
        "optimizer_steps": STEPS,
        "train_rows_sha256": digest("train rows"),
        "rows_in_file": 2400,
        "rows_used": 2400,
        "epochs": 1.0,
        "phases": (Phase(name="compile", duration_s=5.0), Phase(name="steps", duration_s=30.0)),
        "peak_host_bytes": 10**9,
        "peak_device_bytes": 0,
    }
    return TrainRecord(**{**values, **changes})


def process_record(**changes: object) -> ProcessRecord:
    """Give how a child ends that ends well."""
    values: dict[str, object] = {
        "command": ("/venv/bin/python", "-m", "m43.training", "train", "RUN_DIR"),
        "exit_status": 0,
        "duration_s": 40.0,
        "peak_bytes": 10**9,
        "ended_by_parent": "no",
        "oom_kills": 0,
        "last_phase": "steps",
        "steps_seen": STEPS,
        "variables": ("HF_HUB_OFFLINE", "PYTHONPATH"),
    }
    return ProcessRecord(**{**values, **changes})


def predictions() -> tuple[Prediction, ...]:
    """Answer every bundled row: the base model is right in 2, the tuned one in 60."""
    rows = [json.loads(line) for line in EVAL_ROWS.read_text(encoding="utf-8").splitlines()]
    return tuple(prediction(row, index < 2, index < 60) for index, row in enumerate(rows))


def prediction(row: dict[str, str], base_correct: bool, tuned_correct: bool) -> Prediction:
    """Answer one row, rightly or not."""
    base, tuned = (
        row["expected_answer"] if right else "no idea" for right in (base_correct, tuned_correct)
    )
    return Prediction(
        id=row["id"],
        section=row["section"],
        category=row["category"],
        difficulty=row["difficulty"],
        prompt=row["prompt"],
        expected=row["expected_answer"],
        base_output=f" {base}\n",
        tuned_output=f" {tuned}\n",
        base_answer=base,
        tuned_answer=tuned,
        base_correct=base_correct,
        tuned_correct=tuned_correct,
    )


def evaluation_record(**changes: object) -> EvaluationRecord:
    """Give the evaluation record of a good run."""
    values: dict[str, object] = {
        "device": DEVICE,
        "base_weights_sha256": digest("base"),
        "model_sha256": digest("model"),
        "eval_rows_sha256": file_sha256(EVAL_ROWS),
        "rows_in_file": ROWS,
        "prompts_also_in_training": 0,
        "generated_tokens": 1234,
        "phases": (Phase(name="base", duration_s=3.0), Phase(name="tuned", duration_s=2.0)),
        "peak_host_bytes": 10**9,
    }
    return EvaluationRecord(**{**values, **changes})


def closing_record(**changes: object) -> ClosingRecord:
    """Give the closing of a good run."""
    values: dict[str, object] = {
        "packages_sha256": digest("packages"),
        "tree_sha256": digest("tree"),
        "tree_files": 123,
        "changed_paths": (),
        "changed_packages": (),
        "model_sha256": digest("model"),
        "documents": ("failure_analysis.md",),
    }
    return ClosingRecord(**{**values, **changes})


def write_opening(run: RunDir, kind: str = "rehearsal", **changes: object) -> Journal:
    """Begin a run: profile, contract, opening, journal, the dead-man's document."""
    write_record(run.profile, replace(profile_of(kind), run=RunTable(name=run.path.name)))
    contract.keep(run, CONTRACT)
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
    folder = Path("/cache/models--m43--toy-gemma/snapshots/abab")
    download = DownloadRecord(
        folder=folder,
        revision=run.read_profile().contract.revision,
        files=FILES,
        bytes_moved=300,
        duration_s=0.5,
    )
    write_record(run.download, download)
    lines = [typed_json.dump_line(step_metrics(step)) for step in range(1, STEPS + 1)]
    run.metrics.write_text("".join(lines))
    run.model.mkdir()
    (run.model / "model.safetensors").write_bytes(b"weights")
    run.log("train").write_text("step 300 of 300\n")
    beat = Heartbeat(
        phase="steps", done=STEPS, total=STEPS, loss_nats=0.42, tokens_per_s=4000.0, beat=301
    )
    write_record(run.heartbeat("train"), beat)
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
    kind = "rehearsal" if run.path.name.startswith("rehearsal") else "production"
    journal.append("closed", detail=verdict_words(verdict.accepted, kind))


def write_good_run(folder: Path, kind: str = "rehearsal", **opening: object) -> RunDir:
    """Write a complete, accepted run folder, as the harness does."""
    name = "rehearsal-1" if kind == "rehearsal" else "m43_v1"
    run = RunDir.create(folder / name)
    journal = write_opening(run, kind, **opening)
    promises = contract.read_contract(CONTRACT).promises
    for gate in STAGES:
        keep_gate(run, journal, gate, promises)
    finish(run, journal)
    assert run.summary.exists(), file_sha256(run.failure_analysis)
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
