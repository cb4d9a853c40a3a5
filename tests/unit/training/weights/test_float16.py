"""Weights in float16: read without loss, trained like any other, and saved as they came."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from m43.records import profile_check
from m43.records.evaluation_record import EvaluationRecord
from m43.records.profile import LoraTable, Profile
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.run_records import TrainRecord
from m43.training import child
from m43.training.plan.plan import abstract_batch, size_bytes
from m43.training.trainer import build_abstract_step, build_trainer
from m43.training.weights.checks import (
    NonFiniteWeightError,
    count_moved,
    require_finite,
    stored_dtype,
    stored_dtypes,
)
from m43.training.weights.config_json import declared_dtype, read_model_config
from m43.training.weights.read_write import (
    read_weights,
    round_trip_digest,
    weights_digest,
    write_weights,
)
from tests.unit.training.test_runs import PROFILE, make_run, write_data

BF16, F16, F32 = np.dtype(ml_dtypes.bfloat16), np.dtype(np.float16), np.dtype(np.float32)
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def narrowed(name: str, value: np.ndarray, mixed: bool) -> np.ndarray:
    """Store a tensor in float16; where they are mixed, norms in float32 and one layer as it was."""
    if mixed and "norm" in name:
        return value.astype(F32)
    if mixed and ".layers.1." in name:
        return value
    # So that it uses the bits that bfloat16 has not.
    return (value.astype(F32) * F32.type(1.001)).astype(F16)


def write_folder(source: Path, folder: Path, *, shards: int, mixed: bool) -> Path:
    """Write the tiny Gemma in float16, as a merge on a card without bfloat16 leaves it."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    tensors = {
        name: narrowed(name, value, mixed) for name, value in load_file(source / SINGLE).items()
    }
    if shards == 1:
        save_file(tensors, folder / SINGLE, metadata={"format": "pt"})
        return folder
    names, weight_map = sorted(tensors), {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[number::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index))
    return folder


@pytest.fixture(params=[(1, False), (3, False), (1, True), (3, True)], ids=str)
def folder(request: pytest.FixtureRequest, tiny_gemma: Path, tmp_path: Path) -> Path:
    """Single and sharded, all of it and a part of it in float16."""
    shards, mixed = request.param
    return write_folder(tiny_gemma, tmp_path / "f16", shards=shards, mixed=mixed)


@pytest.fixture
def halves(tiny_gemma: Path, tmp_path: Path) -> Path:
    """All of it in float16, in one file."""
    return write_folder(tiny_gemma, tmp_path / "halves", shards=1, mixed=False)


def tensors_of(folder: Path) -> dict[str, np.ndarray]:
    """Read every tensor as it is stored."""
    return {
        name: value
        for path in folder.glob("*.safetensors")
        for name, value in load_file(path).items()
    }


def test_it_is_widened_without_loss(folder: Path) -> None:
    """Every float16, subnormal ones included, is a float32."""
    model = read_weights(folder, read_model_config(folder), jnp.float32)
    tensors = tensors_of(folder)

    assert (
        np.asarray(model.embedding[...]) == tensors["model.embed_tokens.weight"].astype(F32)
    ).all()
    for layer in range(2):
        gate = tensors[f"model.layers.{layer}.mlp.gate_proj.weight"].astype(F32)
        assert (np.asarray(model.layers.feed_forward.gate.weight[...][layer]) == gate).all()
    every = np.arange(1 << 16, dtype=np.uint16).view(F16)
    finite = every[np.isfinite(every)]
    assert (finite.astype(F32).astype(F16).view(np.uint16) == finite.view(np.uint16)).all()


@pytest.mark.parametrize("dtype", [jnp.float32, None])
def test_untouched_it_is_written_bit_for_bit(
    folder: Path, tmp_path: Path, dtype: type | None
) -> None:
    """Every tensor in the dtype it came in, whatever the others are in; config.json as it was."""
    gemma = read_model_config(folder)
    model = read_weights(folder, gemma, dtype)

    write_weights(model, tmp_path / "out", source=folder)

    for path in folder.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    assert round_trip_digest(tmp_path / "out", gemma) == weights_digest(folder)
    assert count_moved(folder, tmp_path / "out", gemma) == 0


def test_each_parameter_is_held_as_narrow_as_its_tensors_allow(
    tiny_gemma: Path, tmp_path: Path
) -> None:
    """Two tensors of different dtypes in one stack need float32; the others stay as they are."""
    mixed = write_folder(tiny_gemma, tmp_path / "mixed", shards=1, mixed=True)
    gemma = read_model_config(mixed)

    model = read_weights(mixed, gemma, None)

    assert model.embedding[...].dtype == F16
    assert model.final_norm[...].dtype == F32
    assert model.layers.feed_forward.gate.weight[...].dtype == F32
    assert (stored_dtypes(mixed, gemma), stored_dtype(mixed, gemma)) == (
        ("BF16", "F16", "F32"),
        F32,
    )
    assert stored_dtypes(tiny_gemma, gemma) == ("BF16",)


def test_what_moved_is_counted_in_what_is_stored(halves: Path, tmp_path: Path) -> None:
    """Against the base's own bits; and across dtypes, by values that both hold exactly."""
    gemma = read_model_config(halves)
    model = read_weights(halves, gemma, jnp.float32)
    norm = model.final_norm[...]
    # The second is a change that float16 rounds away: it did not move what is saved.
    nnx.update(model, {"final_norm": norm.at[0].set(0.5).at[1].add(1e-9)})
    write_weights(model, tmp_path / "half", source=halves)
    write_weights(model, tmp_path / "whole", source=halves, dtype=jnp.float32)

    assert count_moved(halves, tmp_path / "half", gemma) == 1
    assert count_moved(halves, tmp_path / "whole", gemma) == 2


def test_what_float16_cannot_hold_is_named_when_it_is_read_back(
    halves: Path, tmp_path: Path
) -> None:
    """65,504 is its largest number."""
    gemma = read_model_config(halves)
    model = read_weights(halves, gemma, jnp.float32)
    nnx.update(model, {"final_norm": model.final_norm[...].at[0].set(1e5)})

    write_weights(model, tmp_path / "out", source=halves)

    with pytest.raises(NonFiniteWeightError, match=r"model\.norm\.weight: found 1 of"):
        require_finite(tmp_path / "out", gemma)


def lora_profile() -> Profile:
    """The bundled rehearsal with adapters."""
    loaded = profile_check.load(PROFILE)
    training = replace(loaded.training, method="lora", batch_rows=2, sequence_tokens=32)
    return replace(loaded, training=training, lora=LoraTable(rank=2, alpha=4.0))


def test_the_plan_is_that_of_the_step_that_is_taken(halves: Path) -> None:
    """Beside adapters the base stays in its two bytes, as config.json says and is planned."""
    table = json.loads((halves / "config.json").read_text())
    (halves / "config.json").write_text(json.dumps(table | {"torch_dtype": "float16"}))
    gemma, profile, batch = read_model_config(halves), lora_profile(), abstract_batch(2, 32)

    built = build_abstract_step(profile, gemma, declared_dtype(halves))
    planned = built.step.lower(built.abstract_state(), built.frozen, batch)

    assert planned.as_text() == build_trainer(profile, halves, gemma).lower(batch).as_text()
    assert size_bytes(built.frozen) == 2 * gemma.parameters


def test_a_frozen_base_computes_as_if_it_were_widened(halves: Path) -> None:
    """Each weight is rounded to bfloat16 once, whether it lies there in float16 or in float32."""
    gemma = read_model_config(halves)
    tokens = jnp.asarray([[2, 300, 301, 302]])
    positions, segments = jnp.arange(4)[None], jnp.ones((1, 4), jnp.int32)

    def logits(folder: Path, dtype: type | None) -> np.ndarray:
        model = read_weights(folder, gemma, dtype)
        return np.asarray(model.logits(model.hidden(tokens, positions, segments)))

    assert (logits(halves, None) == logits(halves, jnp.float32)).all()
    assert np.isfinite(logits(halves, None)).all()


@pytest.mark.usefixtures("compiled_once")
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_whole_run_says_what_it_was(halves: Path, tmp_path: Path, method: str) -> None:
    """Trained, saved in float16, read back, and answered with; the record names the dtype."""
    write_data(tmp_path)
    run: RunDir = make_run(tmp_path / "run", profile_check.load(PROFILE), halves, tmp_path)
    if method == "lora":
        mine = run.read_profile()
        training = replace(mine.training, method="lora")
        write_record(
            run.profile, replace(mine, training=training, lora=LoraTable(rank=4, alpha=8.0))
        )

    assert child.run_job("train", run) == child.FINISHED
    assert child.run_job("evaluate", run) == child.FINISHED

    record = read_record(run.train, TrainRecord)
    gemma = read_model_config(halves)
    assert record.weights_dtypes == ("F16",)
    assert {value.dtype for value in tensors_of(run.model).values()} == {F16}
    assert record.base_weights_sha256 == weights_digest(halves)
    assert record.model_sha256 == record.reloaded_sha256 == weights_digest(run.model)
    assert record.parameters_moved == count_moved(halves, run.model, gemma) > 0
    losses = [line.loss_nats for line in run.read_metrics()]
    assert losses[-1] < losses[0]
    assert read_record(run.evaluation, EvaluationRecord).model_sha256 == record.model_sha256
