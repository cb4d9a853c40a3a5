"""The gates: what each of them measures and writes into the run folder."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path

import m43
from m43.evidence import facts
from m43.evidence.child_facts import EvaluationFacts, TrainFacts
from m43.evidence.promise import CLOSING
from m43.harness import auth, closing, download, job, own_code, snapshots, venv
from m43.harness import plan as plan_gate
from m43.harness.attempt import Attempt
from m43.harness.process import Sight
from m43.harness.run_view import RunView
from m43.harness.world import World
from m43.hub_record import AuthRecord
from m43.records import ClosingRecord, VenvRecord
from m43.run_dir import write_atomically, write_record


def pass_auth(attempt: Attempt) -> AuthRecord:
    """Do gate 1: what the hub says to the token."""

    def measure() -> None:
        record = auth.measure(_world(attempt), attempt.plan.profile, _watched(attempt))
        write_record(attempt.run.auth, record)

    return attempt.pass_gate("auth", measure, facts.read_auth)


def pass_venv(attempt: Attempt) -> VenvRecord:
    """Do gate 2: the environment that trains."""
    run, plan = attempt.run, attempt.plan

    def measure() -> None:
        found = venv.measure(_world(attempt), plan.profile, plan.repository, _watched(attempt))
        attempt.packages_before = found.packages
        attempt.site_packages = found.record.probe.site_packages
        write_atomically(run.env_snapshot, snapshots.env_snapshot(found.record).encode())
        text = snapshots.gpu_snapshot(found.record, snapshots.nvidia_smi)
        write_atomically(run.gpu_snapshot, text.encode())
        write_record(run.venv, found.record)
        record = plan_gate.measure(
            _world(attempt),
            plan.profile,
            facts.read_auth(run),
            found.record,
            run_folder=run.path,
            repository=plan.repository,
            see=_watched(attempt),
        )
        write_record(run.plan, record)

    return attempt.pass_gate("venv", measure, facts.read_venv)


def pass_train(attempt: Attempt, view: RunView) -> TrainFacts:
    """Do gate 3: one child downloads, and another that is given no token trains."""
    run, plan, world = attempt.run, attempt.plan, _world(attempt)

    def measure() -> None:
        record = facts.read_auth(run)
        with view.shown("train-300"):
            coming = _watched(attempt, view.download)
            write_record(run.download, download.fetch(run, world, plan.profile, record, coming))
            see = _watched(attempt, view.child)
            job.run_job("train", run, world, plan.profile, plan.repository, see)

    return attempt.pass_gate("train-300", measure, facts.read_train)


def pass_evaluation(attempt: Attempt, view: RunView) -> EvaluationFacts:
    """Do gate 4: every row, base against tuned, in a child."""
    run, plan, world = attempt.run, attempt.plan, _world(attempt)

    def measure() -> None:
        with view.shown("eval"):
            see = _watched(attempt, view.child)
            job.run_job("eval", run, world, plan.profile, plan.repository, see)

    return attempt.pass_gate("eval", measure, facts.read_evaluation)


def pass_closing(attempt: Attempt) -> ClosingRecord:
    """Measure what is true after the last gate."""
    measure = functools.partial(measure_closing, attempt)
    return attempt.pass_gate(CLOSING, measure, facts.read_closing)


def measure_closing(attempt: Attempt) -> None:
    """Write the closing record, also for a run that ended early."""
    record = closing.closing_record(
        attempt.run,
        attempt.plan.repository,
        tree_before=attempt.tree_before,
        packages_before=attempt.packages_before,
        site_packages=[Path(folder) for folder in attempt.site_packages],
        foreign_code=own_code.foreign_code(sys.modules, Path(m43.__file__).parent),
    )
    write_record(attempt.run.closing, record)


def _watched(
    attempt: Attempt, see: Callable[[Sight], None] = lambda sight: None
) -> Callable[[Sight], None]:
    """Between two looks at a child is where a signal may end the run."""

    def look(sight: Sight) -> None:
        attempt.interruption.check()
        see(sight)

    return look


def _world(attempt: Attempt) -> World:
    if attempt.world is None:
        raise RuntimeError("a gate was opened before the world was known")
    return attempt.world
