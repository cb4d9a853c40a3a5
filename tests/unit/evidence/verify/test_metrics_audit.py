"""What train.json says of its method fits the profile and itself, and the summary tells it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from m43.evidence.documents.summary import render_summary
from m43.evidence.run.loaded_run import complete, load_run
from m43.evidence.verify.agreements.training import audit_metrics
from m43.records.profile import LoraTable, Profile
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.run_records import TrainRecord
from tests.unit.evidence.good_records import PROMISED
from tests.unit.evidence.good_run import write_good_run

ALL, ADAPTERS = PROMISED.parameters, 20_000


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder of full fine-tuning that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("audit"))


@pytest.fixture
def run(good: RunDir, tmp_path: Path) -> RunDir:
    """A copy of it, to be changed."""
    return RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))


def trained(run: RunDir, method: str, parameters: int) -> None:
    """Let the record say what was trained."""
    record = read_record(run.train, TrainRecord)
    write_record(run.train, replace(record, method=method, trained_parameters=parameters))


def ask_for_lora(run: RunDir) -> None:
    """Let the profile ask for adapters."""
    profile = read_record(run.profile, Profile)
    training = replace(profile.training, method="lora", accumulate=2)
    lora = LoraTable(rank=16, alpha=32.0, targets=("q_proj", "v_proj"))
    write_record(run.profile, replace(profile, training=training, lora=lora))


def found(run: RunDir) -> list[str]:
    """Audit the folder."""
    return [str(problem) for problem in audit_metrics(load_run(run))]


def test_both_methods_pass_when_the_record_fits(run: RunDir) -> None:
    """All weights, or fewer than the model has."""
    assert found(run) == []
    ask_for_lora(run)
    trained(run, "lora", ADAPTERS)
    assert found(run) == []


@pytest.mark.parametrize(
    ("method", "parameters", "named"),
    [
        ("lora", ADAPTERS, "found method lora, expected full"),
        ("full", ADAPTERS, f"found {ADAPTERS} parameters trained, expected all {ALL}"),
        ("full", 0, f"found 0 parameters trained, expected all {ALL}"),
    ],
)
def test_a_lie_about_full_training_is_named(
    run: RunDir, method: str, parameters: int, named: str
) -> None:
    """Adapters are not passed off as a fine-tuned model."""
    trained(run, method, parameters)

    assert any(named in problem for problem in found(run))


@pytest.mark.parametrize("parameters", [0, ALL, ALL + 1])
def test_lora_trains_some_and_fewer_than_all(run: RunDir, parameters: int) -> None:
    """Nothing trained is no training, and everything trained is not LoRA."""
    ask_for_lora(run)
    trained(run, "lora", parameters)

    (problem,) = found(run)
    assert f"found {parameters} parameters trained, expected fewer than the {ALL}" in problem


def test_the_summary_says_which_method_it_was(run: RunDir) -> None:
    """Which projections, of which size, how many weights, in how many parts."""
    facts = complete(load_run(run))
    assert facts is not None
    assert f"{ALL:,} parameters, all of them trained, in JAX" in render_summary(facts)
    ask_for_lora(run)
    trained(run, "lora", ADAPTERS)

    facts = complete(load_run(run))

    assert facts is not None
    text = render_summary(facts)
    assert f"{ALL:,} parameters, frozen beside 20,000 trained ones of LoRA, in JAX" in text
    assert "lora (rank 16, alpha 32, q_proj, v_proj), adamw, 8 rows in 2 parts, of at most" in text
