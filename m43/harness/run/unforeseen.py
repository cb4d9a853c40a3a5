"""The unforeseen: which failure an error is that no gate expected, and how a stop is told."""

import traceback
from collections.abc import Sequence

from m43.errors import FailureClass, Problem
from m43.files import is_disk_full, is_not_writable, is_process_limit
from m43.records import RunDir


def gone(run: RunDir) -> Problem | None:
    """Say what to say where a run is no longer in its place; None where it is."""
    if run.journal.is_file():
        return None
    what = "the journal of the run" if run.path.is_dir() else "the run folder"
    return Problem(
        found=f"{what} is gone: it was renamed or removed while the run was on",
        expected="the folder, which nobody touches until the run has ended",
        where=str(run.path),
        action="put it back where it was, if it was renamed; then a new run",
    )


def unforeseen(error: Exception, run: RunDir) -> tuple[FailureClass, Problem]:
    """Name the failure that an error stands for, with what a person can do about it."""
    missing = gone(run)
    if missing is not None:
        return FailureClass.NOT_WRITABLE, missing
    failure_class, action = _class_of(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    problem = Problem(
        found=f"{type(error).__name__}: {error}",
        expected="a gate that measures and ends",
        where=f"{frame.name} ({frame.filename.rsplit('/', 1)[-1]}:{frame.lineno})",
        action=action,
    )
    return failure_class, problem


def _class_of(error: Exception) -> tuple[FailureClass, str]:
    if is_disk_full(error):
        return FailureClass.DISK_FULL, "free space; then a new run"
    if is_not_writable(error):
        action = "make the run folder's file system writable; then a new run"
        return FailureClass.NOT_WRITABLE, action
    if is_process_limit(error):
        action = "allow more processes (ulimit -u, pids.max of the container); then a new run"
        return FailureClass.PROCESS_LIMIT, action
    return FailureClass.HARNESS_ERROR, "report this as an error of m43"


def trouble_words(error: Exception, run: RunDir) -> str:
    """Say why a run could not be closed."""
    missing = gone(run)
    return missing.found if missing else f"{type(error).__name__}: {error}"


def stop_words(stage: str, failure_class: FailureClass, problems: Sequence[Problem]) -> str:
    """Write why a gate stopped, as the terminal and the report show it."""
    lines = [f"gate {stage} stopped: {failure_class}"]
    for problem in problems:
        lines += [
            f"  found     {problem.found}",
            f"  expected  {problem.expected}",
            f"  where     {problem.where}",
            f"  to do     {problem.action}",
        ]
    return "\n".join(lines)
