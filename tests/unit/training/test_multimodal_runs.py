"""A run that begins with a multimodal Gemma 3: its text model is trained, saved and judged."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from m43.evidence.verify.agreements.model import config_problems
from m43.gemma_families import BASE_CONFIG, text_part
from m43.records import profile_check
from m43.records.profile import LoraTable
from m43.records.run_dir import RunDir, read_record
from m43.records.run_records import TrainRecord
from m43.training import child
from m43.training.weights import read_model_config, weights_digest
from m43.training.weights.folder import tensor_places
from tests.unit.training.test_runs import PROFILE, make_run, write_data

pytestmark = pytest.mark.usefixtures("compiled_once")

LEFT_OUT = 3 * 5 + 7


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_gemma: Path) -> Path:
    """A tiny text model with something like a vision tower beside it, in one file."""
    folder = tmp_path_factory.mktemp("multimodal")
    shutil.copyfile(tiny_gemma / "tokenizer.json", folder / "tokenizer.json")
    tiny = json.loads((tiny_gemma / "config.json").read_text())
    sizes = (
        *("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim"),
        *("hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings"),
    )
    text = {key: tiny[key] for key in sizes} | {
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 16,
        "sliding_window_pattern": 2,
    }
    config = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": text,
        "torch_dtype": "bfloat16",
        "vision_config": {},
    }
    (folder / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(43)
    tensors = {
        f"language_model.{place.name}": (0.1 * rng.normal(size=place.shape))
        for place in tensor_places(read_model_config(folder))
    }
    tensors |= {"vision_tower.patch.weight": rng.normal(size=(3, 5))}
    tensors |= {"multi_modal_projector.norm.weight": rng.normal(size=7)}
    stored = {name: values.astype(ml_dtypes.bfloat16) for name, values in tensors.items()}
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, base: Path) -> RunDir:
    """Train and evaluate it once."""
    folder = tmp_path_factory.mktemp("run")
    write_data(folder)
    run = make_run(folder / "run", profile_check.load(PROFILE), base, folder)
    assert child.run_job("train", run) == child.FINISHED
    assert child.run_job("evaluate", run) == child.FINISHED
    return run


def test_the_record_says_what_was_left_out(run: RunDir, base: Path) -> None:
    """The base is digested whole; what was trained and saved is the text model."""
    record = read_record(run.train, TrainRecord)
    assert record.left_out_parameters == LEFT_OUT
    assert f"its other {LEFT_OUT} parameters" in record.left_out
    assert record.base_weights_sha256 == weights_digest(base)
    assert record.model_sha256 == record.reloaded_sha256 == weights_digest(run.model)
    assert (record.architecture, record.parameters) == (
        "Gemma3ForCausalLM", read_model_config(base).parameters
    )  # fmt: skip
    assert 0 < record.parameters_moved <= record.parameters


def test_the_saved_description_follows_from_the_bases(run: RunDir, base: Path) -> None:
    """Which verify holds it against, and against the digest of what training read."""
    record = read_record(run.train, TrainRecord)
    whole = (run.model / BASE_CONFIG).read_bytes()
    assert whole == (base / "config.json").read_bytes()
    assert record.repo_config_sha256 == hashlib.sha256(whole).hexdigest()
    assert json.loads((run.model / "config.json").read_text()) == text_part(json.loads(whole))
    assert list(config_problems(run.model, record)) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("config.json", '"head_dim": 16', '"head_dim": 8', "another text model"),
        ("config.json", "{", "", "another text model"),
        (BASE_CONFIG, "gemma3", "gemma9", "which training read"),
        (BASE_CONFIG, '"head_dim": 16', '"head_dim": 8', "which training read"),
    ],
)
def test_a_changed_description_is_named(
    run: RunDir, tmp_path: Path, name: str, old: str, new: str, told: str
) -> None:
    """Whichever of the two it is."""
    model = shutil.copytree(run.model, tmp_path / "model")
    text = (model / name).read_text()
    assert old in text
    (model / name).write_text(text.replace(old, new, 1))
    found = "\n".join(map(str, config_problems(model, read_record(run.train, TrainRecord))))
    assert told in found


def test_a_base_that_nobody_counted_is_named(run: RunDir, tmp_path: Path) -> None:
    """The number and the file go together."""
    record = read_record(run.train, TrainRecord)
    (one,) = config_problems(run.model, replace(record, left_out_parameters=0))
    assert one.found == "0 parameters left out"
    model = shutil.copytree(run.model, tmp_path / "model")
    (model / BASE_CONFIG).unlink()
    found = "\n".join(map(str, config_problems(model, record)))
    assert f"no model/{BASE_CONFIG}" in found


def test_adapters_are_named_after_the_base_that_they_go_on(tmp_path: Path, base: Path) -> None:
    """So that PEFT puts them on its text model, and on no projection of the vision tower."""
    write_data(tmp_path)
    bundled = profile_check.load(PROFILE)
    lora = replace(
        bundled,
        training=replace(bundled.training, method="lora", optimizer="adamw"),
        lora=LoraTable(rank=2, alpha=4.0),
    )
    run = make_run(tmp_path / "run", lora, base, tmp_path)
    assert child.run_job("train", run) == child.FINISHED
    config = json.loads((run.adapter / "adapter_config.json").read_text())
    assert config["target_modules"].startswith(r".*\.language_model\..*\.(")
    data = (run.adapter / "adapter_model.safetensors").read_bytes()
    assert b"base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A" in data
    assert b"base_model.model.model.layers" not in data
