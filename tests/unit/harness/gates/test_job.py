"""How a child's end becomes a named failure."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from m43.errors import FailureClass
from m43.harness.gates import job
from m43.harness.gates.job import ChildFailedError, require_success
from m43.harness.process.process import Child, Outcome
from m43.harness.run.hub_access import HubAccess
from m43.records.profile import Profile
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.run_records import ChildError, ProcessRecord
from tests.unit.harness.card.fake_nvml import FakeCard, FakeNvml, install

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


def test_before_each_child_the_card_is_asked_again(
    run: RunDir, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a desktop took meanwhile, JAX is not let take."""
    card, started = FakeCard(total=32 << 30, used=4 << 30), []
    install(monkeypatch, FakeNvml(cards=[card]))
    monkeypatch.setattr(job, "run_child", lambda child, *rest: _ended(child, started))
    profile = replace(profile, contract=replace(profile.contract, platform="gpu"))
    hub_access = HubAccess(environment={}, endpoint="", cache_dir=None)
    for used in (4, 6):
        card.used = used << 30
        job.run_job("train", run, hub_access, profile, run.path, lambda sight: None)
    shares = [child.environment["XLA_CLIENT_MEM_FRACTION"] for child in started]
    assert shares == ["0.8125", "0.7500"]


@pytest.mark.parametrize(
    ("platform", "status", "asked"),
    [("gpu", 1, True), ("gpu", 0, False), ("cpu", 1, False)],
)
def test_the_kernels_log_is_asked_where_a_child_on_a_card_ends_badly(
    run: RunDir,
    profile: Profile,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    status: int,
    asked: bool,
) -> None:
    """What it says is kept with the child's end, and names it."""
    lost = "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus."
    install(monkeypatch, FakeNvml())
    monkeypatch.setattr(job, "card_lines", lambda since_s: ((lost,), ""))

    def run_child(child: Child, see: object, keep: Callable[[ProcessRecord], None]) -> Outcome:
        record = replace(ENDED, exit_status=status)
        keep(record)
        return Outcome(record=record, stdout=(), stderr=())

    monkeypatch.setattr(job, "run_child", run_child)
    profile = replace(profile, contract=replace(profile.contract, platform=platform))
    hub_access = HubAccess(environment={}, endpoint="", cache_dir=None)
    with pytest.raises(ChildFailedError) if status else nullcontext() as raised:
        job.run_job("train", run, hub_access, profile, run.path, lambda sight: None)
    kept = read_record(run.process("train"), ProcessRecord)
    assert kept.card_lines == ((lost,) if asked else ())
    assert kept.kernel_log == ("" if asked else "not asked")
    if raised is not None:
        expected = FailureClass.CARD_LOST if asked else FailureClass.HARNESS_ERROR
        assert raised.value.failure_class is expected


def _ended(child: Child, started: list[Child]) -> Outcome:
    started.append(child)
    return Outcome(record=ENDED, stdout=(), stderr=())


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


def test_the_frames_of_a_stack_do_not_hide_what_was_said_before_them(run: RunDir) -> None:
    """Where jax ends a process from C++, its reason stands above some dozen of them."""
    frames = tuple(f"    @     0x7f186d30{number:04x}  (unknown)" for number in range(30))
    said = ("stopped sending heartbeats", *frames)
    outcome = Outcome(record=replace(ENDED, exit_status=-6), stdout=(), stderr=said)
    with pytest.raises(ChildFailedError, match="stopped sending heartbeats"):
        require_success("train", run, outcome)


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
