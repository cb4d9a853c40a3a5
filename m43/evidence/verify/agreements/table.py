"""The table of agreements: what must agree with what in a run folder, a line each.

A folder can be sealed again by whoever changed it, so its seals say nothing against that person.
What does is that the same run is told in many places. A new rule is a line here; a lie for it, by
the same name, is a line in `tests/unit/evidence/disagreements.py`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from m43.errors import Problem, problem
from m43.evidence.run import LoadedRun
from m43.evidence.verify.agreements import (
    card,
    children,
    machine,
    model,
    planned,
    rows,
    software,
    times,
    training,
)
from m43.records import RunDir


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A run folder that was read, and the code that it is held against."""

    run: RunDir
    loaded_run: LoadedRun
    repository: Path


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A rule: what must agree.

    Attributes:
        name: by which `verify` names it.
        says: what must be true, in one sentence.
        between: the files that are held against each other.
        find: what of a folder breaks it.
    """

    name: str
    says: str
    between: tuple[str, ...]
    find: Callable[[Folder], Iterator[Problem]]


def _of_run(
    find: Callable[[LoadedRun], Iterator[Problem]],
) -> Callable[[Folder], Iterator[Problem]]:
    return lambda folder: find(folder.loaded_run)


def _of_files(
    find: Callable[[RunDir, LoadedRun], Iterator[Problem]],
) -> Callable[[Folder], Iterator[Problem]]:
    return lambda folder: find(folder.run, folder.loaded_run)


def _of_code(
    find: Callable[[LoadedRun, Path], Iterator[Problem]],
) -> Callable[[Folder], Iterator[Problem]]:
    return lambda folder: find(folder.loaded_run, folder.repository)


_R = RunDir
TABLE: tuple[Agreement, ...] = (
    Agreement(
        name="the call",
        says="the opening names the profile, the version and the command that its kind has",
        between=(_R.opening.name, _R.code.name, _R.vitals.name),
        find=lambda folder: machine.opening_words(folder.run, folder.loaded_run, folder.repository),
    ),
    Agreement(
        name="journal times",
        says="times go forward from the opening on, at the pace of what was measured",
        between=(_R.journal.name, _R.opening.name, _R.profile.name),
        find=_of_run(times.journal_times),
    ),
    Agreement(
        name="durations",
        says="phases fit into their process, processes into their gate, steps fill their phase",
        between=(_R.journal.name, _R.train_process.name, _R.train.name, _R.metrics.name),
        find=_of_run(times.durations),
    ),
    Agreement(
        name="hub",
        says="the hub that was asked, its answers and the files are those of the profile",
        between=(_R.auth.name, _R.download.name, _R.profile.name),
        find=_of_run(machine.hub),
    ),
    Agreement(
        name="download log",
        says="the download recorded what its process said at its end",
        between=(_R.download.name, _R.download_log.name),
        find=_of_files(children.download_log),
    ),
    Agreement(
        name="packages",
        says="requirements are met by the listed packages, and training named their versions",
        between=(_R.venv.name, _R.train.name, "pyproject.toml"),
        find=_of_code(software.packages),
    ),
    Agreement(
        name="imported",
        says="what was imported is of the installed packages, each file once, counted by package",
        between=(_R.train_imported.name, _R.eval_imported.name, _R.venv.name),
        find=_of_run(software.imported),
    ),
    Agreement(
        name="numerics",
        says="the numerics check was held against the float64 reference of m43, weight by weight",
        between=(_R.venv.name, "m43/training/numerics/float64.json"),
        find=_of_code(software.numerics),
    ),
    Agreement(
        name="exchanges",
        says="the promised mesh was tried whole, by processes that left what they said of it",
        between=(_R.venv.name, _R.profile.name, _R.code.name, _R.probe.name),
        find=_of_files(software.exchanges),
    ),
    Agreement(
        name="device",
        says="what ran and where is one of the devices, and lies in the environment",
        between=(_R.venv.name, _R.profile.name),
        find=_of_run(machine.device),
    ),
    Agreement(
        name="snapshots",
        says="the two snapshots say what venv.json says",
        between=(_R.venv.name, _R.env_snapshot.name, _R.gpu_snapshot.name),
        find=_of_files(machine.snapshots),
    ),
    Agreement(
        name="planned model",
        says="bytes and FLOPs of the plan follow from the dimensions and the profile",
        between=(_R.plan.name, "model/config.json", _R.profile.name),
        find=_of_files(planned.planned_model),
    ),
    Agreement(
        name="planned run",
        says="the plan is of the device, the files and the training that the other gates found",
        between=(_R.plan.name, _R.venv.name, _R.auth.name, _R.train.name),
        find=_of_run(planned.planned_run),
    ),
    Agreement(
        name="commands",
        says="each child was called for this run, by the interpreter that was looked at",
        between=(_R.train_process.name, _R.eval_process.name, _R.venv.name, _R.download.name),
        find=_of_run(children.commands),
    ),
    Agreement(
        name="variables",
        says="no child had a variable that m43 does not give it",
        between=(_R.download_process.name, _R.train_process.name, _R.eval_process.name),
        find=_of_run(children.variables),
    ),
    Agreement(
        name="heartbeats",
        says="the last heartbeat is that of the last phase, step and loss",
        between=(_R.train_heartbeat.name, _R.train_process.name, _R.metrics.name),
        find=_of_run(children.heartbeats),
    ),
    Agreement(
        name="logs",
        says="phases, losses and speeds are those that were printed",
        between=(_R.train_log.name, _R.eval_log.name, _R.train.name, _R.metrics.name),
        find=_of_files(children.logs),
    ),
    Agreement(
        name="memory",
        says="no peak is larger than that of its process, and none than the machine",
        between=(_R.train_process.name, _R.train.name, _R.train_heartbeat.name, _R.venv.name),
        find=_of_run(children.memory),
    ),
    Agreement(
        name="steps",
        says="steps, tokens and rows are counted alike, and no measurement is below 0",
        between=(_R.metrics.name, _R.train.name, _R.profile.name),
        find=_of_run(training.audit_metrics),
    ),
    Agreement(
        name="mesh",
        says="the weights lay on the mesh of the profile, whose devices were there and answered",
        between=(_R.train.name, _R.evaluation.name, _R.profile.name, _R.venv.name),
        find=_of_run(training.mesh),
    ),
    Agreement(
        name="processes",
        says="each process said of itself what it left, and the first what the record has of all",
        between=(_R.train.name, _R.metrics.name, _R.profile.name, _R.code.name),
        find=_of_files(training.processes),
    ),
    Agreement(
        name="learning rate",
        says="the profile's schedule gives the learning rate of every step",
        between=(_R.metrics.name, _R.profile.name),
        find=_of_run(training.schedule),
    ),
    Agreement(
        name="float32",
        says="losses, norms and rates are numbers that a step in float32 returns",
        between=(_R.metrics.name,),
        find=_of_run(training.float32),
    ),
    Agreement(
        name="lengths",
        says="no row is longer than the profile allows, and batches have the compiled lengths",
        between=(_R.metrics.name, _R.train.name, _R.lint.name, _R.profile.name),
        find=_of_run(training.step_lengths),
    ),
    Agreement(
        name="speed",
        says="no device computes the steps in less time than their FLOPs take",
        between=(_R.metrics.name, "model/config.json"),
        find=_of_files(training.audit_speed),
    ),
    Agreement(
        name="card",
        says="the card did what the training claims of it, by its driver's own counters",
        between=(_R.gpu_metrics.name, _R.metrics.name, _R.train_process.name, _R.train.name),
        find=_of_files(card.audit_card),
    ),
    Agreement(
        name="weights",
        says="the saved weights are those that were trained, from the pinned ones",
        between=("model", _R.train.name, _R.download.name),
        find=_of_files(model.audit_weights),
    ),
    Agreement(
        name="weight files",
        says="each file of weights holds tensors of the described shapes and nothing else",
        between=("model", "model/config.json", _R.train.name, _R.download.name),
        find=_of_files(model.weight_files),
    ),
    Agreement(
        name="dimensions",
        says="parameters follow from config.json, and fit the files",
        between=("model/config.json", _R.train.name, _R.plan.name, _R.download.name),
        find=_of_files(model.audit_model),
    ),
    Agreement(
        name="decoding",
        says="outputs end where the profile says",
        between=(_R.evaluation.name, _R.predictions.name, _R.profile.name),
        find=_of_run(rows.audit_decoding),
    ),
    Agreement(
        name="stops",
        says="answers end by the ids of the model's files, and took as many tokens as they can",
        between=(_R.evaluation.name, _R.predictions.name, "model/generation_config.json"),
        find=_of_files(rows.audit_stops),
    ),
    Agreement(
        name="rows",
        says="every prediction is about a row of the file, and knows which training had seen",
        between=(_R.predictions.name, "acceptance/data"),
        find=lambda folder: rows.audit_rows(folder.loaded_run, folder.repository, folder.run),
    ),
    Agreement(
        name="lint",
        says="the lint counts what rows and steps have",
        between=(_R.lint.name, _R.metrics.name, "acceptance/data"),
        find=lambda folder: rows.audit_lint(folder.loaded_run, folder.repository, folder.run),
    ),
    Agreement(
        name="before and after",
        says="the closing names a change exactly where a digest differs",
        between=(_R.closing.name, _R.opening.name, _R.venv.name),
        find=_of_run(machine.before_and_after),
    ),
)

_ALTERED = "do not rely on this folder: it was changed after the run"


def audit_agreements(folder: Folder) -> Iterator[Problem]:
    """Hold every line of the table against a folder; each problem names its line."""
    for agreement in TABLE:
        try:
            for each in agreement.find(folder):
                action = each.action or f"do not rely on this folder: {agreement.says}"
                yield replace(each, action=f"{action} [{agreement.name}]")
        except (ArithmeticError, LookupError, OSError, ValueError) as error:
            # Such as those of a device that computes nothing in a second.
            found = f"records that cannot be computed with ({type(error).__name__}: {error})"
            yield problem(
                found, "those of a run", folder.run.path.name, f"{_ALTERED} [{agreement.name}]"
            )
