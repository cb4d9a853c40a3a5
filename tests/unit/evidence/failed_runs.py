"""Failed runs: one for each failure class, as the gate leaves it at which the class is met."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from m43.errors import FailureClass as F
from m43.hub_record import HubStep
from m43.records import ChildError, Heartbeat, Package, Requirement, TrainRecord
from m43.run_dir import RunDir, read_record, write_record
from tests.unit.evidence.good_plan import plan_record, training_plan
from tests.unit.evidence.good_records import (
    auth_record,
    closing_record,
    hub_response,
    probe_record,
    process_record,
    venv_record,
)
from tests.unit.evidence.good_run import break_gate, stop_at

Write = Callable[[RunDir], None]


def auth(step: HubStep, status: int, error: str) -> Write:
    """Leave an auth record in which one answer was no."""

    def write(run: RunDir) -> None:
        responses = (hub_response(step, status, error),)
        changes = {"responses": responses, "revision": "", "files": ()}
        write_record(run.auth, auth_record(run.read_profile(), **changes))

    return write


def venv(**changes: object) -> Write:
    """Leave a venv record in which the probe saw something else."""
    return lambda run: write_record(run.venv, venv_record(probe_record(**changes)))


def child(name: str, error: F | None = None, **process: object) -> Write:
    """Leave what a child leaves that ended badly."""

    def write(run: RunDir) -> None:
        values = {"exit_status": 3, "steps_seen": 137, **process}
        write_record(run.process(name), process_record(**values))
        beat = Heartbeat(
            phase="steps", done=137, total=300, loss_nats=0.7, tokens_per_s=9.0, beat=138
        )
        write_record(run.heartbeat(name), beat)
        run.log(name).write_text("the last line of the log\n")
        if error is not None:
            problems = ("train.jsonl:7: found a hole",)
            write_record(
                run.error(name), ChildError(failure_class=error, problems=problems, step=8)
            )

    return write


def cut_download(run: RunDir) -> None:
    """Leave what a download leaves whose connection was cut."""
    left_download(run, exit_status=3)


def stalled_download(run: RunDir) -> None:
    """Leave what a download leaves that m43 had to end."""
    left_download(run, exit_status=-9, ended_by_parent="silence")


def left_download(run: RunDir, **process: object) -> None:
    """Leave the traces of a download that stopped in the middle of the weights."""
    phase = "download model.safetensors"
    beat = Heartbeat(phase=phase, done=4000, total=9000, loss_nats=0, tokens_per_s=0, beat=7)
    write_record(run.heartbeat("download"), beat)
    write_record(
        run.process("download"), process_record(steps_seen=4000, last_phase=phase, **process)
    )


GONE = {"exit_status": -9, "ended_by_parent": "no"}


def no_token(run: RunDir) -> None:
    """Leave the auth record of a shell without a token: nothing was asked."""
    changes = {"token_source": "absent", "responses": (), "files": (), "revision": ""}
    write_record(run.auth, auth_record(run.read_profile(), **changes))


def malformed_token(run: RunDir) -> None:
    """Leave the auth record of a token with a hyphen that is none."""
    flaw = "characters outside visible ASCII: 1 of 37"
    changes = {"token_flaw": flaw, "responses": (), "files": (), "revision": ""}
    write_record(run.auth, auth_record(run.read_profile(), **changes))


def old_driver(run: RunDir) -> None:
    """Leave packages of CUDA 13 over a driver that only knows CUDA 12."""
    packages = (
        Package(name="jax", version="0.10.2"),
        Package(name="jax-cuda13-plugin", version="0"),
    )
    write_record(
        run.venv, venv_record(probe_record(driver_version="535.104.05", packages=packages))
    )


def missing_package(run: RunDir) -> None:
    """Leave a requirement that nothing installed meets."""
    missing = Requirement(requirement="optax>=0.2.8,<0.3", installed="absent", satisfied=False)
    write_record(run.venv, venv_record(requirements=(missing,)))


def another_model(run: RunDir) -> None:
    """Leave the plan of Gemma 3 270M, which was served under another name."""
    planned = training_plan(architecture="Gemma3ForCausalLM", parameters=268_098_176)
    write_record(run.venv, venv_record())
    write_record(run.plan, plan_record(training=planned))


def unmoved(run: RunDir) -> None:
    """Leave a training that moved no weight."""
    write_record(run.train, replace(read_record(run.train, TrainRecord), parameters_moved=0))


def nothing(run: RunDir) -> None:
    """Leave no record."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How a class is met: a gate that stops, or one that ends and breaks a promise."""

    gate: str
    write: Write = field(repr=False)
    promise: str = ""

    def make(self, folder: Path, failure_class: F) -> RunDir:
        """Write the run."""
        if self.promise:
            return break_gate(folder, self.gate, self.promise, self.write)
        problem = {
            "found": "what was found",
            "expected": "what was expected",
            "where": "where it was",
            "action": "what to do about it",
        }
        detail = json.dumps([problem])
        return stop_at(folder, self.gate, self.write, failure_class=failure_class, detail=detail)


FAILURES: Mapping[F, Failure] = {
    F.NO_TOKEN: Failure(
        gate="auth", write=no_token, promise="test_auth_finds_the_token_in_hf_token"
    ),
    F.TOKEN_MALFORMED: Failure(
        gate="auth",
        write=malformed_token,
        promise="test_auth_is_granted_access_to_the_model",
    ),
    F.TOKEN_REFUSED: Failure(gate="auth", write=auth("whoami", 401, "HfHubHTTPError: refused")),
    F.LICENCE_NOT_ACCEPTED: Failure(
        gate="auth", write=auth("auth_check", 403, "GatedRepoError: not yet")
    ),
    F.TOKEN_WITHOUT_GATED_ACCESS: Failure(
        gate="auth", write=auth("auth_check", 403, "HfHubHTTPError: scope")
    ),
    F.WRONG_REVISION: Failure(gate="auth", write=auth("revision", 404, "RevisionNotFoundError: x")),
    F.FILES_MISSING: Failure(gate="auth", write=auth("weights_head", 404, "")),
    F.HUB_UNREACHABLE: Failure(gate="auth", write=auth("whoami", 0, "ConnectError: no route")),
    F.NAME_NOT_RESOLVED: Failure(gate="auth", write=auth("whoami", 0, "gaierror: no such name")),
    F.CERTIFICATE_NOT_TRUSTED: Failure(
        gate="auth", write=auth("whoami", 0, "SSLCertVerificationError: expired")
    ),
    F.PROXY_FAILED: Failure(gate="auth", write=auth("whoami", 0, "ProxyError: 407")),
    F.OFFLINE_MODE: Failure(gate="auth", write=auth("whoami", 0, "OfflineModeIsEnabled: set")),
    F.NOT_THE_HUB: Failure(gate="auth", write=auth("whoami", 200, "JSONDecodeError: <html>")),
    F.HUB_CLIENT_FAILED: Failure(gate="auth", write=auth("whoami", 0, "KeyError: name")),
    F.CONNECTION_LOST: Failure(gate="train-300", write=cut_download),
    F.TRANSFER_STALLED: Failure(gate="train-300", write=stalled_download),
    F.CACHE_UNUSABLE: Failure(gate="train-300", write=nothing),
    F.RATE_LIMITED: Failure(gate="auth", write=auth("whoami", 429, "")),
    F.HUB_ERROR: Failure(gate="auth", write=auth("whoami", 503, "")),
    F.WRONG_MODEL: Failure(
        gate="venv", write=another_model, promise="test_venv_plans_for_the_promised_model"
    ),
    F.NO_VENV: Failure(gate="venv", write=nothing),
    F.BROKEN_VENV: Failure(gate="venv", write=venv(import_error="ImportError: libpython")),
    F.PACKAGE_MISMATCH: Failure(gate="venv", write=missing_package),
    F.WRONG_DEVICE: Failure(gate="venv", write=venv(default_device="gpu:another card")),
    F.DRIVER_TOO_OLD: Failure(gate="venv", write=old_driver),
    F.NATIVE_WINDOWS: Failure(gate="venv", write=venv(system="Windows")),
    F.NUMERIC_CANARY: Failure(gate="venv", write=venv(product_relative_error=0.5)),
    F.PLAN_DOES_NOT_FIT: Failure(gate="venv", write=venv(disk_free_bytes=10**6)),
    F.PROFILE_INVALID: Failure(gate="auth", write=nothing),
    F.DOWNLOAD_CORRUPT: Failure(gate="train-300", write=nothing),
    F.DATA_INVALID: Failure(gate="train-300", write=child("train", F.DATA_INVALID)),
    F.MODEL_INVALID: Failure(gate="train-300", write=child("train", F.MODEL_INVALID)),
    F.OUT_OF_DEVICE_MEMORY: Failure(gate="train-300", write=child("train", F.OUT_OF_DEVICE_MEMORY)),
    F.OUT_OF_HOST_MEMORY: Failure(gate="train-300", write=child("train", **GONE, oom_kills=1)),
    F.KILLED: Failure(gate="train-300", write=child("train", **GONE)),
    F.NON_FINITE_LOSS: Failure(gate="train-300", write=child("train", F.NON_FINITE_LOSS)),
    F.DIVERGED: Failure(gate="train-300", write=child("train", F.DIVERGED)),
    F.TIMED_OUT: Failure(gate="train-300", write=child("train", ended_by_parent="deadline")),
    F.HUNG: Failure(gate="train-300", write=child("train", ended_by_parent="silence")),
    F.DISK_FULL: Failure(gate="train-300", write=child("train", F.DISK_FULL)),
    F.NOT_WRITABLE: Failure(gate="train-300", write=nothing),
    F.INTERRUPTED: Failure(gate="train-300", write=child("train", ended_by_parent="interrupt")),
    F.PROMISE_BROKEN: Failure(
        gate="train-300", write=unmoved, promise="test_train_moves_the_weights"
    ),
    F.EVALUATION_INCOMPLETE: Failure(gate="eval", write=child("eval", F.EVALUATION_INCOMPLETE)),
    F.ENVIRONMENT_CHANGED: Failure(
        gate="closing",
        write=lambda run: write_record(
            run.closing,
            closing_record(packages_sha256="00" * 32, changed_packages=("optax",)),
        ),
        promise="test_closing_finds_the_environment_unchanged",
    ),
    F.TREE_CHANGED: Failure(
        gate="closing",
        write=lambda run: write_record(
            run.closing, closing_record(tree_sha256="00" * 32, changed_paths=("README.md",))
        ),
        promise="test_closing_finds_the_working_tree_unchanged",
    ),
    F.HARNESS_ERROR: Failure(gate="eval", write=child("eval", exit_status=1)),
}
