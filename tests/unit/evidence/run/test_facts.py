"""The facts read back from a good run serve the contract exactly."""

import inspect
from collections.abc import Mapping
from pathlib import Path

import pytest

from m43.evidence.contract.contract import Promise, read_contract
from m43.evidence.contract.measurement import Judged, measure
from m43.evidence.run import loaded_run
from m43.evidence.run.loaded_run import load_run
from m43.evidence.verify.claims import verify
from m43.evidence.verify.judged import hold, load_promises
from m43.records.run_dir import RunDir
from m43.records.run_records import MalformedRecordError
from tests.unit.evidence.good_records import CONTRACT
from tests.unit.evidence.good_run import write_good_run

REPOSITORY = CONTRACT.parents[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("facts"))


def records_of(run: RunDir) -> Mapping[str, object]:
    """Give the facts under the fixtures' names."""
    return load_run(run).records


@pytest.mark.parametrize("name", read_contract(CONTRACT).names)
def test_every_promise_of_the_contract_can_be_asked_of_the_facts(run: RunDir, name: str) -> None:
    """Each fixture and field that the contract names is there, and a good run keeps it."""
    promise = load_promises(CONTRACT)[name]
    records = records_of(run)

    assert set(inspect.signature(promise).parameters) <= set(records)
    assert hold(promise, records) == ""


def test_the_shown_measurements_agree_with_the_contract(run: RunDir) -> None:
    """What the documents evaluate from text holds where the test functions hold."""
    records = records_of(run)

    judged = [measure(promise, records) for promise in read_contract(CONTRACT).promises]

    assert all(item.holds for item in judged)
    assert all(item.measurements for item in judged)
    assert all(side.file for item in judged for side in item.measurements)


def test_a_promise_without_its_records_is_not_measured(run: RunDir) -> None:
    """Absent records give no measurement rather than a kept promise."""
    promise = read_contract(CONTRACT).promises[-1]

    assert measure(promise, {}).holds is None


def test_a_missing_record_is_a_named_error(tmp_path: Path) -> None:
    """A gate that did not run has no facts, and the error says which record is not there."""
    with pytest.raises(MalformedRecordError, match="the record 'train'"):
        load_run(RunDir(tmp_path)).require("train")


def test_a_record_that_cannot_be_read_is_named_with_its_file(tmp_path: Path) -> None:
    """What is there and is no record says where it lies and what is wrong with it."""
    run = write_good_run(tmp_path)
    run.auth.write_text("{")
    with pytest.raises(MalformedRecordError, match=r"auth\.json"):
        load_run(run).require("auth")


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write down each promise that is held against records, from now on."""
    names: list[str] = []

    def noting(promise: Promise, records: Mapping[str, object]) -> Judged:
        names.append(promise.name)
        return measure(promise, records)

    monkeypatch.setattr(loaded_run, "measure", noting)
    return names


def test_what_was_read_is_judged_once(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the verdict is asked for, also beside a journal that has grown."""
    names = counted(monkeypatch)
    loaded = load_run(run)
    assert loaded.verdict.accepted
    assert loaded.verdict is loaded.verdict
    shorter = loaded.with_entries(loaded.entries[:-2])
    assert not shorter.verdict.accepted
    assert shorter.records == loaded.records
    assert sorted(names) == sorted(loaded.contract.names if loaded.contract else ())


def test_a_folder_is_verified_with_one_judgement(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ending, documents, attestations and signature ask the same run for its verdict."""
    names = counted(monkeypatch)
    verify(run.path, REPOSITORY, without_weights=True)
    assert sorted(names) == sorted(read_contract(CONTRACT).names)
