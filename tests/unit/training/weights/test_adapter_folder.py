"""The adapters alone, as PEFT reads them, and what they are against the merged model."""

import json
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from m43.core.gemma import Gemma, add_adapters, projections
from m43.files import ModelFolderError
from m43.records.profile import LoraTable
from m43.training.trainer import lora_settings
from m43.training.weights.config_json import read_model_config
from m43.training.weights.peft import CONFIG, WEIGHTS, write_adapter
from m43.training.weights.read_write import read_weights, write_weights

BF16 = ml_dtypes.bfloat16
TABLE = LoraTable(rank=3, alpha=6.0, targets=("q_proj", "o_proj", "down_proj"))
NAMED = {"repo": "owner/base", "revision": "0" * 40}


def learnt(folder: Path, table: LoraTable) -> Gemma:
    """Read a model and give it adapters that change something."""
    model = read_weights(folder, read_model_config(folder), BF16)
    add_adapters(model, lora_settings(table), seed=1)
    rng = np.random.default_rng(2)
    for projection in projections(model).values():
        if projection.adapter is not None:
            b = projection.adapter.b
            b[...] = jnp.asarray(rng.normal(size=b.shape), jnp.float32)
    return model


def test_the_tensors_have_pefts_names_and_shapes(tiny_gemma: Path, tmp_path: Path) -> None:
    """Two float32 matrices for each target in each layer, and nothing else."""
    write_adapter(learnt(tiny_gemma, TABLE), tmp_path / "adapter", TABLE, **NAMED)

    tensors = load_file(tmp_path / "adapter" / WEIGHTS)

    before = "base_model.model.model.layers"
    expected = {}
    for layer in (0, 1):
        for name, outputs, inputs in (
            ("self_attn.q_proj", 32, 32), ("self_attn.o_proj", 32, 32), ("mlp.down_proj", 32, 64),
        ):  # fmt: skip
            expected[f"{before}.{layer}.{name}.lora_A.weight"] = (3, inputs)
            expected[f"{before}.{layer}.{name}.lora_B.weight"] = (outputs, 3)
    assert {name: tensor.shape for name, tensor in tensors.items()} == expected
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float32)}


def test_everybody_may_read_both_files(tiny_gemma: Path, tmp_path: Path) -> None:
    """Evidence is not for its owner alone."""
    (tmp_path / "like").write_text("this")
    write_adapter(learnt(tiny_gemma, TABLE), tmp_path / "adapter", TABLE, **NAMED)

    modes = {path.stat().st_mode for path in (tmp_path / "adapter").iterdir()}

    assert modes == {(tmp_path / "like").stat().st_mode}


def test_the_config_names_the_base_and_the_adapters(tiny_gemma: Path, tmp_path: Path) -> None:
    """PEFT needs no more to put the adapters where they belong."""
    write_adapter(learnt(tiny_gemma, TABLE), tmp_path / "adapter", TABLE, **NAMED)

    config = json.loads((tmp_path / "adapter" / CONFIG).read_text())

    assert (config["peft_type"], config["task_type"]) == ("LORA", "CAUSAL_LM")
    assert (config["base_model_name_or_path"], config["revision"]) == ("owner/base", "0" * 40)
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (3, 6, 0.0)
    assert config["target_modules"] == ["q_proj", "o_proj", "down_proj"]
    assert (config["bias"], config["use_rslora"], config["use_dora"]) == ("none", False, False)


@pytest.mark.parametrize("name", ["self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"])
def test_base_and_adapter_make_the_merged_model(
    tiny_gemma: Path, tmp_path: Path, name: str
) -> None:
    """W + alpha / rank * B A in float64, rounded once; a projection without adapter stays."""
    model = learnt(tiny_gemma, TABLE)
    write_adapter(model, tmp_path / "adapter", TABLE, **NAMED)
    write_weights(model, tmp_path / "model", source=tiny_gemma, dtype=BF16)
    adapter = load_file(tmp_path / "adapter" / WEIGHTS)
    base, merged = (
        read_weights(folder, model.config, BF16) for folder in (tiny_gemma, tmp_path / "model")
    )
    leaf = {"q_proj": "query", "v_proj": "value", "down_proj": "down"}[name.split(".")[1]]
    for layer in (0, 1):
        weight = np.float64(projections(base)[leaf].weight[...][layer])
        found = np.float64(projections(merged)[leaf].weight[...][layer])
        at = f"base_model.model.model.layers.{layer}.{name}"
        if name == "self_attn.v_proj":
            assert (found == weight).all()
            continue
        change = 2.0 * adapter[f"{at}.lora_B.weight"] @ np.float64(adapter[f"{at}.lora_A.weight"])
        # Rounding to the 8 bits of bfloat16 moves a value by at most 2 ** -8 of it.
        np.testing.assert_allclose(found, weight + change, rtol=2**-7.98, atol=1e-6)
        assert (found != weight).mean() > 0.9


def test_a_folder_with_files_is_not_overwritten(tiny_gemma: Path, tmp_path: Path) -> None:
    """What is there may be evidence."""
    (tmp_path / "notes").write_text("mine")

    with pytest.raises(ModelFolderError, match="found a folder with files in it"):
        write_adapter(learnt(tiny_gemma, TABLE), tmp_path, TABLE, **NAMED)

    assert [path.name for path in tmp_path.iterdir()] == ["notes"]
