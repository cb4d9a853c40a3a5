"""How a child's end becomes a named failure."""

from dataclasses import replace
from pathlib import Path

import pytest

from m43.errors import FailureClass
from m43.harness.gates.job import ChildFailedError, require_success
from m43.harness.process.process import Outcome
from m43.records.run_dir import RunDir, write_record
from m43.records.run_records import ChildError, ProcessRecord

ENDED = ProcessRecord(
    command=(),
    exit_status=0,
    duration_s=12.0,
    peak_bytes=0,
    ended_by_parent="no",
    oom_kills=0,
    last_phase="train",
    steps_seen=138,
    variables=(),
    xla_flags=(),
)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Make an empty run folder."""
    return RunDir.create(tmp_path / "run")


def test_a_child_that_ended_well_is_no_failure(run: RunDir) -> None:
    """Status 0, by itself, without an error record."""
    require_success("train", run, Outcome(record=ENDED, stdout=(), stderr=()))


@pytest.mark.parametrize(
    ("record", "failure_class", "told"),
    [
        (replace(ENDED, exit_status=1), FailureClass.HARNESS_ERROR, "exit status 1: Traceback"),
        (replace(ENDED, exit_status=-11), FailureClass.KILLED, "ended by signal 11"),
        (replace(ENDED, exit_status=-9), FailureClass.KILLED, "ended by signal 9"),
        (
            replace(ENDED, exit_status=-9, oom_kills=1),
            FailureClass.OUT_OF_HOST_MEMORY,
            "ended by signal 9",
        ),
        (
            replace(ENDED, exit_status=-15, ended_by_parent="deadline"),
            FailureClass.TIMED_OUT,
            "at its deadline, after 12 s",
        ),
        (
            replace(ENDED, exit_status=-15, ended_by_parent="silence"),
            FailureClass.HUNG,
            "because it stood still",
        ),
    ],
)
def test_each_end_has_its_class_and_its_words(
    run: RunDir, record: ProcessRecord, failure_class: FailureClass, told: str
) -> None:
    """What ended it, where it was, and what it said last."""
    outcome = Outcome(record=record, stdout=(), stderr=("Traceback",))
    with pytest.raises(ChildFailedError) as raised:
        require_success("train", run, outcome)
    assert raised.value.failure_class == failure_class
    assert told in str(raised.value)
    assert "in phase 'train', 138 steps or rows seen" in str(raised.value)


def test_what_the_child_said_of_itself_comes_first(run: RunDir) -> None:
    """The child knows better than its status."""
    error = ChildError(
        failure_class=FailureClass.NON_FINITE_LOSS, problems=("loss nan", "at step 7"), step=7
    )
    write_record(run.error("train"), error)
    outcome = Outcome(record=replace(ENDED, exit_status=3), stdout=(), stderr=("noise",))
    with pytest.raises(ChildFailedError, match=r"loss nan \| at step 7") as raised:
        require_success("train", run, outcome)
    assert raised.value.failure_class == FailureClass.NON_FINITE_LOSS
    assert "noise" not in str(raised.value)
