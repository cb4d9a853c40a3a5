"""The text part of a multimodal Gemma 3 beside transformers, and what m43 saves of it.

Needs torch, so it is no unit test.

    python -m pytest tests/parity/test_multimodal.py
"""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import peft
import pytest
import torch
import transformers

from m43.core.gemma import Gemma, add_adapters, projections
from m43.records.profile import LoraTable
from m43.training.trainer import lora_settings
from m43.training.weights.checks import count_left_out
from m43.training.weights.config_json import read_model_config
from m43.training.weights.peft import write_adapter
from m43.training.weights.read_write import read_weights, write_weights
from tests.parity.sizes import SIZES, WINDOW

# PEFT 0.21 asks transformers 5 for an attribute by the name it had before.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")

LENGTH = 60
TEXT = {
    **SIZES,
    "num_hidden_layers": 7,
    **WINDOW,
    "rope_scaling": {"rope_type": "linear", "factor": 8.0},
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
TOKENS = torch.from_numpy(np.random.default_rng(1).integers(3, 290, (2, LENGTH)))


@pytest.fixture(scope="module")
def theirs() -> transformers.PreTrainedModel:
    """A random multimodal model whose layers outweigh its embedding."""
    config = transformers.Gemma3Config(
        text_config=dict(TEXT),
        vision_config=dict(VISION),
        mm_tokens_per_image=4,
        boi_token_index=297,
        eoi_token_index=298,
        image_token_index=299,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    model = transformers.Gemma3ForConditionalGeneration(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 0.1 if "embed_tokens" in name else 0.25
            parameter.copy_(torch.randn_like(parameter) * spread)
    return model.eval()


@pytest.fixture(scope="module", params=["as saved", "as published"])
def folder(
    request: pytest.FixtureRequest,
    theirs: transformers.PreTrainedModel,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder that transformers writes, and one whose config.json says as little as Google's."""
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder, max_shard_size="50KB")
    if request.param == "as published":
        table = json.loads((folder / "config.json").read_text())
        table["text_config"] = TEXT | {"model_type": "gemma3_text"}
        (folder / "config.json").write_text(json.dumps(table))
    return folder


@pytest.fixture(scope="module")
def ours(folder: Path) -> Gemma:
    """Its text part in m43."""
    config = read_model_config(folder)
    return read_weights(folder, config, jnp.float32, compute_dtype=jnp.float32)


def logits_of(model: transformers.PreTrainedModel) -> np.ndarray:
    """Run a torch model on the tokens."""
    with torch.no_grad():
        return model(TOKENS, attention_mask=torch.ones_like(TOKENS)).logits.numpy()


def load(folder: Path) -> transformers.PreTrainedModel:
    """Load a folder as anybody would, without a missing or unexpected tensor."""
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, attn_implementation="eager"
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    return model.eval()


def test_logits_agree(theirs: transformers.PreTrainedModel, ours: Gemma) -> None:
    """To 1e-5 of the largest logit, at positions that the factor of 8 has turned by radians."""
    ids = jnp.asarray(TOKENS.numpy(), jnp.int32)
    positions = jnp.broadcast_to(jnp.arange(LENGTH, dtype=jnp.int32), ids.shape)
    found = np.asarray(ours.logits(ours.hidden(ids, positions, jnp.ones_like(ids))))
    expected = logits_of(theirs)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_transformers_reads_what_m43_saves_of_it(
    theirs: transformers.PreTrainedModel, ours: Gemma, folder: Path, tmp_path: Path
) -> None:
    """A text model with the multimodal one's logits, weight for weight, and no vision tower."""
    out = tmp_path / "out"
    write_weights(ours, out, source=folder)
    again = load(out)
    assert type(again) is transformers.Gemma3ForCausalLM
    text = theirs.model.language_model
    for name, parameter in again.model.named_parameters():
        assert torch.equal(parameter, text.get_parameter(name)), name
    assert np.array_equal(logits_of(again), logits_of(theirs))
    left_out = sum(each.numel() for each in theirs.parameters()) - again.num_parameters()
    assert count_left_out(folder, ours.config) == left_out > 0


def test_peft_puts_the_adapter_on_the_text_model(
    theirs: transformers.PreTrainedModel, folder: Path, tmp_path: Path
) -> None:
    """Beside the multimodal base it gives the logits of the merged text model."""
    model = read_weights(folder, read_model_config(folder), jnp.float32, compute_dtype=jnp.float32)
    table = LoraTable(rank=4, alpha=6.0)
    add_adapters(model, lora_settings(table), seed=1)
    rng = np.random.default_rng(2)
    for projection in projections(model).values():
        b = projection.adapter.b
        b[...] = jnp.asarray(rng.normal(size=b.shape) * 0.1, jnp.float32)
    write_adapter(model, tmp_path / "a", table, repo="o/base", revision="0" * 40, beside=True)
    write_weights(model, tmp_path / "merged", source=folder, dtype=jnp.float32)

    adapted = peft.PeftModel.from_pretrained(load(folder), tmp_path / "a").eval()

    beside = {name for name, _ in adapted.named_parameters() if "lora_" in name}
    assert beside
    assert all(".language_model." in name for name in beside)
    found, merged = logits_of(adapted), logits_of(load(tmp_path / "merged"))
    size = np.abs(merged).max()
    assert np.abs(found - merged).max() < 1e-5 * size
    assert np.abs(merged - logits_of(theirs)).max() > 1e-2 * size
