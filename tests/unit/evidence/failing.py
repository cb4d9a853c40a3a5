"""How a run fails: a gate that stops, or ends and breaks promises, or is interrupted or cut off."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest

from m43 import typed_json
from m43.errors import FailureClass as F
from m43.errors import Problem
from m43.evidence.diagnosis.diagnosis import CUT_OFF
from m43.files import file_sha256
from m43.harness.gates import job
from m43.harness.process.process import Outcome
from m43.records import profile_check
from m43.records.profile import Profile
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.run_records import ProcessRecord, RecoveryRecord, Vitals
from tests.unit.evidence import good_run, on_a_card
from tests.unit.evidence.good_records import profile_of
from tests.unit.evidence.left_behind import Write

How = Literal["judged", "stopped", "interrupted", "cut off"]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How a class is met.

    Attributes:
        gate: At which it is.
        how: A gate ends and its promises are judged; or it stops, is interrupted, or cut off.
        write: Leaves what the gate left.
        problem: Why the gate stopped, where no child says it.
        profile: Makes the run's own profile; none where it is the bundled one of a rehearsal.
        verified: A word of what verify holds against it, where something was changed on purpose.
    """

    gate: str
    write: Write = field(repr=False)
    how: How = "judged"
    problem: Problem | None = None
    profile: Callable[[Path], Profile] | None = field(default=None, repr=False)
    verified: str = ""

    def make(self, folder: Path, failure_class: F) -> RunDir:
        """Write the run."""
        profile = self.profile(folder) if self.profile else None
        opened = opened_with(profile) if profile else {}
        if self.how == "judged":
            return good_run.fail_gate(folder, self.gate, self.write, profile, opened)
        if self.how == "interrupted":
            return good_run.interrupt_at(folder, self.gate, self.write, "SIGTERM")
        if self.how == "cut off":
            return self._cut_off(folder, failure_class)
        run, journal = good_run.reach(folder, self.gate, profile, **opened)
        self.write(run)
        detail = said(self.problem or child_problem(run, self.gate, failure_class))
        good_run.stop_gate(journal, self.gate, failure_class=str(failure_class), detail=detail)
        return good_run.close(run, journal, self.gate)

    def _cut_off(self, folder: Path, failure_class: F) -> RunDir:
        """Write a run that could not write its own end, so that a later command did."""
        assert self.problem is not None
        run, journal = good_run.reach(folder, self.gate)
        then = Vitals(boot_id="7c0e", pid=4711, oom_kills=0)
        write_record(run.vitals, then)
        detail = said(self.problem)
        stopped = journal.append(
            "gate_stopped", gate=self.gate, failure_class=str(failure_class), detail=detail
        )
        now = RecoveryRecord(
            closed_utc=stopped.time_utc,
            vitals=replace(then, pid=815),
            journal_bytes_removed=0,
            removed=(),
        )
        write_record(run.recovery, now)
        journal.append(
            "interrupted", gate=self.gate, failure_class=str(F.INTERRUPTED), detail=CUT_OFF
        )
        good_run.pass_over(journal, self.gate, "the run was cut off")
        good_run.finish(run, journal)
        return run


def child_problem(run: RunDir, gate: str, failure_class: F) -> Problem:
    """Return the problem that a gate finds with its child; it must have this class."""
    name: job.Name = "eval" if gate == "eval" else "train"
    record = read_record(run.process(name), ProcessRecord)
    stacks = run.stacks(name)
    # What faulthandler says goes to standard error, and from there into the log.
    lines = tuple(stacks.read_text().splitlines()) if stacks.exists() else ()
    with pytest.raises(job.ChildFailedError) as found:
        job.require_success(name, run, Outcome(record=record, stdout=(), stderr=lines))
    assert found.value.failure_class is failure_class
    return found.value.problems[0]


def said(problem: Problem) -> str:
    """Write a problem as the journal holds it."""
    return json.dumps([typed_json.to_plain(problem)], ensure_ascii=False)


def opened_with(profile: Profile) -> dict[str, object]:
    """Return what the opening says of a profile: its rows, and how it differs from the bundled."""
    bundled = on_a_card.production() if profile.kind == "production" else profile_of()
    rows = {"train_rows_sha256": profile.data.train, "eval_rows_sha256": profile.data.evaluation}
    return {
        "profile_differences": profile_check.differences(profile, bundled),
        **{name: file_sha256(path) for name, path in rows.items() if path.is_absolute()},
    }
