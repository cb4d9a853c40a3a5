"""The gates: what each of them measures and writes into the run folder."""

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from m43.evidence.contract import package
from m43.evidence.journal import redact
from m43.evidence.run import (
    EvaluationFacts,
    LoadedRun,
    TrainFacts,
    devices_snapshot,
    env_snapshot,
)
from m43.evidence.verify import code, helper_environment, judging_files
from m43.harness.gates import auth, download, job, venv
from m43.harness.gates import plan as plan_gate
from m43.harness.gates.launched import origins_of_all
from m43.harness.process import Sight
from m43.harness.run import Attempt, HubAccess, audit, audit_judge, closing, code_integrity
from m43.harness.terminal import RunView
from m43.records import (
    CLOSING,
    AuthRecord,
    ClosingRecord,
    VenvRecord,
    gate_named,
    write_atomically,
    write_record,
)
from m43.text import visible

_NVIDIA_SMI = ("nvidia-smi",)
_PATIENCE_S = 20.0


def gpu_snapshot(record: VenvRecord, smi: Callable[[], str], secrets: Sequence[str]) -> str:
    """Write the devices as JAX saw them and as the driver's own tool shows them.

    It is somebody else's program, which lists what runs on the machine with its arguments.
    """
    return visible(redact(f"{devices_snapshot(record)}\n{smi().rstrip()}\n", secrets))


def nvidia_smi(command: tuple[str, ...] = _NVIDIA_SMI) -> str:
    """Ask the driver's own tool; say plainly when it is not there or does not answer."""
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env=helper_environment(os.environ),
        )
    except FileNotFoundError:
        return "There is no nvidia-smi on this machine."
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nvidia-smi did not answer: {type(error).__name__}."
    if answer.returncode != 0:
        return f"nvidia-smi ended with status {answer.returncode}: {answer.stderr.strip()}"
    return answer.stdout


def pass_auth(attempt: Attempt, hub_access: HubAccess) -> AuthRecord:
    """Do gate 1: what the hub says to the token."""

    def measure() -> None:
        record = auth.measure(hub_access, attempt.plan.profile, _watched(attempt))
        write_record(attempt.run.auth, record)

    return attempt.pass_gate("auth", measure, _record("auth"))


def pass_venv(attempt: Attempt, hub_access: HubAccess) -> VenvRecord:
    """Do gate 2: the environment that trains."""
    run, plan = attempt.run, attempt.plan

    def measure() -> None:
        compiled = venv.compiled_python(run, plan.profile)
        found = venv.measure(
            hub_access,
            plan.profile,
            plan.repository,
            _watched(attempt),
            run=run,
            compiled=compiled,
        )
        attempt.packages_before = found.packages
        attempt.site_packages = found.record.probe.site_packages
        write_atomically(run.env_snapshot, env_snapshot(found.record).encode())
        text = gpu_snapshot(found.record, nvidia_smi, attempt.secrets)
        write_atomically(run.gpu_snapshot, text.encode())
        write_record(run.venv, found.record)
        record = plan_gate.measure(
            hub_access,
            plan.profile,
            attempt.loaded.require("auth"),
            found.record,
            run_folder=run.path,
            repository=plan.repository,
            see=_watched(attempt),
        )
        write_record(run.plan, record)

    return attempt.pass_gate("venv", measure, _record("venv"))


def pass_train(attempt: Attempt, hub_access: HubAccess, view: RunView) -> TrainFacts:
    """Do gate 3: one child downloads, and another that is given no token trains."""
    run, plan = attempt.run, attempt.plan

    def measure() -> None:
        record = attempt.loaded.require("auth")
        with view.shown("train-300"):
            coming = _watched(attempt, view.download)
            write_record(
                run.download, download.fetch(run, hub_access, plan.profile, record, coming)
            )
            attempt.model_before = download.linked_states(run.base_model)
            see = _watched(attempt, view.child)
            job.run_job("train", run, hub_access, plan.profile, plan.repository, see)
            _audit(attempt, "train")

    return attempt.pass_gate("train-300", measure, _record("train-300"))


def pass_evaluation(attempt: Attempt, hub_access: HubAccess, view: RunView) -> EvaluationFacts:
    """Do gate 4: every row, base against tuned, in a child."""
    run, plan = attempt.run, attempt.plan

    def measure() -> None:
        with view.shown("eval"):
            see = _watched(attempt, view.child)
            job.run_job("eval", run, hub_access, plan.profile, plan.repository, see)
            _audit(attempt, "eval")

    return attempt.pass_gate("eval", measure, _record("eval"))


def _audit(attempt: Attempt, child: job.Name) -> None:
    """Digest what a child says that it ran, and hold it and the model it read against before."""
    run, packages = attempt.run, attempt.packages_before
    assert packages is not None, "the venv gate comes first"
    record = audit(
        origins_of_all(run, attempt.plan.profile),
        packages,
        attempt.site_packages,
        code.parse(run.code.read_text(encoding="utf-8")),
        compiled=venv.compiled_python(run, attempt.plan.profile) is not None,
    )
    write_record(run.imported(child), record)
    download.require_untouched(run.base_model, attempt.model_before)


def pass_closing(attempt: Attempt) -> ClosingRecord:
    """Measure what is true after the last gate."""
    measure = functools.partial(measure_closing, attempt)
    return attempt.pass_gate(CLOSING, measure, _record(CLOSING))


def measure_closing(attempt: Attempt) -> None:
    """Write the closing record, also for a run that ended early."""
    tree, m43 = attempt.plan.repository, package(attempt.plan.repository)
    own = judging_files(tree, attempt.plan.contract_folder)
    record = closing.closing_record(
        attempt.run,
        tree,
        tree_before=attempt.tree_before,
        packages_before=attempt.packages_before,
        site_packages=[Path(folder) for folder in attempt.site_packages],
        foreign_code=code_integrity.foreign_code(sys.modules, m43, tree),
        judge=audit_judge(sys.modules.copy(), own, sys.path, os.environ.get("PYTHONPATH", "")),
    )
    write_record(attempt.run.closing, record)


def _record(gate: str) -> Callable[[LoadedRun], Any]:
    """Return the reader of what a gate measured."""
    return lambda run: run.require(gate_named(gate).record)


def _watched(
    attempt: Attempt, see: Callable[[Sight], None] = lambda sight: None
) -> Callable[[Sight], None]:
    """Between two looks at a child is where a signal may end the run."""

    def look(sight: Sight) -> None:
        attempt.interruption.check()
        see(sight)

    return look
