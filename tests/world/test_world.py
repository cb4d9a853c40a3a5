"""m43 in a world that answers: accepted where nothing is wrong, one class and one sentence else."""

import json
import sys

import pytest

from m43.errors import FailureClass
from m43.records.hub_record import AuthRecord, DownloadRecord
from m43.records.run_dir import read_record
from m43.rehearsal.toy_gemma import REPO, REVISION
from tests.faults.agreement import assert_same_checks
from tests.faults.remains import ITSELF, examine_folder
from tests.world.circumstances import BAD, CAS, GOOD, HUB, NAMES, STORAGE, TRANSFER, Circumstance
from tests.world.engineer import Engineer
from tests.world.namespace import Report


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
    assert report.elsewhere == 0
    auth = read_record(engineer.run.auth, AuthRecord)
    assert auth.access_statuses == (200, 200, 200)
    download = read_record(engineer.run.download, DownloadRecord)
    assert download.transport == circumstance.transport
    # Each small file costs a question, its redirect, and a body; each large one two.
    assert download.requests >= 2 * len(download.files) - 1
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
    remains = examine_folder(engineer.tree, engineer.run.path, ran.status)
    assert (remains.failure_class, remains.gate) == (circumstance.failure_class, circumstance.gate)
    assert (remains.closed_by, remains.unfinished) == (ITSELF, 0)
    document = engineer.run.failure_analysis.read_text()
    assert circumstance.words in document
    assert "Traceback" not in document
    assert engineer.token not in document + ran.output + looked.output
    assert report.left == ()
    page = json.loads(looked.output)
    # What only a download meets cannot be known before it.
    assert page["ready"] == (circumstance.gate == "train-300"), looked.output
    if not page["ready"]:
        groups = {group["gate"]: group["items"] for group in page["groups"]}
        assert_same_checks(engineer.run, groups)
    if circumstance.failure_class is FailureClass.HUB_ERROR and "once" in circumstance.name:
        assert_not_repeated(report)


def assert_not_repeated(report: Report) -> None:
    """Expect that what was answered with an error was not asked again by the same command."""
    weights = [path for host, _, path in report.seen if host == STORAGE]
    assert len(weights) == len(set(weights))


NOT_MEANT = {
    "HTTPS_PROXY": "http://192.0.2.7:443",
    "ALL_PROXY": "socks5://192.0.2.7:443",
    "HF_HUB_OFFLINE": "1",
}


@pytest.mark.parametrize("circumstance", cases(GOOD[:4]))
def test_a_rehearsal_sends_nothing_anywhere_but_to_its_own_hub(
    engineer: Engineer, circumstance: Circumstance
) -> None:
    """From a fresh home, whatever is set for the outside: no name looked up, no connection."""
    if circumstance is not GOOD[0]:
        engineer.tree.with_quick_child()
    variables = [f"{name}={value}" for name, value in NOT_MEANT.items()]
    command = ["env", *variables, sys.executable, "-m", "pytest", "acceptance", "-m", "rehearsal"]
    report = engineer.go(circumstance, command)
    (ran,) = report.ended
    assert ran.status == 0, ran.output
    assert report.seen == ()
    assert report.asked_resolver == ()
    assert report.elsewhere == 0
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
