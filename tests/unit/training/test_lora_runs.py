"""A whole LoRA run: what it trains, what it saves, and what it evaluates."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from m43.records import profile_check
from m43.records.evaluation_record import EvaluationRecord
from m43.records.profile import LoraTable, Profile
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.run_records import TrainRecord
from m43.training import child
from m43.training.weights.checks import count_moved
from m43.training.weights.config_json import read_model_config
from m43.training.weights.peft import CONFIG, WEIGHTS
from m43.training.weights.read_write import weights_digest
from tests.unit.training.test_runs import PROFILE, STEPS, make_run, write_data

pytestmark = pytest.mark.usefixtures("compiled_once")
LORA = LoraTable(rank=4, alpha=8.0, targets=("q_proj", "v_proj", "down_proj"))
# Two layers of q [32, 32], v [16, 32] and down [32, 64].
TRAINED = 2 * 4 * ((32 + 32) + (16 + 32) + (32 + 64))


def make_lora_run(folder: Path, model: Path) -> RunDir:
    """Make a run folder as the earlier gates leave it, for adapters and two parts a step."""
    write_data(folder)
    run = make_run(folder / "run", profile_check.load(PROFILE), model, folder)
    write_record(run.profile, with_lora(run.read_profile()))
    return run


def with_lora(profile: Profile) -> Profile:
    """Ask for adapters."""
    training = replace(profile.training, method="lora", accumulate=2)
    return replace(profile, training=training, lora=LORA)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_gemma: Path) -> RunDir:
    """Train and evaluate once, for all tests that only look."""
    run = make_lora_run(tmp_path_factory.mktemp("run"), tiny_gemma)
    assert child.run_job("train", run) == child.FINISHED
    assert child.run_job("evaluate", run) == child.FINISHED
    return run


def test_the_record_says_what_was_trained(finished: RunDir, tiny_gemma: Path) -> None:
    """The model's parameters and the trained ones are told apart."""
    record = read_record(finished.train, TrainRecord)

    assert (record.method, record.optimizer_steps) == ("lora", STEPS)
    assert record.parameters == read_model_config(tiny_gemma).parameters
    assert record.trained_parameters == TRAINED


def test_it_learns(finished: RunDir) -> None:
    """The loss of the last step is below the first."""
    losses = [line.loss_nats for line in finished.read_metrics()]

    assert losses[-1] < losses[0]


def test_the_saved_model_is_the_merged_one(finished: RunDir, tiny_gemma: Path) -> None:
    """What moved are weights of the targets and no others; evaluation decodes this model."""
    record = read_record(finished.train, TrainRecord)
    base, model = (
        load_file(folder / "model.safetensors") for folder in (tiny_gemma, finished.model)
    )
    moved = {
        name.split(".")[-2]
        for name in base
        if (base[name].view(np.uint16) != model[name].view(np.uint16)).any()
    }

    assert moved == {"q_proj", "v_proj", "down_proj"}
    assert record.model_sha256 == record.reloaded_sha256 == weights_digest(finished.model)
    assert read_record(finished.evaluation, EvaluationRecord).model_sha256 == record.model_sha256
    config = read_model_config(tiny_gemma)
    assert record.parameters_moved == count_moved(tiny_gemma, finished.model, config) > 0


def test_the_adapters_lie_beside_it(finished: RunDir) -> None:
    """As many weights as were trained, for the base that the profile names."""
    tensors = load_file(finished.adapter / WEIGHTS)
    table = json.loads((finished.adapter / CONFIG).read_text())
    contract = finished.read_profile().contract

    assert sum(tensor.size for tensor in tensors.values()) == TRAINED
    assert (table["r"], table["lora_alpha"]) == (4, 8)
    assert (table["base_model_name_or_path"], table["revision"]) == (
        contract.repo,
        contract.revision,
    )
