"""The adapter that m43 exports, put beside the base by PEFT, against the merged model.

Needs peft and torch, so it is no unit test.

    python -m pytest tests/parity/test_adapter.py
"""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import peft
import pytest
import torch
import transformers
from flax import nnx

from m43.core.gemma import Gemma, add_adapters, projections
from m43.records.profile import LoraTable
from m43.training.trainer import lora_settings
from m43.training.weights.config_json import read_model_config
from m43.training.weights.peft import write_adapter
from m43.training.weights.read_write import read_weights, write_weights
from tests.parity.sizes import SIZES, WINDOW

# PEFT 0.21 asks transformers 5 for an attribute by the name it had before.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")

TABLE = LoraTable(rank=4, alpha=6.0)
SOME = LoraTable(rank=3, alpha=3.0, targets=("v_proj", "down_proj"))
SHARED = {
    **SIZES,
    "num_hidden_layers": 3,
    "attn_implementation": "eager",
}
CONFIGS = {
    "gemma": transformers.GemmaConfig(**SHARED),
    "gemma2": transformers.Gemma2Config(**SHARED | WINDOW),
    "gemma3_text": transformers.Gemma3TextConfig(**SHARED | WINDOW),
}
TOKENS = torch.arange(2, 42)[None, :]


def write_base(folder: Path, family: str, dtype: torch.dtype) -> Path:
    """Let transformers write a random model."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[family])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.15)
    model.to(dtype).save_pretrained(folder)
    return folder


def learnt(folder: Path, table: LoraTable, dtype: type) -> Gemma:
    """Read the model and give it adapters that change something."""
    model = read_weights(folder, read_model_config(folder), dtype, compute_dtype=dtype)
    add_adapters(model, lora_settings(table), seed=1)
    rng = np.random.default_rng(2)
    for projection in projections(model).values():
        if projection.adapter is not None:
            b = projection.adapter.b
            b[...] = jnp.asarray(rng.normal(size=b.shape) * 0.1, jnp.float32)
    return model


def logits(model: torch.nn.Module) -> np.ndarray:
    """Run a torch model on the tokens."""
    with torch.no_grad():
        return model(TOKENS).logits.float().numpy()


def logits_of_m43(model: Gemma) -> np.ndarray:
    """Run m43's on the same."""
    ids = jnp.asarray(TOKENS.numpy(), jnp.int32)
    positions = jnp.arange(ids.shape[1], dtype=jnp.int32)[None, :]
    graphdef, weights = nnx.split(model)
    model = nnx.merge(graphdef, weights)
    return np.asarray(model.logits(model.hidden(ids, positions, jnp.ones_like(ids))))


def load(folder: Path, dtype: torch.dtype) -> transformers.PreTrainedModel:
    """Load a folder as anybody would."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager"
    ).eval()


def export(model: Gemma, base: Path, folder: Path, table: LoraTable) -> None:
    """Write both folders that a LoRA run leaves."""
    write_adapter(model, folder / "adapter", table, repo="owner/base", revision="0" * 40)
    write_weights(model, folder / "model", source=base, dtype=model.embedding.dtype)


def with_adapter(base: Path, folder: Path, dtype: torch.dtype) -> peft.PeftModel:
    """Let PEFT put the adapter beside the base."""
    return peft.PeftModel.from_pretrained(load(base, dtype), folder / "adapter").eval()


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("table", [TABLE, SOME], ids=["all", "some"])
def test_peft_puts_the_adapter_where_it_belongs(
    tmp_path: Path, family: str, table: LoraTable
) -> None:
    """In float32 PEFT's logits, the merged folder's in transformers and m43's own are the same."""
    base = write_base(tmp_path / "base", family, torch.float32)
    model = learnt(base, table, jnp.float32)
    export(model, base, tmp_path, table)

    adapted, merged = (
        logits(with_adapter(base, tmp_path, torch.float32)),
        logits(load(tmp_path / "model", torch.float32)),
    )

    size = np.abs(merged).max()
    assert np.abs(logits(load(base, torch.float32)) - merged).max() > 0.1 * size
    assert np.abs(adapted - merged).max() < 1e-5 * size
    assert np.abs(adapted - logits_of_m43(model)).max() < 1e-5 * size


@pytest.mark.parametrize("family", CONFIGS)
def test_in_bfloat16_they_differ_as_little_as_peft_from_itself(tmp_path: Path, family: str) -> None:
    """The merged folder and m43 are as near to PEFT in float32 as PEFT in bfloat16 is."""
    base = write_base(tmp_path / "base", family, torch.bfloat16)
    model = learnt(base, TABLE, jnp.bfloat16)
    export(model, base, tmp_path, TABLE)

    exact = logits(with_adapter(base, tmp_path, torch.float32))
    noise = np.abs(logits(with_adapter(base, tmp_path, torch.bfloat16)) - exact).max()

    assert noise < 0.1 * np.abs(exact).max()
    assert np.abs(logits(load(tmp_path / "model", torch.bfloat16)) - exact).max() < 2 * noise
    assert np.abs(logits_of_m43(model) - exact).max() < 2 * noise


def test_pefts_own_merge_agrees(tmp_path: Path) -> None:
    """Weight for weight in float32, tied embedding included."""
    base = write_base(tmp_path / "base", "gemma3_text", torch.float32)
    model = learnt(base, TABLE, jnp.float32)
    export(model, base, tmp_path, TABLE)

    adapted = with_adapter(base, tmp_path, torch.float32)
    theirs = dict(adapted.merge_and_unload().named_parameters())

    for name, parameter in load(tmp_path / "model", torch.float32).named_parameters():
        torch.testing.assert_close(parameter, theirs[name], rtol=1e-5, atol=1e-6)
