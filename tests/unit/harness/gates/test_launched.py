"""A child of several processes: how it is started, and which of them is said to have failed."""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from m43.errors import FailureClass as F
from m43.errors import GateStoppedError
from m43.harness.gates import job
from m43.harness.gates.launched import (
    keep_first_cause,
    launcher_of,
    origins_of_all,
    require_launcher,
)
from m43.harness.process.environment import Launcher, child_environment, launcher_environment
from m43.harness.process.isolation import own_code
from m43.harness.process.process import Child, Outcome, run_child
from m43.harness.run.hub_access import HubAccess
from m43.records.profile import LaunchTable, Profile
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.run_records import ChildError, Origins, ProcessRecord
from tests.unit.harness.gates.test_job import ENDED

REPOSITORY = Path(__file__).parents[4]
LOST = ChildError(failure_class=F.PROCESS_LOST, problems=("Connection reset by peer",), step=7)
MISSING = ChildError(failure_class=F.PROCESSES_MISSING, problems=("after 120 s",), step=0)
FULL = ChildError(failure_class=F.DISK_FULL, problems=("No space left", "on /data"), step=9)
UNFORESEEN = ChildError(failure_class=F.HARNESS_ERROR, problems=("Gloo: unheard of",), step=8)
# Stands for mpirun and srun: starts what follows twice, and says which is which.
TWICE = (
    "sh", "-c", 'for n in 0 1; do RANK=$n "$@" & done; wait', "twice",
)  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Make a run folder."""
    return RunDir.create(tmp_path / "run")


@pytest.fixture
def by_two(profile: Profile) -> Profile:
    """A profile of two processes."""
    contract = replace(profile.contract, devices=2, processes=2)
    return replace(profile, contract=contract, launch=LaunchTable(command=TWICE))


def kept(
    run: RunDir, profile: Profile, errors: dict[int, ChildError], **changes: object
) -> ChildError | None:
    """Leave the errors of some processes, and return the one that is kept for the child."""
    for number, error in errors.items():
        own = run.of_process(number)
        own.path.mkdir(parents=True, exist_ok=True)
        write_record(own.error("train"), error)
    record = replace(ENDED, **{"exit_status": 3, "last_phase": "train", **changes})
    keep_first_cause(run, "train", profile, record, "the launcher's last words")
    path = run.error("train")
    return read_record(path, ChildError) if path.exists() else None


def test_what_one_process_names_is_the_cause_and_not_that_the_other_missed_it(
    run: RunDir, by_two: Profile
) -> None:
    """A full disk on one host; the other only lost its peer. What that said is kept beside it."""
    error = kept(run, by_two, {0: LOST, 1: FULL})
    assert error == replace(FULL, problems=("process 1 of 2: No space left", "on /data"))
    own = run.path / "processes" / "0" / "train.error.json"
    assert read_record(own, ChildError) == LOST


def test_a_process_without_a_record_is_the_one_that_was_lost(run: RunDir, by_two: Profile) -> None:
    """SIGKILL leaves none, and the launcher's status says which signal it was."""
    error = kept(run, by_two, {0: LOST}, exit_status=137)
    assert error is not None
    assert (error.failure_class, error.step) == (F.PROCESS_LOST, 7)
    assert error.problems == (
        "without a record of their end: process 1; the launcher ended with exit status 137, as of "
        "a process that signal 9 ended, and said: the launcher's last words",
        "process 0: Connection reset by peer",
    )


@pytest.mark.parametrize(
    ("errors", "phase", "expected"),
    [
        ({0: MISSING}, "meet", F.PROCESSES_MISSING),
        ({}, "", F.PROCESSES_MISSING),
        ({}, "train", F.PROCESS_LOST),
        ({0: LOST, 1: LOST}, "train", F.PROCESS_LOST),
        ({0: MISSING}, "train", F.PROCESS_LOST),
        ({0: FULL, 1: FULL}, "train", F.DISK_FULL),
        ({0: UNFORESEEN, 1: FULL}, "train", F.DISK_FULL),
        ({0: LOST, 1: UNFORESEEN}, "train", F.HARNESS_ERROR),
    ],
)
def test_what_is_said_where_nobody_names_a_cause(
    run: RunDir, by_two: Profile, errors: dict[int, ChildError], phase: str, expected: F
) -> None:
    """Before they met, some did not come, or the launcher failed; afterwards one was lost."""
    error = kept(run, by_two, errors, last_phase=phase)
    assert error is not None
    assert error.failure_class is expected


def test_who_ended_the_launcher_ended_all(run: RunDir, by_two: Profile) -> None:
    """Its own signal says so; what a process noticed of it is kept as what that one said."""
    assert kept(run, by_two, {0: LOST}, exit_status=-9) is None
    assert (run.path / "processes" / "0" / "train.error.json").exists()


def test_a_launcher_that_is_not_there_is_refused_at_once(by_two: Profile) -> None:
    """Before a weight is fetched; where there is none to be called, none has to be there."""
    absent = replace(by_two, launch=LaunchTable(command=("srun-of-elsewhere", "-n", "2")))
    require_launcher(by_two, os.environ)
    require_launcher(replace(by_two, launch=LaunchTable()), {})
    with pytest.raises(GateStoppedError, match="found no srun-of-elsewhere on the PATH") as caught:
        require_launcher(absent, os.environ)
    assert caught.value.failure_class is F.PROCESSES_MISSING


@pytest.mark.parametrize("changes", [{"exit_status": 0}, {"ended_by_parent": "silence"}])
def test_what_ended_well_or_was_ended_by_m43_has_no_error(
    run: RunDir, by_two: Profile, changes: dict[str, object]
) -> None:
    """What the processes say while they are ended explains nothing."""
    assert kept(run, by_two, {}, **changes) is None


def test_what_all_processes_ran_is_audited_together(run: RunDir, by_two: Profile) -> None:
    """Other code in one of them is one more line, and one that the listing does not have."""
    alike = Origins(own=("a  m43/x.py",), modules=("/x",), libraries=(), standard="/s", startup=())
    other = replace(alike, own=("b  m43/x.py",), startup=("sitecustomize",))
    run.of_process(1).path.mkdir(parents=True)
    for number, origins in enumerate((alike, other)):
        write_record(run.of_process(number).origins, origins)
    found = origins_of_all(run, by_two)
    assert found == replace(alike, own=(*alike.own, *other.own), startup=other.startup)
    assert not run.of_process(1).origins.exists()


def test_a_launcher_is_told_of_its_allocation_and_never_of_the_token() -> None:
    """Without SLURM_JOB_ID srun would begin an allocation of its own."""
    token = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz12345678"
    given = {"SLURM_JOB_ID": "7", "LD_PRELOAD": "x", "NCCL_DEBUG": "INFO", "SLURM_NOTE": token}
    assert launcher_environment(given, (token,)) == {"SLURM_JOB_ID": "7", "NCCL_DEBUG": "INFO"}


def test_the_child_is_started_by_the_launcher_with_the_code_in_a_file(
    run: RunDir, by_two: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing comes through an input that a launcher does not hand on; one alone is as before."""
    started: list[Child] = []

    def run_child(child: Child, see: object, keep: object) -> Outcome:
        started.append(child)
        return Outcome(record=ENDED, stdout=(), stderr=())

    monkeypatch.setattr(job, "run_child", run_child)
    hub_access = HubAccess(environment={"SLURM_JOB_ID": "7"}, endpoint="", cache_dir=None)
    alone = replace(by_two, launch=LaunchTable())
    for profile in (by_two, alone):
        job.run_job("train", run, hub_access, profile, REPOSITORY, lambda sight: None)
    many, one = started
    assert many.launcher == Launcher(command=TWICE, environment={"SLURM_JOB_ID": "7"})
    assert (many.given, str(run.handed_code) in many.command) == (b"", True)
    assert run.handed_code.read_bytes() == one.given
    assert many.environment["M43_LAUNCHED"] == "1"
    assert one.launcher.words(one.command, one.environment) == one.command
    assert "M43_LAUNCHED" not in one.environment
    assert launcher_of(alone, hub_access) == Launcher()


def launched(tmp_path: Path, run: RunDir, *, altered: bool = False) -> tuple[ProcessRecord, str]:
    """Have two processes read their code from a file, and say what they are."""
    repository = tmp_path / "repository"
    shutil.copytree(REPOSITORY / "m43" / "harness" / "process", repository / "m43/harness/process")
    (repository / "m43" / "__init__.py").write_text("")
    (repository / "m43" / "harness" / "__init__.py").write_text("")
    (repository / "m43" / "said.py").write_text(
        "import os, sys\n"
        "def main(words):\n"
        "    said = (os.environ['RANK'], os.environ['GIVEN'], *words, sys.meta_path[0].sha256)\n"
        # At once: the lines of two processes share one pipe.
        "    os.write(1, (' '.join(said) + '\\n').encode())\n"
        "    return 0\n"
    )
    code = own_code(repository)
    run.handed_code.write_bytes(code.handed + (b" " if altered else b""))
    child = Child(
        command=code.command(Path(sys.executable), "m43.said", "a word", file=run.handed_code),
        folder=tmp_path,
        environment={"GIVEN": "told", "PATH": os.environ["PATH"]},
        log=tmp_path / "log",
        deadline_s=60.0,
        launcher=Launcher(command=TWICE, environment={}),
    )
    outcome = run_child(child, lambda sight: None)
    return outcome.record, "\n".join((*sorted(outcome.stdout), *outcome.stderr))


def test_each_process_reads_the_code_that_was_written_and_its_variables(
    tmp_path: Path, run: RunDir
) -> None:
    """Both run it; both can tell the digest of the listing of all that was handed over."""
    record, said = launched(tmp_path, run)
    first, second = said.splitlines()
    assert (first[:13], second[:13]) == ("0 told a word", "1 told a word")
    assert first[2:] == second[2:]
    assert len(first.split()[-1]) == 64
    assert record.command[:3] == TWICE[:3]


def test_code_that_was_changed_on_the_way_is_not_run(tmp_path: Path, run: RunDir) -> None:
    """A byte more, and neither process runs any of it."""
    _, said = launched(tmp_path, run, altered=True)
    assert said.count("is not what m43 wrote") == 2
    assert "told" not in said


def test_a_launched_child_knows_that_it_is() -> None:
    """Its parent is the launcher, wherever that has started it."""
    words = {"platform": "cpu", "system": "linux", "parent_pid": 1, "secrets": ()}
    assert "M43_LAUNCHED" not in child_environment({}, **words)  # type: ignore[arg-type]
    assert child_environment({}, **words, launched=True)["M43_LAUNCHED"] == "1"  # type: ignore[arg-type]
