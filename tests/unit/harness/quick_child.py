"""The quick child: stands where m43.training stands and writes what it would write, at once.

It trains nothing. What the harness, the contract and the documents do with a child can so be
tested in seconds; what a child does is tested with the real one.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from m43 import typed_json
from m43.errors import FailureClass
from m43.gemma_families import ARCHITECTURES
from m43.records.evaluation_record import Decoding, EvaluationRecord, LintRecord, Prediction
from m43.records.hub_record import DownloadRecord
from m43.records.numerics_record import NumericsRecord, StepNumerics
from m43.records.plan_record import (
    Alternative,
    Limits,
    PartFlops,
    PlanRequest,
    StepPlan,
    TrainingPlan,
)
from m43.records.profile import Profile
from m43.records.run_dir import RunDir, read_record, write_atomically, write_record
from m43.records.run_records import (
    ChildError,
    Heartbeat,
    Origins,
    Phase,
    StepMetrics,
    TrainingProcess,
    TrainRecord,
    steps_sha256,
)
from m43.records.venv_record import Device, Package, ProbeRecord
from m43.rows import scoring
from m43.rows.overlap import Answered, KnownPrompts, count_forms, count_repeats

HOW = Path(__file__).with_name("misbehaviour")


def main(arguments: Sequence[str]) -> int:
    """Do what the real child's command line does."""
    how = HOW.read_text() if HOW.exists() else ""
    job, *rest = arguments
    if job == "probe":
        return probe(how)
    if job == "plan":
        return plan(read_record(Path(rest[0]), PlanRequest), how)
    run = RunDir(Path(rest[0]))
    # A module that no wheel brought, as one that lies at the root of the checkout.
    stray = (str(Path("conftest.py").absolute()),) if how == f"stray {job}" else ()
    write_record(run.origins, origins(*stray))
    return train(run, how) if job == "train" else evaluate(run, how)


def origins(*modules: str) -> Origins:
    """Name the m43 that was handed over, and a module of Python's."""
    own = getattr(sys.meta_path[0], "digests", {})
    return Origins(
        own=tuple(f"{digest}  {name}" for name, digest in sorted(own.items())),
        modules=(json.__file__, *modules),
        libraries=(),
        standard=sysconfig.get_path("stdlib"),
        startup=(),
    )


def probe(how: str) -> int:
    """Report this interpreter, with a device that is claimed."""
    purelib = sysconfig.get_paths()["purelib"]
    distributions = metadata.distributions(path=[purelib])
    packages = {item.metadata["Name"]: item.version for item in distributions}
    if how == "package missing":
        del packages["optax"]
    sys.stdout.write("a line that is not the report\n")
    sys.stdout.write(typed_json.dump_line(origins()))
    report = ProbeRecord(
        executable=sys.executable,
        prefix=sys.prefix,
        python_version=platform.python_version(),
        system=platform.system(),
        release=platform.release(),
        packages=tuple(Package(name=name, version=packages[name]) for name in sorted(packages)),
        site_packages=(purelib,),
        import_error="",
        devices=(Device(platform="cpu", kind="cpu", memory_bytes=1),),
        default_device="cpu:cpu",
        numerics=NumericsRecord(
            product_relative_error=0.0,
            softmax_relative_error=0.0,
            operation_relative_error=0.0,
            operation_worst="sqrt(512)",
            steps=tuple(map(small_steps, ARCHITECTURES)),
            duration_s=0.1,
        ),
        driver_version="none",
        host_memory_bytes=1,
        disk_free_bytes=2**40,
    )
    sys.stdout.write(typed_json.dump_line(report))
    return 0


def small_steps(family: str) -> StepNumerics:
    """Claim two right optimizer steps of a family."""
    return StepNumerics(
        family=family,
        optimizer="adamw",
        losses_nats=(2.0, 1.0),
        reference_losses_nats=(2.0, 1.0),
        gradient_relative_error=0.0,
        gradient_worst="embedding",
        update_relative_error=0.0,
        update_worst="embedding",
    )


def plan(request: PlanRequest, how: str) -> int:
    """Plan what the profile says, with round numbers; too much of it on request."""
    training, contract = request.profile.training, request.profile.contract
    memory_bytes = 1 if how == "plan does not fit" else 10**12
    step = StepPlan(
        rows=training.batch_rows,
        length=training.sequence_tokens,
        arguments_bytes=1,
        outputs_bytes=1,
        aliased_bytes=1,
        temporaries_bytes=1,
        float32_products=0,
        bfloat16_products=1,
        logits_rows=1,
        flops=(PartFlops(part="head", flops=1000),),
        state_bytes_moved=1,
        buffers=(),
    )
    limits = Limits(
        device="cpu:cpu",
        memory_bytes=memory_bytes,
        flops_per_s=1e9,
        bytes_per_s=1e9,
        sustained_share=0.5,
        source="made up",
    )
    planned = TrainingPlan(
        limits=limits,
        architecture="Gemma3ForCausalLM" if how == "another model" else contract.architecture,
        parameters=contract.parameters,
        trained_parameters=contract.parameters,
        step=step,
        process_bytes=1,
        read_back_bytes=1,
        model_bytes=14,
        adapter_bytes=0,
        steps=300,
        rows_in_file=2400,
        rows_used=2400,
        alternatives=(Alternative(settings=("training.remat = true",), peak_bytes=1),),
    )
    sys.stdout.write(typed_json.dump_line(planned))
    return 0


def tarry(run: RunDir, how: str) -> None:
    """Train for a while, if that is wished."""
    if how.startswith("until "):
        # As long as the test looks on, however slow it is; a minute at most.
        enough = Path(how.removeprefix("until "))
        for done in range(300):
            loss = 3.0 * 0.98**done
            beat(run, "train", "train", done, total=300, loss_nats=loss, host_bytes=2 * 10**9)
            if enough.exists():
                break
            time.sleep(0.2)
    if how == "silent":
        time.sleep(7.0)
    if how == "hang":
        # A grandchild of the same group, which must not outlive the run either.
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
        time.sleep(300)


def train(run: RunDir, how: str) -> int:
    """Write a training that went well, or the wished failure."""
    profile = run.read_profile()
    folder = read_record(run.download, DownloadRecord).folder
    beat(run, "train", "train", 300)
    tarry(run, how)
    if how.startswith("talk "):
        # What a library may print, byte by byte, and what it may say at the end.
        said = bytes.fromhex(how.removeprefix("talk "))
        for stream in (sys.stdout.buffer, sys.stderr.buffer):
            stream.write(said)
            stream.flush()
        text = said.decode(errors="replace")
        error = ChildError(failure_class=FailureClass.HARNESS_ERROR, problems=(text,), step=7)
        write_record(run.error("train"), error)
        return 3
    if how == "non-finite":
        error = ChildError(
            failure_class=FailureClass.NON_FINITE_LOSS, problems=("loss nan",), step=7
        )
        write_record(run.error("train"), error)
        return 3
    if how == "exchange train":
        exchange(folder)
    if how == "touch":
        Path("acceptance", "left-behind.txt").write_text("by the child")
    steps = [step(number) for number in range(1, 301 - (how == "299"))]
    write_atomically(run.metrics, "".join(map(typed_json.dump_line, steps)).encode())
    run.model.mkdir()
    (run.model / "model.safetensors").write_bytes(b"trained")
    write_atomically(run.model / "config.json", (folder / "config.json").read_bytes())
    alone = TrainingProcess(
        process=0,
        host="host",
        devices=("0 cpu:cpu",),
        profile_sha256=sha256(run.profile),
        code_sha256=getattr(sys.meta_path[0], "sha256", ""),
        packages_sha256="0" * 64,
        train_rows_sha256=sha256(profile.data.train),
        base_weights_sha256=weights(folder),
        steps_sha256=steps_sha256(steps),
        reloaded_sha256=weights(run.model),
        optimizer_steps=300,
        peak_host_bytes=1,
    )
    record = TrainRecord(
        backend="jax",
        device="cpu:cpu",
        devices=1,
        mesh=profile.mesh,
        jax_version="0",
        flax_version="0",
        repo_config_sha256=sha256(folder / "config.json"),
        base_weights_sha256=weights(folder),
        weights_dtypes=("BF16",),
        model_sha256=weights(run.model),
        reloaded_sha256=weights(run.model),
        method="full",
        architecture=profile.contract.architecture,
        parameters=profile.contract.parameters,
        trained_parameters=profile.contract.parameters,
        parameters_moved=7,
        optimizer_steps=300,
        processes=(alone,),
        train_rows_sha256=sha256(profile.data.train),
        rows_in_file=2400,
        rows_used=2400,
        epochs=1.0,
        phases=(Phase(name="train", duration_s=0.1),),
        peak_host_bytes=1,
        peak_device_bytes=0,
    )
    write_record(run.lint, lint(profile, steps))
    write_record(run.train, record)
    return 0


def lint(profile: Profile, steps: list[StepMetrics]) -> LintRecord:
    """Count the rows and the made-up steps."""
    rows, questions = (
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in (profile.data.train, profile.data.evaluation)
    )
    answered = [Answered(prompt=row["prompt"], answer=row["final_answer"]) for row in rows]
    repeats = count_repeats(answered)
    return LintRecord(
        train_rows_sha256=sha256(profile.data.train),
        eval_rows_sha256=sha256(profile.data.evaluation),
        rows_in_file=2400,
        rows_planned=2400,
        truncated_rows=0,
        duplicate_rows=repeats.duplicates,
        contradicting_rows=repeats.contradictions,
        unread_rows=0,
        longest_row_tokens=9,
        longest_prompt_tokens=8,
        padded_tokens=sum(each.padded_tokens for each in steps),
        real_tokens=sum(each.real_tokens for each in steps),
        supervised_tokens=sum(each.supervised_tokens for each in steps),
        forms=count_forms(
            [row.answer for row in answered], [row["expected_answer"] for row in questions]
        ),
    )


def exchange(folder: Path) -> None:
    """Write other weights where the base model lies, and put the right ones back with their time.

    What a child reads in between is the right ones as well: only that they were written to shows.
    """
    path = next(folder.glob("*.safetensors"))
    data, status = path.read_bytes(), path.stat()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def evaluate(run: RunDir, how: str) -> int:
    """Write an evaluation of every row, or of one less."""
    profile = run.read_profile()
    if how == "exchange evaluate":
        exchange(read_record(run.download, DownloadRecord).folder)
    lines = profile.data.evaluation.read_text().splitlines()
    rows = [json.loads(line) for line in lines[: 99 if how == "99 rows" else 100]]
    trained = KnownPrompts.of(
        json.loads(line)["prompt"] for line in profile.data.train.read_text().splitlines()
    )
    predictions = [
        Prediction(
            id=row["id"],
            section=row["section"],
            category=row["category"],
            difficulty=row["difficulty"],
            prompt=row["prompt"],
            expected=row["expected_answer"],
            base_output="",
            tuned_output=row["expected_answer"],
            base_answer="",
            tuned_answer=row["expected_answer"],
            base_correct=False,
            tuned_correct=True,
            in_training_text=trained.has_text(row["prompt"]),
            in_training_template=trained.has_template(row["prompt"]),
        )
        for row in rows
    ]
    write_atomically(run.predictions, "".join(map(typed_json.dump_line, predictions)).encode())
    write_record(run.results, scoring.tally(predictions))
    beat(run, "eval", "decode", len(rows))
    training = read_record(run.train, TrainRecord)
    record = EvaluationRecord(
        device="cpu:cpu",
        devices=1,
        base_weights_sha256=training.base_weights_sha256,
        model_sha256=weights(run.model),
        eval_rows_sha256=sha256(profile.data.evaluation),
        rows_in_file=len(lines),
        decoding=Decoding(
            stop_ids=(1,), stop_text="\n", stop_text_ids=(), max_new_tokens=24, precision="float32"
        ),
        train_rows_sha256=sha256(profile.data.train),
        generated_tokens=1,
        phases=(Phase(name="decode", duration_s=0.1),),
        peak_host_bytes=1,
    )
    write_record(run.evaluation, record)
    return 0


def beat(run: RunDir, child: str, phase: str, done: int, **more: float) -> None:
    """Say once where the child is."""
    values = {"total": done, "loss_nats": 1.0, "tokens_per_s": 1.0, "beat": done + 1, **more}
    write_record(run.heartbeat(child), Heartbeat(phase=phase, done=done, **values))


def step(number: int) -> StepMetrics:
    """Make up a step."""
    return StepMetrics(
        step=number,
        loss_nats=8.0 / number,
        learning_rate=0.001,
        gradient_norm=1.0,
        padded_tokens=64,
        real_tokens=32,
        supervised_tokens=8,
        duration_s=0.01,
    )


def sha256(path: Path) -> str:
    """Digest a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights(folder: Path) -> str:
    """Digest a model's weights as m43 does."""
    paths = sorted(folder.glob("*.safetensors"))
    lines = "".join(f"{sha256(path)}  {path.name}\n" for path in paths)
    return hashlib.sha256(lines.encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
