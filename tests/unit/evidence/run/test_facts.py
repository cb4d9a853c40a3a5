"""The facts read back from a good run serve the contract exactly."""

import inspect
from pathlib import Path

import pytest

from m43.evidence.contract.contract import read_contract
from m43.evidence.contract.measurement import measure
from m43.evidence.run import loaded_run
from m43.evidence.verify.verify import hold, load_promises
from m43.records.run_dir import RunDir
from m43.records.run_records import MalformedRecordError
from tests.unit.evidence.good_records import CONTRACT
from tests.unit.evidence.good_run import write_good_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("facts"))


def records_of(run: RunDir) -> dict[str, object]:
    """Give the facts under the fixtures' names."""
    return {
        "opening": loaded_run.read_opening(run),
        "contract": run.read_profile().contract,
        "auth": loaded_run.read_auth(run),
        "venv": loaded_run.read_venv(run),
        "plan": loaded_run.read_plan(run),
        "train": loaded_run.read_train(run),
        "evaluation": loaded_run.read_evaluation(run),
        "closing": loaded_run.read_closing(run),
    }


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
    """A gate that did not run has no facts, and the error says which file is not there."""
    with pytest.raises(MalformedRecordError, match=r"train\.json"):
        loaded_run.read_train(RunDir(tmp_path))
