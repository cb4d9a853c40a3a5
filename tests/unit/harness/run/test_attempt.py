"""The attempt: gates that pass or stop, promises that follow them, and the end in every case."""

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from m43.errors import FailureClass, GateStoppedError
from m43.evidence.contract.contract import read_contract
from m43.evidence.journal.chain import Entry, Event
from m43.files import bytes_sha256, give_room
from m43.harness.run.attempt import Attempt, RunInProgressError, StoppedError, begin
from m43.harness.run.opening import Plan, contract_path, named
from m43.records import profile_check
from m43.records.run_dir import RunDir, RunExistsError, write_atomically
from tests.unit.harness.conftest import REPOSITORY, TOKEN


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Plan a rehearsal in a small repository."""
    (tmp_path / "acceptance").mkdir()
    for name in ("rehearsal.toml", "test_production.py"):
        source = REPOSITORY / "acceptance" / name
        (tmp_path / "acceptance" / name).write_bytes(source.read_bytes())
    path = tmp_path / "acceptance" / "rehearsal.toml"
    return Plan(
        repository=tmp_path,
        profile_path=path,
        profile=named(profile_check.load(path), "a-run", datetime.now(UTC)),
        contract=read_contract(contract_path(tmp_path)),
        command=("pytest",),
        started=datetime.now(UTC),
    )


@pytest.fixture
def attempt(plan: Plan) -> Attempt:
    """Begin it, in a world with a token."""
    begun = begin(plan)
    begun.keep_secret([TOKEN])
    return begun


def entries(attempt: Attempt) -> list[dict[str, str]]:
    """Read the journal as the text that it is."""
    return [json.loads(line) for line in attempt.run.journal.read_text().splitlines()]


def write(attempt: Attempt) -> Callable[[], None]:
    """Make a measurement that writes the auth gate's record."""
    return lambda: write_atomically(attempt.run.auth, b"{}")


def names(attempt: Attempt, gate: str) -> list[str]:
    """Give a gate's promises."""
    return [promise.name for promise in attempt.plan.contract.promises if promise.gate == gate]


def test_before_the_first_gate_a_true_failure_analysis_is_on_disk(attempt: Attempt) -> None:
    """A power cut at this moment leaves a true document, and no other."""
    text = attempt.run.failure_analysis.read_text()
    assert "no closing record" in text
    assert not attempt.run.summary.exists()
    assert [entry["event"] for entry in entries(attempt)] == ["opened"]
    assert (attempt.plan.ledger).exists()


def test_a_run_folder_is_never_used_twice(attempt: Attempt, plan: Plan) -> None:
    """Not even when two calls pass the first look at the same moment."""
    ledger = plan.ledger.read_bytes()
    attempt.finish(lambda: None)
    with pytest.raises(RunExistsError):
        begin(plan)
    assert plan.ledger.read_bytes() == ledger


def test_no_run_begins_beside_another(attempt: Attempt, plan: Plan) -> None:
    """Under whatever name: two would share the device and find each other's files."""
    other = replace(plan, profile=named(plan.profile, "another", plan.started))
    with pytest.raises(RunInProgressError, match="a-run"):
        begin(other)
    assert not other.folder.exists()
    assert attempt.run.path.exists()


def test_a_run_that_was_cut_off_is_closed_by_the_next_one(attempt: Attempt, plan: Plan) -> None:
    """Its process is gone, so its journal gets its end, and the new run says so."""
    attempt.hold.release()
    other = begin(replace(plan, profile=named(plan.profile, "another", plan.started)))
    assert other.recovered.closed == ("a-run",)
    assert entries(attempt)[-1]["event"] == "closed"


def test_a_disk_without_room_for_a_run_has_no_trace_of_it(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reserve is the first thing that needs room; nothing is left of a run that lacks it."""

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        begin(plan)
    assert not plan.folder.exists()
    assert plan.ledger.read_bytes() == b""


def test_a_journal_on_a_full_disk_says_so_at_the_cost_of_the_reserve(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was to be written is written, and the run stops: a full disk is not passed over."""
    append, run = attempt.journal.append, attempt.run

    def tight(event: Event, **fields: str) -> Entry:
        if run.reserve.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return append(event, **fields)

    monkeypatch.setattr(attempt.journal, "append", tight)
    assert attempt.judge(names(attempt, "auth")[0], None)
    told = [(entry["event"], entry["failure_class"]) for entry in entries(attempt)]
    assert told[-2:] == [("promise_kept", ""), ("interrupted", "disk full")]
    assert "disk full" not in attempt.unwritable
    assert "No space" in attempt.blocked(names(attempt, "venv")[0])


def test_a_journal_that_can_no_longer_be_written_has_no_gaps(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After one line that was lost no other is written, and the run is not sealed."""
    append, lost = attempt.journal.append, []

    def once(event: Event, **fields: str) -> Entry:
        if not lost:
            lost.append(event)
            raise OSError(errno.EROFS, "Read-only file system")
        return append(event, **fields)

    give_room(attempt.run.reserve)
    monkeypatch.setattr(attempt.journal, "append", once)
    assert not attempt.judge(names(attempt, "auth")[0], None)
    assert not attempt.judge(names(attempt, "auth")[1], "assert 1 == 2")
    assert [entry["event"] for entry in entries(attempt)] == ["opened"]
    assert attempt.unwritable.startswith("run folder not writable")
    with pytest.raises(OSError, match="not writable"):
        attempt.finish(lambda: None)


def test_a_gate_that_ends_is_closed_with_the_digest_of_its_records(attempt: Attempt) -> None:
    """What the journal seals is what lies on disk, and what is returned was read from there."""
    facts = attempt.pass_gate("auth", write(attempt), lambda run: run.files)
    assert bytes_sha256(b"{}") in {file.sha256 for file in facts}
    assert [entry["event"] for entry in entries(attempt)][1:] == ["gate_opened", "gate_closed"]
    assert len(entries(attempt)[-1]["detail"]) == 64


def stopping(attempt: Attempt, error: Exception) -> str:
    """Have the auth gate raise; give the text for people."""

    def measure() -> None:
        raise error

    with pytest.raises(StoppedError) as raised:
        attempt.pass_gate("auth", measure, lambda run: None)
    return str(raised.value)


def test_a_gate_that_stops_says_why_to_people_and_to_the_journal(attempt: Attempt) -> None:
    """One text to read; found, expected, where and action for the analysis; no token in either."""
    error = GateStoppedError(
        FailureClass.HUB_ERROR, found=f"x {TOKEN}", expected="y", where="z", action="look"
    )
    text = stopping(attempt, error)
    entry = entries(attempt)[-1]
    assert "gate auth stopped: hub error" in text
    assert (entry["event"], entry["failure_class"]) == ("gate_stopped", "hub error")
    assert json.loads(entry["detail"])[0]["found"] == "x [REDACTED]"
    assert TOKEN not in text


def test_a_long_list_of_problems_is_still_readable_in_the_journal(attempt: Attempt) -> None:
    """A thousand bad rows make a long text; what is cut of it stays JSON."""
    found = "row " * 5000
    error = GateStoppedError(
        FailureClass.DATA_INVALID, found=found, expected="y", where="z", action="look"
    )
    stopping(attempt, error)
    (problem,) = json.loads(entries(attempt)[-1]["detail"])
    assert 1000 < len(problem["found"]) < len(found)
    assert problem["action"] == "look"


@pytest.mark.parametrize(
    ("error", "failure_class"),
    [
        (ZeroDivisionError("division by zero"), "harness error"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk full"),
    ],
)
def test_what_nobody_foresaw_stops_the_gate_as_well(
    attempt: Attempt, error: Exception, failure_class: str
) -> None:
    """An error of m43's own is never taken for anything else, and leaves a document."""
    assert failure_class in stopping(attempt, error)
    assert entries(attempt)[-1]["failure_class"] == failure_class


def test_a_gate_without_its_record_is_not_closed(attempt: Attempt) -> None:
    """A gate that did nothing has not passed."""
    with pytest.raises(StoppedError, match="no file"):
        attempt.pass_gate("auth", lambda: None, lambda run: None)


def test_a_broken_promise_blocks_the_later_gates_and_not_its_own(attempt: Attempt) -> None:
    """One failed run shows everything that is wrong with its gate."""
    auth, venv = names(attempt, "auth"), names(attempt, "venv")
    attempt.pass_gate("auth", write(attempt), lambda run: None)
    assert attempt.blocked(auth[0]) == attempt.blocked(venv[0]) == ""
    attempt.judge(auth[0], "assert 2 == 1")
    assert attempt.blocked(auth[1]) == ""
    assert attempt.blocked(venv[0]) == "gate auth did not keep its promises"


def test_a_stopped_gate_blocks_all_of_its_promises(attempt: Attempt) -> None:
    """Without a record none can be judged: none is broken."""
    auth, venv = names(attempt, "auth"), names(attempt, "venv")
    stopping(attempt, ZeroDivisionError())
    assert attempt.blocked(auth[0]) == "gate auth stopped: harness error"
    assert attempt.blocked(venv[0]) == "gate auth stopped: harness error"


def test_the_end_says_of_every_promise_what_became_of_it(attempt: Attempt) -> None:
    """Kept, broken or not run: none is left out, and the run is sealed."""
    attempt.pass_gate("auth", write(attempt), lambda run: None)
    attempt.judge(names(attempt, "auth")[0], None)
    verdict = attempt.finish(lambda: None)
    told = [entry["name"] for entry in entries(attempt) if entry["event"].startswith("promise_")]
    assert sorted(told) == sorted(attempt.plan.contract.names)
    assert not verdict.accepted
    assert [entry["event"] for entry in entries(attempt)][-2:] == ["sealed", "closed"]
    assert entries(attempt)[-1]["detail"] == "NOT ACCEPTED (rehearsal)"
    assert attempt.run.manifest.exists()


def test_a_token_in_the_run_folder_is_a_failure_of_the_run(attempt: Attempt) -> None:
    """Whatever else went well."""
    run: RunDir = attempt.run
    run.log("train").write_text(f"Authorization: Bearer {TOKEN}\n")
    attempt.finish(lambda: None)
    found = next(entry for entry in entries(attempt) if "a token was found" in entry["detail"])
    assert found["detail"].endswith("training_log.txt")
    assert found["failure_class"] == "harness error"


@pytest.mark.parametrize(
    "error",
    [
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
        RuntimeError("can't start new thread"),
    ],
)
def test_too_few_processes_are_no_error_of_m43(attempt: Attempt, error: Exception) -> None:
    """The system refuses them; the words say where that is set."""
    stopping(attempt, error)
    assert entries(attempt)[-1]["failure_class"] == FailureClass.PROCESS_LIMIT


def test_what_fails_outside_the_gates_breaks_no_promise(attempt: Attempt) -> None:
    """A world that cannot be made: nothing was judged, and the class says why."""
    with pytest.raises(OSError, match="No space") as caught:
        raise OSError(errno.ENOSPC, "No space left on device")
    attempt.give_up(caught.value)
    last = entries(attempt)[-1]
    assert (last["event"], last["failure_class"]) == ("interrupted", FailureClass.DISK_FULL)
    assert attempt.blocked(names(attempt, "auth")[0])


def test_the_reserve_holds_room_for_files_as_well_as_for_bytes(attempt: Attempt) -> None:
    """A disk may take no further file though it has room; the last words are a dozen files."""
    kept = list(attempt.run.reserve.iterdir())
    assert len(kept) >= 16
    assert sum(path.stat().st_size for path in kept) >= 4 << 20
    give_room(attempt.run.reserve)
    assert not attempt.run.reserve.exists()
