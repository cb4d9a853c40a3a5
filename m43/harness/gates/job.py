"""The job: the training or the evaluation child, run to its end, and a failure named."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from m43.errors import FailureClass, Problem, ProblemsError
from m43.evidence.contract import package
from m43.evidence.diagnosis import process_class
from m43.harness.card import CardSeries, card_lines, card_memory
from m43.harness.gates.launched import GRACE_S as LAUNCHED_GRACE_S
from m43.harness.gates.launched import (
    ended_words,
    keep_first_cause,
    launcher_of,
    make_plain,
    tail_of,
)
from m43.harness.gates.venv import compiled_python, find_interpreter, venv_folder
from m43.harness.process import (
    GRACE_S,
    TRAINING,
    Child,
    Outcome,
    Sight,
    child_environment,
    own_code,
    run_child,
)
from m43.harness.run import HubAccess
from m43.records import (
    SELF_VENV,
    ChildError,
    ProcessRecord,
    Profile,
    RunDir,
    StepMetrics,
    gate_of_child,
    read_record,
    write_atomically,
    write_last_record,
)

Name = Literal["train", "eval"]


class ChildFailedError(ProblemsError):
    """A child that did not end by itself and well."""

    def __init__(self, failure_class: FailureClass, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.failure_class = failure_class  # type: ignore[misc]  # narrower than the class's


def run_job(
    name: Name,
    run: RunDir,
    hub_access: HubAccess,
    profile: Profile,
    repository: Path,
    see: Callable[[Sight], None],
) -> None:
    """Start the child on the run folder and watch it to its end.

    Raises:
        ChildFailedError: unless it ended by itself, with status 0.
    """
    child = _child(name, run, hub_access, profile, repository)
    begun_s, ends = time.monotonic(), list[ProcessRecord]()

    def keep(record: ProcessRecord) -> None:
        if profile.contract.platform == "gpu" and record.exit_status != 0:
            lines, not_told = card_lines(begun_s)
            record = replace(record, card_lines=lines, kernel_log=not_told)
        ends.append(record)
        write_last_record(run, run.process(name), record)
        make_plain(run.error(name), hub_access.secrets)

    with _card_watched(name, run, profile, child, see) as look:
        outcome = run_child(child, look, keep)
    if child.launcher.command:
        keep_first_cause(run, name, profile, outcome.record, tail_of(outcome))
        make_plain(run.error(name), hub_access.secrets)
    require_success(name, run, replace(outcome, record=(ends or [outcome.record])[-1]))


def _child(
    name: Name, run: RunDir, hub_access: HubAccess, profile: Profile, repository: Path
) -> Child:
    own = profile.venv.path == SELF_VENV
    # Asked again: between plan and training lies the download, and a desktop goes on meanwhile.
    memory = card_memory(hub_access.environment, profile.contract)
    interpreter = find_interpreter(venv_folder(profile), own=own)
    deadlines = profile.deadlines
    code = own_code(package(repository).parent)
    launcher = launcher_of(profile, hub_access)
    launched = bool(launcher.command)
    if launched:
        # Where every process reads it.
        write_atomically(run.handed_code, code.handed)
    return Child(
        command=code.command(
            interpreter,
            TRAINING,
            gate_of_child(name).job,
            str(run.path),
            compiled=compiled_python(run, profile),
            file=run.handed_code if launched else None,
        ),
        given=b"" if launched else code.handed,
        launcher=launcher,
        grace_s=LAUNCHED_GRACE_S if launched else GRACE_S,
        folder=repository,
        environment=child_environment(
            hub_access.environment,
            platform=profile.contract.platform,
            system=sys.platform,
            parent_pid=os.getpid(),
            secrets=hub_access.secrets,
            share=memory.share if memory is not None else None,
            launched=launched,
        ),
        log=run.log(name),
        deadline_s={"train": deadlines.train_s, "eval": deadlines.evaluate_s}[name],
        secrets=hub_access.secrets,
        heartbeat=run.heartbeat(name),
        counted=(run.metrics, StepMetrics) if name == "train" else None,
        silence_s=deadlines.silence_s,
        stacks=run.stacks(name),
    )


@contextmanager
def _card_watched(
    name: Name, run: RunDir, profile: Profile, child: Child, see: Callable[[Sight], None]
) -> Iterator[Callable[[Sight], None]]:
    """Give what looks at the child, and on a card at that as well, each second."""
    if profile.contract.platform != "gpu":
        yield see
        return
    series = CardSeries(run.gpu_metrics, name, child.environment, profile.contract.device_kind)

    def look(sight: Sight) -> None:
        series.write(
            pid=sight.pid,
            elapsed_s=sight.elapsed_s,
            phase=sight.beat.phase if sight.beat is not None else "",
            steps=sight.steps,
        )
        see(sight)

    try:
        yield look
    finally:
        series.close()


def require_success(name: Name, run: RunDir, outcome: Outcome) -> None:
    """Name how the child failed, if it did.

    Raises: ChildFailedError.
    """
    record, path = outcome.record, run.error(name)
    error = read_record(path, ChildError) if path.exists() else None
    failure_class = process_class(record, error, outcome.stderr)
    if failure_class is None:
        return
    texts = error.problems if error is not None and record.ended_by_parent == "no" else ()
    tail = tail_of(outcome)
    problem = Problem(
        found=" | ".join(texts) or f"{ended_words(record)}{f': {tail}' if tail else ''}",
        expected=f"a {gate_of_child(name).job} process that ends by itself, with status 0",
        where=f"{(path if texts else run.log(name)).name}, {_place(record)}",
        action="read the failure analysis; nothing is retried, a new attempt is a new run",
    )
    raise ChildFailedError(failure_class, (problem,))


def _place(record: ProcessRecord) -> str:
    phase = f"in phase {record.last_phase!r}" if record.last_phase else "before its first phase"
    return f"{phase}, {record.steps_seen} steps or rows seen"
