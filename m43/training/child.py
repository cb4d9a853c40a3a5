"""A child's life: one job, its heartbeat, and on failure a record that says why."""

import importlib
import sys
import traceback
from typing import Literal

from m43.records import ChildError
from m43.run_dir import RunDir, write_last_record
from m43.training import failure
from m43.training.heartbeat import Heartbeats

Job = Literal["train", "evaluate"]
# What the run folder calls the child that does a job.
CHILD_OF_JOB: dict[Job, str] = {"train": "train", "evaluate": "eval"}

FINISHED, CRASHED, STOPPED = 0, 1, 3


def run_job(job: Job, run: RunDir) -> int:
    """Do the job on a run folder and return the exit status.

    An error record is written for every end that Python can see; a signal or an out-of-memory
    kill leaves none, and the parent tells those from the wait status.
    """
    name = CHILD_OF_JOB[job]
    beats = Heartbeats(run.heartbeat(name), sys.stdout)
    try:
        with beats.phase("import"):
            # Here and not at the top: the import takes seconds, and may be what fails.
            work = importlib.import_module(f"m43.training.{job}")
        work.run(run, beats)
    except Exception as error:  # noqa: BLE001 (whatever it was, its record must be left)
        return _stop(run, name, error, beats.last.done)
    return FINISHED


def _stop(run: RunDir, name: str, error: Exception, step: int) -> int:
    record = failure.describe(error, step)
    foreseen = failure.is_foreseen(error)
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
