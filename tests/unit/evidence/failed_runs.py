"""Failed runs, one for each failure class; long because one table shows that none is missing.

Each is a run that could have happened; `possible_run.py` holds it against that. What needs a card
or the real hub is a production run, what a toy can meet is a rehearsal.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from m43 import typed_json
from m43.errors import FailureClass as F
from m43.errors import Problem
from m43.files import file_sha256
from m43.records.hub_record import HubResponse, HubStep
from m43.records.numerics_record import NumericsRecord
from m43.records.profile import LaunchTable, MeshTable, Profile
from m43.records.run_dir import RunDir, write_record
from m43.rows import scoring
from m43.rows.rows import read_rows
from tests.unit.evidence import good_run, left_behind, on_a_card
from tests.unit.evidence.failing import Failure
from tests.unit.evidence.good_plan import plan_record, training_plan
from tests.unit.evidence.good_records import (
    EVAL_ROWS,
    FILES,
    TRAIN_ROWS,
    child_command,
    child_ended,
    closing_record,
    digest,
    evaluation_record,
    heartbeat,
    hub_response,
    numerics_record,
    predictions,
    profile_of,
    step_numerics,
    venv_record,
)
from tests.unit.evidence.left_behind import (
    ENDED,
    GONE,
    STOPPED_AT,
    Write,
    auth,
    error,
    evaluated,
    nothing,
    steps_to,
    trained,
)


def in_production(folder: Path) -> Profile:
    """Return the locked decisions."""
    return on_a_card.production()


def wrong_steps() -> NumericsRecord:
    """Return what a device measures whose local layers see one token too many."""
    gradient = {"gradient_relative_error": 0.41, "gradient_worst": "layers.attention.key.weight"}
    first, second = step_numerics("gemma2").reference_losses_nats
    losses = (1.007 * first, 1.011 * second)
    of_gemma2 = step_numerics("gemma2", losses_nats=losses, **gradient)
    steps = (step_numerics("gemma"), of_gemma2, step_numerics("gemma3_text"))
    return numerics_record(steps=steps)


def own_rows(folder: Path) -> Profile:
    """Return a rehearsal with training rows of one's own, the seventh of which is broken."""
    lines = TRAIN_ROWS.read_text(encoding="utf-8").splitlines()
    lines[6] = '{"id": "train-0007", "prompt": "What is'
    path = folder / "own_rows.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return replace(profile_of(), data=replace(profile_of().data, train=path))


def bad_rows(run: RunDir) -> None:
    """Leave a training that refused its rows."""
    problems = map(str, read_rows(run.read_profile().data.train).problems)
    trained(None, "rows", error(F.DATA_INVALID, 0, *problems))(run)


def short_questions(folder: Path) -> Profile:
    """Return a rehearsal whose evaluation file lacks the last of the hundred rows."""
    lines = EVAL_ROWS.read_text(encoding="utf-8").splitlines()[:-1]
    path = folder / "own_questions.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return replace(profile_of(), data=replace(profile_of().data, evaluation=path))


def short_evaluation(run: RunDir) -> None:
    """Leave an evaluation that answered every row of a file of 99."""
    good_run.write_gate_files(run, "eval")
    rows = predictions()[:-1]
    run.predictions.write_text("".join(typed_json.dump_line(row) for row in rows))
    write_record(run.results, scoring.tally(rows))
    sha256 = file_sha256(run.read_profile().data.evaluation)
    write_record(run.evaluation, evaluation_record(rows_in_file=99, eval_rows_sha256=sha256))
    write_record(run.process("eval"), child_ended("eval", "score", 99))
    write_record(run.heartbeat("eval"), heartbeat("score", 99, 99))
    run.log("eval").write_text(good_run.phase_lines(evaluation_record().phases))


def another_model(run: RunDir) -> None:
    """Leave the plan of Gemma 3 270M, which was served under another name."""
    planned = training_plan(architecture="Gemma3ForCausalLM", parameters=268_098_176)
    left_behind.environment(run, venv_record(), plan_record(training=planned))


def edited_profile(run: RunDir) -> None:
    """Leave a training that was given another profile than the run was opened with."""
    profile = run.read_profile()
    warmed = replace(profile.training, warmup_steps=400)
    write_record(run.profile, replace(profile, training=warmed))
    words = (
        "optimizer.warmup_steps: found 400, expected 0 to total_steps; correct the training table "
        "of the profile"
    )
    trained(None, "read weights", error(F.PROFILE_INVALID, 0, words))(run)


def changed(**closing: object) -> Write:
    """Leave a closing record in which something is not as it was."""
    return lambda run: write_record(run.closing, closing_record(**closing))


def at_auth(write: Write) -> Failure:
    """Return a failure at the auth gate of a production run."""
    return Failure(gate="auth", write=write, profile=in_production)


def at_venv(write: Write) -> Failure:
    """Return a failure at the venv gate of a production run."""
    return Failure(gate="venv", write=write, profile=in_production)


def unreachable(words: str) -> Failure:
    """Return the failure of a hub of which the first question learns nothing."""
    return at_auth(auth("whoami", 0, words))


def in_training(write: Write, problem: Problem | None = None) -> Failure:
    """Return a failure in which gate 3 of a rehearsal stops."""
    return Failure(gate="train-300", how="stopped", write=write, problem=problem)


def of_two(folder: Path) -> Profile:
    """Return a rehearsal by two processes, which mpirun starts."""
    profile = profile_of()
    contract = replace(profile.contract, devices=2, processes=2)
    launch = LaunchTable(command=("mpirun", "-n", "2"))
    return replace(profile, contract=contract, mesh=MeshTable(fsdp=2), launch=launch)


def by_two(failure_class: F, steps: int | None, phase: str, *problems: str) -> Failure:
    """Return a failure of a training by two processes, as m43 puts their records together."""
    ended = trained(
        None if steps is None else steps_to(steps),
        phase,
        error(failure_class, steps or 0, *problems),
        command=("mpirun", "-n", "2", *child_command("train", "/runs/rehearsal-1")),
        exit_status=137 if failure_class is F.PROCESS_LOST else 3,
    )
    return Failure(gate="train-300", how="stopped", write=ended, profile=of_two)


def on_the_card(write: Write) -> Failure:
    """Return a failure in which gate 3 of a production run stops, beside the promised card."""
    return Failure(
        gate="train-300", how="stopped", write=on_a_card.beside_it(write), profile=in_production
    )


def refusing(status: int, words: str) -> tuple[HubResponse, ...]:
    """Return the answers of a hub that refuses every question after the first alike."""
    steps: tuple[HubStep, ...] = ("auth_check", "revision", "weights_head")
    return tuple(hub_response(step, status, words) for step in steps)


_GATED = "GatedRepoError: 403 Client Error. Access to model google/gemma-2b is restricted."
_NARROW = "HfHubHTTPError: 403 Forbidden: enable access to public gated repositories."
_NO_REVISION = "RevisionNotFoundError: 404 Client Error. Revision Not Found."
_BUSY = "HfHubHTTPError: 503 Server Error: Service Unavailable."
_PORTAL = "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"
_KEPT = "look at the network; then a new run: files that had arrived whole are kept"


def _granted(*steps: HubStep) -> tuple[HubResponse, ...]:
    return tuple(hub_response(step, 200, "") for step in steps)


FAILURES: Mapping[F, Failure] = {
    F.NO_TOKEN: at_auth(left_behind.no_token),
    F.TOKEN_MALFORMED: at_auth(left_behind.malformed_token),
    F.TOKEN_REFUSED: at_auth(
        auth("whoami", 401, "HfHubHTTPError: 401 Client Error: Unauthorized.")
    ),
    F.LICENCE_NOT_ACCEPTED: at_auth(
        auth(
            *("auth_check", 403, _GATED),
            *(*_granted("revision"), hub_response("weights_head", 403, _GATED)),
        )
    ),
    F.TOKEN_WITHOUT_GATED_ACCESS: at_auth(
        auth(
            *("auth_check", 403, _NARROW),
            *(*_granted("revision"), hub_response("weights_head", 403, _NARROW)),
        )
    ),
    F.WRONG_REVISION: at_auth(
        auth(*("revision", 404, _NO_REVISION), hub_response("weights_head", 404, _NO_REVISION))
    ),
    F.FILES_MISSING: at_auth(left_behind.files_missing),
    F.HUB_UNREACHABLE: unreachable("ConnectError: [Errno 113] No route to host"),
    F.NAME_NOT_RESOLVED: unreachable("gaierror: [Errno -2] Name or service not known"),
    F.CERTIFICATE_NOT_TRUSTED: unreachable(
        "SSLCertVerificationError: certificate verify failed: certificate has expired"
    ),
    F.PROXY_FAILED: at_auth(left_behind.proxy_failed),
    F.OFFLINE_MODE: at_auth(left_behind.offline),
    F.NOT_THE_HUB: at_auth(
        auth(
            *("whoami", 200, _PORTAL),
            *_granted("auth_check"),
            hub_response("revision", 200, _PORTAL),
            hub_response("weights_head", 200, "FileMetadataError: no ETag in the answer"),
        )
    ),
    F.HUB_CLIENT_FAILED: unreachable("TypeError: 'NoneType' object is not subscriptable"),
    F.CONNECTION_LOST: in_training(
        left_behind.cut_download,
        problem=Problem(
            found="RemoteProtocolError: peer closed connection without sending complete message",
            expected=f"{FILES[-1].name} of m43/toy-gemma",
            where="127.0.0.1",
            action=_KEPT,
        ),
    ),
    F.TRANSFER_STALLED: in_training(
        left_behind.stalled_download,
        problem=Problem(
            found="ended by m43 for standing still, after 184 s; in 'download model.safetensors', "
            "427,117 of 1,281,352 bytes had arrived",
            expected="the pinned files, whole",
            where="http://127.0.0.1:8080, by http",
            action=_KEPT,
        ),
    ),
    F.CACHE_UNUSABLE: in_training(
        left_behind.refused_cache,
        problem=Problem(
            found="PermissionError: [Errno 13] Permission denied: '/cache/models--m43--toy-gemma'",
            expected="generation_config.json of m43/toy-gemma",
            where="/cache",
            action="look at the owner and the rights of the Hugging Face cache (HF_HOME); then a "
            "new run",
        ),
    ),
    F.RATE_LIMITED: at_auth(
        auth("whoami", 429, "HfHubHTTPError: 429 Client Error: Too Many Requests.")
    ),
    F.HUB_ERROR: at_auth(auth("whoami", 503, _BUSY, *refusing(503, _BUSY))),
    F.WRONG_MODEL: at_auth(left_behind.another_model_at_the_hub),
    F.NO_VENV: Failure(
        gate="venv",
        how="stopped",
        write=nothing,
        problem=Problem(
            found="no folder",
            expected="the virtual environment that trains",
            where=on_a_card.VENV,
            action="make it yourself, with m43's extra cuda12 or cuda13, or correct [venv] path; "
            "m43 installs nothing",
        ),
        profile=in_production,
    ),
    F.BROKEN_VENV: at_venv(
        on_a_card.card(
            on_a_card.cardless_probe(
                on_a_card.DRIVER,
                "ImportError: jaxlib/_jax.so: undefined symbol: PyObject_GetOptionalAttr",
            )
        )
    ),
    F.PACKAGE_MISMATCH: at_venv(on_a_card.old_package),
    F.OTHER_CODE: at_venv(
        on_a_card.card(on_a_card.card_probe(), altered=("site-packages/flax/a.py",))
    ),
    F.WRONG_DEVICE: at_venv(on_a_card.card(on_a_card.cardless_probe("none"))),
    F.CARD_UNKNOWN: at_venv(on_a_card.unknown_card),
    F.DRIVER_TOO_OLD: at_venv(on_a_card.card(on_a_card.cardless_probe("535.104.05"))),
    F.CUDA_LIBRARIES: at_venv(
        on_a_card.card(
            on_a_card.cardless_probe(
                on_a_card.DRIVER,
                "RuntimeError: Unable to use CUDA because of the following issues with CUDA "
                "components: Outdated cuDNN installation found. Version JAX was built against: "
                "91801 Minimum supported: 91000 Installed version: 8907",
            )
        )
    ),
    F.WSL_LIBRARIES: at_venv(
        on_a_card.card(
            replace(on_a_card.cardless_probe("none"), release="5.15.167.4-microsoft-standard-WSL2")
        )
    ),
    F.CARD_BUSY: at_venv(on_a_card.busy_card("default")),
    F.COMPUTE_MODE: at_venv(on_a_card.busy_card("exclusive process")),
    F.NATIVE_WINDOWS: Failure(
        gate="venv",
        how="stopped",
        write=nothing,
        problem=Problem(
            found="native Windows",
            expected="Linux, or Linux inside WSL2",
            where="the machine that runs pytest",
            action="run it in WSL2: JAX has no CUDA wheels for native Windows",
        ),
        profile=in_production,
    ),
    F.NUMERIC_CANARY: at_venv(on_a_card.card(on_a_card.card_probe(numerics=wrong_steps()))),
    F.PLAN_DOES_NOT_FIT: at_venv(on_a_card.taken_card),
    F.PROFILE_INVALID: Failure(
        gate="train-300",
        how="stopped",
        write=edited_profile,
        verified="training.warmup_steps: 400 instead of 20",
    ),
    F.DOWNLOAD_CORRUPT: in_training(
        left_behind.corrupt_download,
        problem=Problem(
            found=f"{FILES[-1].name}: {FILES[-1].size_bytes} bytes, sha256 {digest('others')}",
            expected=f"{FILES[-1].name}: {FILES[-1].size_bytes} bytes, {FILES[-1].digest}",
            where=f"/cache/models--m43--toy-gemma/snapshots/bc5f/{FILES[-1].name}",
            action="remove these files, and the blobs that they link to, from the cache yourself; "
            "then a new run",
        ),
    ),
    F.DATA_INVALID: Failure(gate="train-300", how="stopped", write=bad_rows, profile=own_rows),
    F.MODEL_INVALID: in_training(
        trained(
            None,
            "rows",
            error(
                F.MODEL_INVALID,
                0,
                "/runs/one/.base_model/tokenizer.json: found no token <bos>, expected the tokens "
                "that config.json names; fetch the pinned revision again",
            ),
        )
    ),
    F.OUT_OF_DEVICE_MEMORY: in_training(
        trained(
            (),
            "train",
            error(
                F.OUT_OF_DEVICE_MEMORY,
                0,
                "JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 5368709120 bytes.",
            ),
        )
    ),
    F.OUT_OF_MEMORY_COMPILING: on_the_card(
        trained(
            None,
            "compile 512 tokens",
            error(
                F.OUT_OF_DEVICE_MEMORY,
                0,
                "JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate "
                "2.50GiB.",
            ),
            kernel_log="",
        )
    ),
    F.MEMORY_TAKEN: on_the_card(
        trained(
            None,
            "device",
            error(
                F.MEMORY_TAKEN,
                0,
                "gpu:NVIDIA GeForce RTX 5090: found 18.90 GiB, which is all that JAX got, expected "
                "22.77 GiB or more, of the 28.70 GiB that were free when the run was planned; look "
                "with nvidia-smi at what else is on the card, and end it",
            ),
            kernel_log="Operation not permitted (/dev/kmsg)",
        )
    ),
    F.AUTOTUNER_FAILED: on_the_card(
        trained(
            None,
            "compile 512 tokens",
            error(
                F.HARNESS_ERROR,
                0,
                "JaxRuntimeError: INTERNAL: Autotuning failed for HLO: %loop_reduce_fusion = f32[] "
                "fusion(), kind=kLoop with error: NOT_FOUND: No valid config found!",
            ),
            kernel_log="",
        )
    ),
    F.CARD_FAULT: on_the_card(
        trained(
            steps_to(STOPPED_AT),
            "train",
            error(
                F.HARNESS_ERROR,
                STOPPED_AT,
                "JaxRuntimeError: INTERNAL: Failed to launch CUDA kernel: fusion_1560: "
                "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered",
            ),
            kernel_log="",
            card_lines=(
                "NVRM: Xid (PCI:0000:01:00): 31, pid=4711, name=python, Ch 00000008, MMU Fault",
            ),
        )
    ),
    F.CARD_LOST: on_the_card(
        trained(
            steps_to(STOPPED_AT),
            "train",
            **ENDED,
            ended_by_parent="silence",
            duration_s=812.3,
            kernel_log="",
            card_lines=(
                "NVRM: Xid (PCI:0000:01:00): 79, pid=4711, name=python, GPU has fallen off the "
                "bus.",
            ),
        )
    ),
    F.OUT_OF_HOST_MEMORY: in_training(
        left_behind.child("train", **GONE, oom_kills=1, peak_bytes=15 * 10**9)
    ),
    F.KILLED: in_training(left_behind.child("train", **GONE)),
    F.NON_FINITE_LOSS: in_training(left_behind.not_finite),
    F.DIVERGED: in_training(left_behind.diverged),
    F.PROCESSES_MISSING: by_two(
        F.PROCESSES_MISSING,
        None,
        "meet",
        "without a record of their end: process 1; the launcher ended with exit status 3",
        "process 0: mpirun -n 2: found process 0 of 2 alone, or not with all, after 120 s, "
        "expected all of them at 10.0.0.1:62115; look whether the launcher started all, and "
        "whether that port is free and reached from every host; launch.meet_s is their time",
    ),
    F.PROCESS_LOST: by_two(
        F.PROCESS_LOST,
        STOPPED_AT,
        "train",
        "without a record of their end: process 1; the launcher ended with exit status 137, as of "
        "a process that signal 9 ended",
        "process 0: JaxRuntimeError: UNKNOWN: Gloo all-reduce failed: Connection reset by peer",
    ),
    F.PROCESSES_DISAGREE: by_two(
        F.PROCESSES_DISAGREE,
        None,
        "rows",
        "process 0 of 2: train_rows_sha256: found process 0: 3f2a91; process 1: 77b0c4, expected "
        "one and the same in all processes; let every host see the same run folder, checkout, "
        "environment and rows",
    ),
    F.TIMED_OUT: in_training(
        trained(
            steps_to(STOPPED_AT, 6.4),
            "train",
            **ENDED,
            ended_by_parent="deadline",
            duration_s=900.6,
        )
    ),
    F.HUNG: in_training(
        left_behind.child("train", **ENDED, ended_by_parent="silence", duration_s=203.4)
    ),
    F.DISK_FULL: in_training(
        trained(
            steps_to(300),
            "save",
            error(F.DISK_FULL, 300, "OSError: [Errno 28] No space left on device"),
        )
    ),
    F.NOT_WRITABLE: Failure(
        gate="train-300",
        how="cut off",
        write=nothing,
        problem=Problem(
            found="OSError: [Errno 30] Read-only file system: 'failure_analysis.md'",
            expected="a gate that measures and ends",
            where="write_atomically (run_dir.py:262)",
            action="make the run folder's file system writable; then a new run",
        ),
    ),
    F.PROCESS_LIMIT: Failure(
        gate="train-300",
        how="stopped",
        write=nothing,
        problem=Problem(
            found="BlockingIOError: [Errno 11] Resource temporarily unavailable",
            expected="a gate that measures and ends",
            where="_execute_child (subprocess.py:1901)",
            action="allow more processes (ulimit -u, pids.max of the container); then a new run",
        ),
    ),
    F.INTERRUPTED: Failure(
        gate="train-300",
        how="interrupted",
        write=left_behind.child("train", **ENDED, ended_by_parent="interrupt"),
    ),
    F.PROMISE_BROKEN: Failure(gate="train-300", write=left_behind.unmoved),
    F.EVALUATION_INCOMPLETE: Failure(gate="eval", write=short_evaluation, profile=short_questions),
    F.ENVIRONMENT_CHANGED: Failure(
        gate="closing",
        write=changed(packages_sha256=digest("other packages"), changed_packages=("optax",)),
    ),
    F.TREE_CHANGED: Failure(
        gate="closing",
        write=changed(tree_sha256=digest("another tree"), changed_paths=("README.md",)),
    ),
    F.HARNESS_ERROR: Failure(
        gate="eval",
        how="stopped",
        write=evaluated(100, "score", error(F.HARNESS_ERROR, 100, "KeyError: 'section'")),
    ),
}
