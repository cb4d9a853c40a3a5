"""A child's life: one job, its heartbeat, and on failure a record that names the failure."""

import errno
import importlib
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Literal

from m43 import typed_json
from m43.errors import FailureClass, M43Error, causes
from m43.files import is_disk_full
from m43.records import TABLE, ChildError, RunDir, write_last_record, write_record
from m43.training.origins import origins
from m43.training.progress import Heartbeats

# Thousands of bad rows make a record that nobody reads.
_MOST_PROBLEMS = 100


def describe(error: BaseException, step: int) -> ChildError:
    """Return the record of a failure; one that is not foreseen is a harness error.

    Args:
        error: what ended the work.
        step: the last optimizer step (or row) that was finished; an error that knows its own
            step overrules it.
    """
    cause = next((part for part in causes(error) if _named(part)), error)
    return ChildError(
        failure_class=_named(cause) or FailureClass.HARNESS_ERROR,
        problems=_problems(cause),
        step=getattr(cause, "step", step),
    )


def is_foreseen(error: BaseException) -> bool:
    """Return whether a failure has a class of its own."""
    return any(_named(part) for part in causes(error))


def _named(error: BaseException) -> FailureClass | None:
    if isinstance(error, M43Error):
        return error.failure_class
    if isinstance(error, MemoryError):
        return FailureClass.OUT_OF_HOST_MEMORY
    if is_disk_full(error):
        return FailureClass.DISK_FULL
    # By name, because this must work where JAX and safetensors cannot be imported.
    kind, text = type(error).__name__, str(error)
    if kind in ("JaxRuntimeError", "XlaRuntimeError") and "RESOURCE_EXHAUSTED" in text:
        return FailureClass.OUT_OF_DEVICE_MEMORY
    if kind == "SafetensorError" and f"os error {errno.ENOSPC}" in text:
        return FailureClass.DISK_FULL
    return None


def _problems(error: BaseException) -> tuple[str, ...]:
    if not isinstance(error, M43Error):
        return (f"{type(error).__name__}: {error}",)
    texts = [str(problem) for problem in error.problems]
    more = len(texts) - _MOST_PROBLEMS
    return (*texts[:_MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else []))


Job = Literal["train", "evaluate"]
# What the run folder calls the child that does a job.
CHILD_OF_JOB = {gate.job: gate.children[-1] for gate in TABLE if gate.job}

FINISHED, CRASHED, STOPPED = 0, 1, 3


def run_job(job: Job, run: RunDir) -> int:
    """Run the job on a run folder and return the exit status.

    An error record is written for every end that Python can see; a signal or an out-of-memory
    kill leaves none, and the parent recognises those by the wait status.
    """
    name = CHILD_OF_JOB[job]
    beats = Heartbeats(run.heartbeat(name), sys.stdout)
    try:
        with beats.phase("import"):
            # Here and not at the top: the import takes seconds, and may be what fails.
            work = importlib.import_module(f"m43.training.{job}")
        work.run(run, beats)
        # Last, so that nothing is imported after it.
        write_record(run.origins, origins())
    except Exception as error:  # noqa: BLE001 (whatever it was, its record must be left)
        return _stop(run, name, error, beats.last.done)
    return FINISHED


def replay(run: RunDir, rows: Path, count: int) -> int:
    """Answer some rows again and print one line of JSON about it; nothing is left in the folder."""
    try:
        with tempfile.TemporaryDirectory(prefix="m43-replay-") as folder:
            work = importlib.import_module("m43.training.evaluate")
            beats = Heartbeats(Path(folder, "heartbeat.json"), sys.stderr)
            replayed = work.replay(run, rows, count, beats)
    except M43Error as error:
        sys.stderr.write("\n".join(error.lines) + "\n")
        return STOPPED
    sys.stdout.write(typed_json.dump_line(replayed))
    return FINISHED


def _stop(run: RunDir, name: str, error: Exception, step: int) -> int:
    record = describe(error, step)
    foreseen = is_foreseen(error)
    if foreseen:
        sys.stderr.write(f"{record.failure_class}: " + "\n".join(record.problems) + "\n")
    else:
        traceback.print_exception(error)
    _leave(run, name, record)
    return STOPPED if foreseen else CRASHED


def _leave(run: RunDir, name: str, record: ChildError) -> None:
    try:
        write_last_record(run, run.error(name), record)
    except OSError as error:
        # On a full disk the log may still take what the record could not.
        sys.stderr.write(f"the error record could not be written: {error}\n")
