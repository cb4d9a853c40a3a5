"""A child's life: one job, its heartbeat, and on failure a record that names the failure."""

import errno
import importlib
import io
import os
import re
import sys
import tempfile
import traceback
from pathlib import Path
from types import ModuleType
from typing import Literal

from m43 import typed_json
from m43.errors import FailureClass, M43Error, causes
from m43.files import give_room, is_disk_full, keep_room
from m43.records import TABLE, ChildError, RunDir, write_last_record, write_record
from m43.training.origins import origins
from m43.training.progress import Heartbeats

# Of a further process's disk, which the first one's reserve says nothing of.
_RESERVE_BYTES, _RESERVE_FILES = 16 << 10, 2
# Thousands of bad rows make a record that nobody reads.
_MOST_PROBLEMS = 100


LAUNCHED = "M43_LAUNCHED"
"""The variable by which a child knows that a launcher started it, once per process."""
# The launchers' own, and that of who sets jax's by hand.
_NUMBERS = ("JAX_PROCESS_ID", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "PMIX_RANK", "PMI_RANK")
# Source: gloo and the coordination service of jax 0.10.2; NCCL's as jax issues 38503 and 40512
# quote them.
_LOST = re.compile(
    r"Gloo \w+ failed|Connection (?:reset|closed) by peer|Socket closed|Connection refused|"
    r"[Hh]eartbeat timeout|stopped sending heartbeats|different incarnation|"
    r"distributed service detected fatal errors|"
    r"NCCL[^\n]{0,200}(?:remote process exited|remote error)"
)


def is_launched() -> bool:
    """Return whether a launcher started this process, and others beside it."""
    return LAUNCHED in os.environ


def own_number() -> int:
    """Return which process of several this is, before they have met; 0 where it is the only one."""
    found = (os.environ.get(name, "") for name in _NUMBERS)
    told = next((text for text in found if text.isdecimal()), "0")
    return int(told) if is_launched() else 0


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
    if kind in ("JaxRuntimeError", "XlaRuntimeError"):
        return _named_by_xla(text)
    if kind == "SafetensorError" and f"os error {errno.ENOSPC}" in text:
        return FailureClass.DISK_FULL
    return None


def _named_by_xla(text: str) -> FailureClass | None:
    if "RESOURCE_EXHAUSTED" in text:
        return FailureClass.OUT_OF_DEVICE_MEMORY
    return FailureClass.PROCESS_LOST if is_launched() and _LOST.search(text) else None


def _problems(error: BaseException) -> tuple[str, ...]:
    if not isinstance(error, M43Error):
        return (f"{type(error).__name__}: {error}",)
    texts = [str(problem) for problem in error.problems]
    more = len(texts) - _MOST_PROBLEMS
    return (*texts[:_MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else []))


Job = Literal["probe", "train", "evaluate"]
# What the run folder calls the child that does a job.
CHILD_OF_JOB = {"probe": "probe"} | {gate.job: gate.children[-1] for gate in TABLE if gate.job}

FINISHED, CRASHED, STOPPED = 0, 1, 3


def run_job(job: Job, run: RunDir) -> int:
    """Run the job on a run folder and return the exit status.

    An error record is written for every end that Python can see; a signal or an out-of-memory
    kill leaves none, and the parent recognises those by the wait status.
    """
    name = CHILD_OF_JOB[job]
    own = run.of_process(own_number())
    own.path.mkdir(parents=True, exist_ok=True)
    # Of several one speaks: in one log their lines would lie across each other.
    beats = Heartbeats(own.heartbeat(name), sys.stdout if own is run else io.StringIO())
    try:
        with beats.phase("import"):
            # Here and not at the top: the import takes seconds, and may be what fails.
            work = importlib.import_module(f"m43.training.{job}")
        if is_launched():
            _work_with_others(work, own, run, beats, name)
            return FINISHED
        work.run(run, beats)
        # Last, so that nothing is imported after it.
        write_record(run.origins, origins())
    except Exception as error:  # noqa: BLE001 (whatever it was, its record must be left)
        status = _stop(own, name, error, beats.last.done)
        if is_launched():
            _end_now(status)
        return status
    return FINISHED


def _work_with_others(
    work: ModuleType, own: RunDir, run: RunDir, beats: Heartbeats, name: str
) -> None:
    """Meet the other processes, do the work with them, and part from them."""
    meeting = importlib.import_module("m43.training.meeting")
    profile = run.read_profile()

    def give_up(error: M43Error) -> None:
        _end_now(_stop(own, name, error, 0))

    if own is not run:
        keep_room(own.reserve, _RESERVE_BYTES, _RESERVE_FILES)
    with beats.phase("meet"):
        meeting.join(profile, give_up)
    work.run(run, beats)
    write_record(own.origins, origins())
    if own is not run:
        give_room(own.reserve)
    meeting.leave(profile.deadlines.silence_s)


def _end_now(status: int) -> None:
    """End without the end of Python: jax would wait there for processes that wait for this one."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


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
