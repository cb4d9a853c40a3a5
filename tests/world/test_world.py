"""m43 in a world that answers: accepted where nothing is wrong, one class and one sentence else."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from m43.errors import FailureClass
from m43.evidence.diagnosis import diagnose
from m43.records import AuthRecord, DownloadRecord
from m43.rehearsal.toy_gemma import REPO, REVISION, write_toy_gemma
from m43.rehearsal.world import new_token
from m43.run_dir import RunDir, read_record
from tests.faults.tree import FaultTree, copy_parts
from tests.world.circumstances import BAD, CAS, GOOD, HUB, NAMES, STORAGE, TRANSFER, Circumstance
from tests.world.namespace import REPOSITORY, Report, require_namespaces, stage

RUN = "m43_v1"
_DEADLINES = {"auth_s": 60.0, "download_s": 120.0, "silence_s": 180.0}


@pytest.fixture(scope="session", autouse=True)
def _namespaces() -> None:
    require_namespaces()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the toy that is served under the hub's real name."""
    folder = tmp_path_factory.mktemp("served") / "model"
    write_toy_gemma(folder)
    return folder


@dataclass(frozen=True, kw_only=True)
class Engineer:
    """Somebody with a checkout, a profile of their own, and a home that is new."""

    tree: FaultTree
    folder: Path
    model: Path
    token: str

    @property
    def run(self) -> RunDir:
        """The run folder."""
        return RunDir(self.tree.folder_of(RUN))

    def write_profile(self, circumstance: Circumstance, *, quick: bool) -> None:
        """Write a production profile for the toy, with the circumstance's transport."""
        if quick:
            self.tree.with_quick_child()
        deadlines = {**_DEADLINES, **circumstance.deadlines}
        # The quick child takes the steps of the bundled profile.
        counts = {"contract__optimizer_steps": 300, "training__batch_rows": 8} if quick else {}
        self.tree.write_profile(
            kind="production",
            hub__endpoint="default",
            hub__transport=circumstance.transport,
            **counts,
            **{f"deadlines__{name}": value for name, value in deadlines.items()},
        )

    def go(self, circumstance: Circumstance, *commands: list[str]) -> Report:
        """Do what the README says, in that world."""
        order = {
            "circumstance": circumstance.name,
            "commands": commands,
            "folder": str(self.tree.root),
            "home": str(self.folder / "home"),
            "model": str(self.model),
            "token": self.token,
        }
        return stage(order, self.folder)

    def pytest(self, marker: str) -> list[str]:
        """Give the command of a run by the profile of one's own."""
        words = [sys.executable, "-m", "pytest", "acceptance", "-m", marker]
        return [*words, "--m43-profile", str(self.tree.profile), "--m43-run", RUN]

    def checklist(self) -> list[str]:
        """Give the command of the checklist."""
        words = [sys.executable, "-m", "m43", "checklist", "--json"]
        return [*words, "--m43-profile", str(self.tree.profile), "--m43-run", RUN]


@pytest.fixture
def engineer(tmp_path: Path, model: Path) -> Engineer:
    """Give somebody who has just cloned the repository."""
    root = tmp_path / "repository"
    copy_parts(REPOSITORY, root)
    return Engineer(tree=FaultTree(root=root), folder=tmp_path, model=model, token=new_token())


def cases(circumstances: tuple[Circumstance, ...]) -> list[object]:
    """Make parameters of circumstances, with the mark of those that CI has time for."""
    return [
        pytest.param(each, id=each.name, marks=[pytest.mark.quick] if each.quick else [])
        for each in circumstances
    ]


@pytest.mark.parametrize("circumstance", cases(GOOD))
def test_a_production_run_is_accepted(engineer: Engineer, circumstance: Circumstance) -> None:
    """From a fresh home: READY, then every promise kept, the files by the named transport."""
    engineer.write_profile(circumstance, quick=True)
    report = engineer.go(circumstance, engineer.checklist(), engineer.pytest("production"))
    looked, ran = report.ended
    assert json.loads(looked.output)["ready"], looked.output
    assert ran.status == 0, ran.output
    assert engineer.run.summary.exists()
    assert_asked(engineer, circumstance, report)
    assert report.left == ()


def assert_asked(engineer: Engineer, circumstance: Circumstance, report: Report) -> None:
    """Hold what was recorded against what the hosts have seen."""
    hosts = {host for host, _, _ in report.seen}
    assert hosts <= set(NAMES)
    auth = read_record(engineer.run.auth, AuthRecord)
    assert auth.access_statuses == (200, 200, 200)
    download = read_record(engineer.run.download, DownloadRecord)
    assert download.transport == circumstance.transport
    weights = [
        (host, method)
        for host, method, path in report.seen
        if host == STORAGE and path.endswith(".safetensors")
    ]
    if circumstance.transport == "http":
        assert weights == [(STORAGE, "GET")]
        assert not hosts & {CAS, TRANSFER}
    else:
        assert weights == []
        assert {CAS, TRANSFER} <= hosts
    # Asked by m43, or told apart as asked by its client; the list is switched off.
    assert (HUB, "GET", "/api/agent-harnesses") not in report.seen
    assert auth.unasked == download.unasked == ()


@pytest.mark.parametrize("circumstance", cases(BAD))
def test_what_is_wrong_has_one_class_and_one_sentence(
    engineer: Engineer, circumstance: Circumstance
) -> None:
    """Within its deadline, with nothing left running; the checklist says the same before."""
    engineer.write_profile(circumstance, quick=True)
    # In a world of its own each: what happens once must happen to either.
    (looked,) = engineer.go(circumstance, engineer.checklist()).ended
    report = engineer.go(circumstance, engineer.pytest("production"))
    (ran,) = report.ended
    assert ran.status == 1, ran.output
    document = engineer.run.failure_analysis.read_text()
    found = diagnose(engineer.run)
    assert (found.failure_class, found.gate) == (circumstance.failure_class, circumstance.gate)
    assert circumstance.words in document
    assert engineer.token not in document + ran.output + looked.output
    assert report.left == ()
    ready = json.loads(looked.output)["ready"]
    # What only a download meets cannot be known before it.
    assert ready == (circumstance.gate == "train-300"), looked.output
    if circumstance.failure_class is FailureClass.HUB_ERROR and "once" in circumstance.name:
        assert_not_repeated(report)


def assert_not_repeated(report: Report) -> None:
    """Expect that what was answered with an error was not asked again by the same command."""
    weights = [path for host, _, path in report.seen if host == STORAGE]
    assert len(weights) == len(set(weights))


@pytest.mark.parametrize("harnesses", cases(GOOD[:1]))
def test_a_rehearsal_sends_nothing_anywhere_but_to_its_own_hub(
    engineer: Engineer, harnesses: Circumstance
) -> None:
    """`make rehearsal`, from a fresh home: no request, and not even a name that is looked up."""
    command = [sys.executable, "-m", "pytest", "acceptance", "-m", "rehearsal"]
    report = engineer.go(harnesses, command)
    (ran,) = report.ended
    assert ran.status == 0, ran.output
    assert report.seen == ()
    assert report.asked_resolver == ()
    assert report.left == ()


def test_a_whole_production_run_is_accepted(engineer: Engineer) -> None:
    """With the child that really trains."""
    circumstance = GOOD[0]
    engineer.write_profile(circumstance, quick=False)
    report = engineer.go(circumstance, engineer.pytest("production"))
    (ran,) = report.ended
    assert ran.status == 0, ran.output
    assert_asked(engineer, circumstance, report)
    assert (
        read_record(engineer.run.auth, AuthRecord).repo,
        read_record(engineer.run.auth, AuthRecord).revision,
    ) == (REPO, REVISION)
