"""The records of a good run, all in one file because each is made to agree with the others."""

import hashlib
import json
import math
import re
import struct
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement as Requested

from m43 import typed_json
from m43.evidence.contract import M43, called, contract
from m43.evidence.journal import ledger
from m43.evidence.journal.journal import stamp
from m43.evidence.run import contract_differences
from m43.evidence.verify import code
from m43.evidence.verify.agreements.training import learning_rate
from m43.files import file_sha256, weights_digest
from m43.gemma_families import ARCHITECTURES
from m43.harness.process import TRAINING
from m43.records import profile_check
from m43.records.evaluation_record import Decoding, EvaluationRecord, LintRecord, Prediction
from m43.records.hub_record import (
    AuthRecord,
    Certificate,
    DownloadRecord,
    HubResponse,
    HubStep,
    HubWay,
    PinnedFile,
)
from m43.records.numerics_record import NumericsRecord, StepNumerics
from m43.records.profile import LOOPBACK_ENDPOINT, MeshTable, Profile
from m43.records.run_records import (
    ClosingRecord,
    Heartbeat,
    ImportedRecord,
    OpeningRecord,
    Phase,
    ProcessRecord,
    StepMetrics,
    TrainingProcess,
    TrainRecord,
    steps_sha256,
)
from m43.records.venv_record import (
    Device,
    Exchange,
    MeshRecord,
    Package,
    ProbedProcess,
    ProbeRecord,
    Requirement,
    VenvRecord,
)
from m43.rows.overlap import Answered, KnownPrompts, count_forms, count_repeats

REPOSITORY = Path(__file__).resolve().parents[3]
CONTRACT = REPOSITORY / "acceptance" / "test_production.py"
EVAL_ROWS = REPOSITORY / "acceptance" / "data" / "eval_v2.jsonl"
TRAIN_ROWS = REPOSITORY / "acceptance" / "data" / "train.jsonl"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STEPS = 300
ROWS = 100
DEVICE = "cpu:cpu"


def digest(word: str) -> str:
    """Give a digest that stands for something."""
    return hashlib.sha256(word.encode()).hexdigest()


def ticking(
    step_s: float = 1.0, spent_s: Callable[[], float] = lambda: 0.0
) -> Callable[[], datetime]:
    """Return a clock that goes on by the same time at each look, and by what was spent."""
    looks = iter(range(10_000))
    return lambda: START + timedelta(seconds=step_s * next(looks) + spent_s())


@cache
def profile_of(kind: str = "rehearsal") -> Profile:
    """Give the bundled profile, with what is settled at the opening of a run filled in."""
    text = (REPOSITORY / "acceptance" / "rehearsal.toml").read_text()
    text = text.replace('kind = "rehearsal"', f'kind = "{kind}"')
    data = tomllib.loads(text)
    profile, problems = typed_json.read_table(Profile, data, "rehearsal.toml")
    assert profile is not None, problems
    return profile


# The toy's, as the contract knows it: of its dimensions its number of parameters follows.
CONFIG = json.dumps({"model_type": "gemma", **profile_of().contract.config}).encode()


def _weights() -> bytes:
    """Write weights of these dimensions, all of them 0, as the toy's files are written."""
    table, start = {}, 0
    for name, shape in _tensors():
        stop = start + 2 * math.prod(shape)
        table[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, stop]}
        start = stop
    header = json.dumps(table, separators=(",", ":")).encode()
    # Padded to the size that the profile promises of the file.
    whole = profile_of().contract.file_bytes["model.safetensors"]
    header += b" " * (whole - 8 - start - len(header))
    return len(header).to_bytes(8, "little") + header + bytes(start)


def _tensors() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "model.embed_tokens.weight", (1280, 128)
    for layer in range(2):
        place = f"model.layers.{layer}"
        yield f"{place}.input_layernorm.weight", (128,)
        yield f"{place}.post_attention_layernorm.weight", (128,)
        for name, out in (("q_proj", 128), ("k_proj", 32), ("v_proj", 32), ("o_proj", 128)):
            yield f"{place}.self_attn.{name}.weight", (out, 128)
        for name, shape in (("gate", (512, 128)), ("up", (512, 128)), ("down", (128, 512))):
            yield f"{place}.mlp.{name}_proj.weight", shape
    yield "model.norm.weight", (128,)


WEIGHTS = _weights()


def pinned_files(profile: Profile) -> tuple[PinnedFile, ...]:
    """Return the files that a profile names, as a hub describes them that serves its model."""
    contract = profile.contract
    known = {"config.json": hashlib.sha256(CONFIG).hexdigest(), **contract.file_sha256}
    sizes = {"config.json": len(CONFIG), **contract.file_bytes}
    return tuple(
        PinnedFile(
            name=name,
            size_bytes=sizes.get(name, 100),
            digest_kind="sha256",
            digest=known.get(name, digest(name)),
        )
        for name in profile.hub.files
    )


PROMISED = profile_of().contract
FILES = pinned_files(profile_of())
# Of the download, which finds config.json in the cache: the plan was made from it.
FETCHED_BYTES = sum(file.size_bytes for file in FILES[1:])
MODEL_SHA256 = weights_digest({"model.safetensors": hashlib.sha256(WEIGHTS).hexdigest()})
BASE_SHA256 = weights_digest(PROMISED.file_sha256)


def own_differences() -> tuple[str, ...]:
    """List how a production run with this profile differs from the locked decisions."""
    locked = profile_check.load(REPOSITORY / "acceptance" / "production.toml")
    return profile_check.differences(profile_of("production"), locked)


@cache
def code_listing() -> str:
    """List the code of this checkout."""
    return code.listing(REPOSITORY)


def code_sha256() -> str:
    """Digest the list."""
    return hashlib.sha256(code_listing().encode()).hexdigest()


M42_FILES = (f"{digest('M42')}  submission_runs/m42_v1/m42_summary.md",)


def opening_record(kind: str, name: str, **changes: object) -> OpeningRecord:
    """Give the opening of a good run."""
    text = contract.read_contract(CONTRACT)
    values: dict[str, object] = {
        "run": name,
        "kind": kind,
        "started_utc": stamp(START),
        "m43_version": "0.3.0",
        "commit": "c0ffee" * 6 + "c0ff",
        "profile": f"acceptance/{kind}.toml",
        "profile_sha256": file_sha256(REPOSITORY / "acceptance" / f"{kind}.toml"),
        "profile_differences": (),
        "contract": M43,
        "contract_name": "m43",
        "promise_differences": (),
        "contract_sha256": text.text_sha256,
        "promises": text.names,
        "train_rows_sha256": file_sha256(TRAIN_ROWS),
        "eval_rows_sha256": file_sha256(EVAL_ROWS),
        "code_sha256": code_sha256(),
        "plugins": ("pytest_html.plugin", "pytest_timeout"),
        "tree_sha256": digest("tree"),
        "tree_files": 123,
        "attempts_of_this_run": 1,
        "earlier_attempts": (),
        "ledger_sha256": "",
        "unlisted_runs": (),
        "command": ("pytest", "acceptance", "-m", kind),
        "m42": M42_FILES,
    }
    record = OpeningRecord(**{**values, **changes})
    name = called(PROMISED.name, PROMISED.name, contract_differences(record))
    record = replace(record, contract_name=name)
    return replace(record, ledger_sha256=ledger.lines_of(record)[-1].sha256)


REAL_WAY = HubWay(
    address="192.0.2.7:443",
    certificates=(
        Certificate(subject="huggingface.co", issuer="An Authority", sha256=digest("own")),
        Certificate(subject="An Authority", issuer="An Authority", sha256=digest("root")),
    ),
)


def auth_record(profile: Profile, **changes: object) -> AuthRecord:
    """Give the auth record of a good run."""
    steps = ("whoami", "auth_check", "revision", "weights_head")
    toy = profile.hub.endpoint == LOOPBACK_ENDPOINT
    values: dict[str, object] = {
        "token_source": "HF_TOKEN",
        "endpoint": "http://127.0.0.1:8080" if toy else "https://huggingface.co",
        "account": "engineer",
        "repo": profile.contract.repo,
        "revision": profile.contract.revision,
        "responses": tuple(HubResponse(step=step, status=200, error="") for step in steps),
        "files": pinned_files(profile),
        "missing_files": (),
        "weight_bytes": 0,
        "hub_variables": ("HF_TOKEN",),
        "duration_s": 0.25,
        "way": HubWay(address="127.0.0.1:8080") if toy else REAL_WAY,
    }
    return AuthRecord(**{**values, **changes})


def hub_response(step: HubStep, status: int, error: str) -> HubResponse:
    """Give an answer; the error begins with the name of the exception that was raised."""
    name, told, _ = error.partition(":")
    return HubResponse(step=step, status=status, error=error, causes=(name,) if told else ())


def download_record(
    revision: str, run: str = "rehearsal-1", repo: str = PROMISED.repo
) -> DownloadRecord:
    """Give the download of a good run."""
    return DownloadRecord(
        folder=Path("/runs", run, ".base_model"),
        cache=Path(f"/cache/models--{repo.replace('/', '--')}/snapshots", revision),
        revision=revision,
        files=FILES,
        transport="http",
        requests=len(FILES) - 1,
        bytes_moved=FETCHED_BYTES,
        duration_s=0.5,
    )


_REFERENCES = json.loads((REPOSITORY / "m43/training/numerics/float64.json").read_text())


def step_numerics(family: str, **changes: object) -> StepNumerics:
    """Give what the steps of a small Gemma of a family measured."""
    exact = tuple(_REFERENCES[family]["losses_nats"])
    values: dict[str, object] = {
        "family": family,
        "optimizer": "adafactor" if family == "gemma" else "adamw",
        "losses_nats": (1.0001 * exact[0], exact[1]),
        "reference_losses_nats": exact,
        "gradient_relative_error": 0.012,
        "gradient_worst": "layers.attention.query.weight",
        "update_relative_error": 0.001,
        "update_worst": "final_norm",
    }
    return StepNumerics(**{**values, **changes})


def numerics_record(**changes: object) -> NumericsRecord:
    """Give what the numerics check of a good device measured."""
    values: dict[str, object] = {
        "product_relative_error": 1e-3,
        "softmax_relative_error": 1e-7,
        "operation_relative_error": 3.7e-6,
        "operation_worst": "normal numbers",
        "steps": tuple(step_numerics(family) for family in ARCHITECTURES),
        "duration_s": 1.5,
    }
    return NumericsRecord(**{**values, **changes})


def probed_process(**changes: object) -> ProbedProcess:
    """Give what the first of two processes of a good mesh of two devices says of itself."""
    values: dict[str, object] = {
        "process": 0,
        "host": "host",
        "devices": (f"0 {DEVICE}",),
        "wrong_products": (0,),
        "profile_sha256": digest("contract.lock.json"),
        "code_sha256": handed_sha256(),
        "packages_sha256": digest("RECORDs"),
        "python_version": "3.11.9",
        "driver_version": "none",
    }
    return ProbedProcess(**{**values, **changes})


def mesh_record(wrong_values: int = 0, **changes: object) -> MeshRecord:
    """Give what two processes of a device each say of each other and of what they exchanged."""
    reduced = Exchange(
        axis="fsdp",
        operation="all-reduce",
        devices=2,
        values=2_099_200,
        wrong_values=wrong_values,
        payload_bytes=1 << 22,
        duration_s=0.0321,
    )
    gathered = replace(
        reduced, operation="all-gather", values=4_198_400, wrong_values=0, duration_s=0.0456
    )
    values: dict[str, object] = {
        "mesh": MeshTable(fsdp=2),
        "processes": (probed_process(), probed_process(process=1, devices=(f"2048 {DEVICE}",))),
        "exchanges": (reduced, gathered),
    }
    return MeshRecord(**{**values, **changes})


def handed_sha256() -> str:
    """Give the digest of m43's code as it is handed to the processes of a good run."""
    listed = sorted(code.parse(code_listing()).items())
    own = "".join(f"{sha256}  {path}\n" for path, sha256 in listed
                  if path.startswith("m43/") and path.endswith(".py"))  # fmt: skip
    return hashlib.sha256(own.encode()).hexdigest()


def distribution(requirement: str) -> str:
    """Return whose requirement it is."""
    return re.split("[<>=!~; ]", requirement, maxsplit=1)[0]


def _of_this_extra(extra: str) -> tuple[str, ...]:
    """List an extra of pyproject.toml as the gate writes it, for the Python of the probe below."""
    text = (REPOSITORY / "pyproject.toml").read_text()
    asked = map(Requested, tomllib.loads(text)["project"]["optional-dependencies"][extra])
    return tuple(
        f"{each.name}{each.specifier}"
        for each in asked
        if each.marker is None or each.marker.evaluate({"python_version": "3.11"})
    )


# What training needs, each in the least version that it admits.
REQUIRED = _of_this_extra("training")
INSTALLED = {distribution(text): re.search(r">=([\d.]+)", text)[1] for text in REQUIRED}
_TESTED = {
    distribution(text): text.split("==")[1].removesuffix(".*") for text in _of_this_extra("tested")
}


def probe_record(**changes: object) -> ProbeRecord:
    """Give what the probe of a good environment prints."""
    values: dict[str, object] = {
        "executable": "/venv/bin/python",
        "prefix": "/venv",
        "python_version": "3.11.9",
        "system": "Linux",
        "release": "6.8.0",
        "packages": tuple(Package(name=name, version=INSTALLED[name]) for name in INSTALLED),
        "site_packages": ("/venv/lib/python3.11/site-packages",),
        "import_error": "",
        "devices": (Device(platform="cpu", kind="cpu", memory_bytes=16 * 10**9),),
        "default_device": DEVICE,
        "numerics": numerics_record(),
        "driver_version": "none",
        "host_memory_bytes": 16 * 10**9,
        "disk_free_bytes": 50 * 10**9,
    }
    return ProbeRecord(**{**values, **changes})


def requirement(text: str, installed: str, tested: str, *, satisfied: bool = True) -> Requirement:
    """Give a requirement of training, met unless said otherwise."""
    return Requirement(requirement=text, installed=installed, satisfied=satisfied, tested=tested)


def venv_record(probe: ProbeRecord | None = None, **changes: object) -> VenvRecord:
    """Give the venv record of a good run."""
    values: dict[str, object] = {
        "path": "/venv",
        "interpreter": "/venv/bin/python",
        "probe": probe or probe_record(),
        "requirements": tuple(
            requirement(text, INSTALLED[distribution(text)], _TESTED[distribution(text)])
            for text in REQUIRED
        ),
        "packages_sha256": digest("packages"),
        "altered": (),
        "unrecorded": (),
        "duration_s": 2.5,
    }
    return VenvRecord(**{**values, **changes})


def float32(value: float) -> float:
    """Return the nearest number of float32, as a step returns it."""
    (nearest,) = struct.unpack("<f", struct.pack("<f", value))
    return float(nearest)


def step_metrics(step: int) -> StepMetrics:
    """Give one step of a training that learns."""
    return StepMetrics(
        step=step,
        loss_nats=float32(60 * (0.4 + 3 * math.exp(-step / 60) + 0.05 * math.sin(step))) / 60,
        learning_rate=float32(learning_rate(profile_of(), step)),
        gradient_norm=1.5,
        padded_tokens=1536,
        real_tokens=400,
        supervised_tokens=60,
        duration_s=0.1,
    )


def training_process(**changes: object) -> TrainingProcess:
    """Give what the only process of a good run says of itself."""
    values: dict[str, object] = {
        "process": 0,
        "host": "host",
        "devices": (f"0 {DEVICE}",),
        "profile_sha256": digest("contract.lock.json"),
        "code_sha256": handed_sha256(),
        "packages_sha256": digest("RECORDs"),
        "train_rows_sha256": file_sha256(TRAIN_ROWS),
        "base_weights_sha256": BASE_SHA256,
        "steps_sha256": steps_sha256(map(step_metrics, range(1, STEPS + 1))),
        "reloaded_sha256": MODEL_SHA256,
        "optimizer_steps": STEPS,
        "peak_host_bytes": 10**9,
    }
    return TrainingProcess(**{**values, **changes})


def train_record(**changes: object) -> TrainRecord:
    """Give the train record of a good run."""
    values: dict[str, object] = {
        "backend": "jax",
        "device": DEVICE,
        "devices": 1,
        "mesh": MeshTable(),
        "jax_version": "0.10.2",
        "flax_version": "0.12.8",
        "repo_config_sha256": hashlib.sha256(CONFIG).hexdigest(),
        "base_weights_sha256": BASE_SHA256,
        "weights_dtypes": ("BF16",),
        "model_sha256": MODEL_SHA256,
        "reloaded_sha256": MODEL_SHA256,
        "method": "full",
        "architecture": PROMISED.architecture,
        "parameters": PROMISED.parameters,
        "trained_parameters": PROMISED.parameters,
        "parameters_moved": 600_000,
        "optimizer_steps": STEPS,
        "processes": (training_process(),),
        "train_rows_sha256": file_sha256(TRAIN_ROWS),
        "rows_in_file": 2400,
        "rows_used": 2400,
        "epochs": 1.0,
        "phases": (
            Phase(name="import", duration_s=3.0),
            Phase(name="compile 192 tokens", duration_s=5.0),
            Phase(name="train", duration_s=30.5),
            Phase(name="save", duration_s=0.5),
            Phase(name="read back", duration_s=0.5),
        ),
        "peak_host_bytes": 10**9,
        "peak_device_bytes": 0,
    }
    return TrainRecord(**{**values, **changes})


def lint_record(asked_rows: Path = EVAL_ROWS, **changes: object) -> LintRecord:
    """Give the lint of a good run: counted from the bundled rows and the steps above."""
    trained, asked = (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (TRAIN_ROWS, asked_rows)
    )
    answered = [Answered(prompt=row["prompt"], answer=row["final_answer"]) for row in trained]
    repeats, step = count_repeats(answered), step_metrics(1)
    values: dict[str, object] = {
        "train_rows_sha256": file_sha256(TRAIN_ROWS),
        "eval_rows_sha256": file_sha256(asked_rows),
        "rows_in_file": 2400,
        "rows_planned": 2400,
        "truncated_rows": 0,
        "duplicate_rows": repeats.duplicates,
        "contradicting_rows": repeats.contradictions,
        "unread_rows": 0,
        "longest_row_tokens": 90,
        "longest_prompt_tokens": 80,
        "padded_tokens": STEPS * step.padded_tokens,
        "real_tokens": STEPS * step.real_tokens,
        "supervised_tokens": STEPS * step.supervised_tokens,
        "forms": count_forms(
            [row.answer for row in answered], [row["expected_answer"] for row in asked]
        ),
    }
    return LintRecord(**{**values, **changes})


def process_record(**changes: object) -> ProcessRecord:
    """Give how a child ends that ends well."""
    values: dict[str, object] = {
        "command": child_command("train", "/runs/rehearsal-1"),
        "exit_status": 0,
        "duration_s": 40.0,
        "peak_bytes": 10**9,
        "ended_by_parent": "no",
        "oom_kills": 0,
        "last_phase": "read back",
        "steps_seen": STEPS,
        "variables": ("HF_HUB_OFFLINE", "JAX_PLATFORMS", "XLA_FLAGS"),
        "xla_flags": ("--xla_disable_hlo_passes=while-loop-invariant-code-motion",),
    }
    return ProcessRecord(**{**values, **changes})


def child_command(*words: str) -> tuple[str, ...]:
    """Return how a child of training is started: isolated, with m43's code from its parent."""
    isolated = ("-I", "-S", "-u", "-B", "-c", "the first words", "/repository")
    return ("/venv/bin/python", *isolated, TRAINING, *words)


def imported_record(**changes: object) -> ImportedRecord:
    """Return what the child of a good run ran: two modules of m43 and one of each package."""
    own = [line for line in code_listing().splitlines() if line.endswith("/__init__.py")][:2]
    values: dict[str, object] = {
        "bytecode": "as found",
        "files": (
            *own,
            *(f"{digest(name)}  site-packages/{name}/__init__.py" for name in sorted(INSTALLED)),
        ),
        "distributions": {f"{name} {version}": 1 for name, version in sorted(INSTALLED.items())},
        "altered": (),
        "unrecorded": (),
        "changed": (),
        "startup": (),
        "passed_over": ("site-packages/distutils-precedence.pth",),
    }
    return ImportedRecord(**{**values, **changes})


def child_ended(
    name: str, phase: str, count: int, run: str = "rehearsal-1", **changes: object
) -> ProcessRecord:
    """Return how the child of a gate ended, in a phase and after so many steps, rows or bytes."""
    commands = {
        "download": ("python", "-m", "m43.harness.gates.hub_child", "fetch", "request.json"),
        "train": child_command("train", f"/runs/{run}"),
        "eval": child_command("evaluate", f"/runs/{run}"),
    }
    values: dict[str, object] = {
        "command": commands[name], "last_phase": phase, "steps_seen": count
    }  # fmt: skip
    if name == "download":
        values |= {"variables": ("HF_ENDPOINT", "HF_TOKEN"), "xla_flags": ()}
    return process_record(**{**values, **changes})


def heartbeat(phase: str, done: int, total: int, **changes: object) -> Heartbeat:
    """Return where a child was last."""
    values = {"loss_nats": 0.0, "tokens_per_s": 0.0, "beat": 30}
    return Heartbeat(phase=phase, done=done, total=total, **{**values, **changes})  # type: ignore[arg-type]


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
        base_output=f" {base}",
        tuned_output=f" {tuned}",
        base_answer=base,
        tuned_answer=tuned,
        base_correct=base_correct,
        tuned_correct=tuned_correct,
        in_training_text=trained_prompts().has_text(row["prompt"]),
        in_training_template=trained_prompts().has_template(row["prompt"]),
    )


@cache
def trained_prompts() -> KnownPrompts:
    """Give the prompts of the bundled training rows."""
    lines = TRAIN_ROWS.read_text(encoding="utf-8").splitlines()
    return KnownPrompts.of(json.loads(line)["prompt"] for line in lines)


def evaluation_record(**changes: object) -> EvaluationRecord:
    """Give the evaluation record of a good run."""
    values: dict[str, object] = {
        "device": DEVICE,
        "devices": 1,
        "base_weights_sha256": BASE_SHA256,
        "model_sha256": MODEL_SHA256,
        "eval_rows_sha256": file_sha256(EVAL_ROWS),
        "rows_in_file": ROWS,
        "decoding": Decoding(
            stop_ids=(1,),
            stop_text="\n",
            stop_text_ids=(7,),
            max_new_tokens=24,
            precision="float32",
        ),
        "train_rows_sha256": file_sha256(TRAIN_ROWS),
        "generated_tokens": 1234,
        "phases": (
            Phase(name="decode base model", duration_s=3.0),
            Phase(name="decode tuned model", duration_s=2.0),
            Phase(name="score", duration_s=0.0),
        ),
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
        "model_sha256": MODEL_SHA256,
        "foreign_code": (),
        "judging_files": 412,
        "altered": (),
        "unrecorded": (),
        "documents": ("failure_analysis.md",),
        "m42": M42_FILES,
    }
    return ClosingRecord(**{**values, **changes})
