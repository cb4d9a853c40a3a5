"""The toy Gemma: Gemma 1's format to the letter, and the same bytes everywhere."""

import json
import tomllib
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors import safe_open
from transformers import AutoConfig, GemmaConfig

from m43.rehearsal import toy_gemma
from m43.rehearsal.reply import ServedRepository
from m43.rehearsal.toy_gemma import (
    D_MODEL,
    LAYERS,
    REPO,
    REVISION,
    Tensor,
    revision_of,
    tensors,
    to_bfloat16,
    values,
    write_toy_gemma,
)

ROOT = Path(__file__).parents[3]
LAYER_NAMES = {
    "input_layernorm.weight",
    "self_attn.q_proj.weight",
    "self_attn.k_proj.weight",
    "self_attn.v_proj.weight",
    "self_attn.o_proj.weight",
    "post_attention_layernorm.weight",
    "mlp.gate_proj.weight",
    "mlp.up_proj.weight",
    "mlp.down_proj.weight",
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the toy once."""
    folder = tmp_path_factory.mktemp("toy")
    write_toy_gemma(folder)
    return folder


def test_the_toy_is_the_pinned_one(toy: Path) -> None:
    """These bytes were first written elsewhere, with other versions of everything."""
    assert revision_of(toy) == REVISION


def test_the_rehearsal_profile_pins_this_toy(toy: Path) -> None:
    """Profile and toy change together, and every pinned file is there."""
    table = tomllib.loads((ROOT / "acceptance" / "rehearsal.toml").read_text(encoding="utf-8"))
    served = ServedRepository.from_folder(toy, name=REPO, revision=REVISION)
    assert (table["contract"]["repo"], table["contract"]["revision"]) == (REPO, REVISION)
    assert {file.name for file in served.files} == set(table["hub"]["files"])
    told = json.loads((toy / "config.json").read_text(encoding="utf-8"))
    assert table["contract"]["config"].items() <= told.items()


def test_a_changed_file_is_another_revision(tmp_path: Path) -> None:
    """Neither content nor name can change under one revision."""
    (tmp_path / "config.json").write_bytes(b"{}")
    before = revision_of(tmp_path)
    (tmp_path / "config.json").rename(tmp_path / "konfig.json")
    renamed = revision_of(tmp_path)
    (tmp_path / "konfig.json").write_bytes(b"{ }")
    assert len({before, renamed, revision_of(tmp_path)}) == 3


def test_a_tokenizer_with_other_line_ends_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would give another revision, of which nobody could tell why."""
    changed = tmp_path / "tokenizer.json"
    changed.write_bytes(toy_gemma.TOKENIZER.read_bytes().replace(b"\n", b"\r\n"))
    monkeypatch.setattr(toy_gemma, "TOKENIZER", changed)
    with pytest.raises(toy_gemma.RewrittenFileError, match="LF to CRLF"):
        write_toy_gemma(tmp_path / "toy")


def test_transformers_reads_the_configuration(toy: Path) -> None:
    """It is a Gemma to the library that defines what a Gemma is."""
    config = AutoConfig.from_pretrained(toy)
    assert isinstance(config, GemmaConfig)
    assert config.architectures == ["GemmaForCausalLM"]
    assert (config.pad_token_id, config.eos_token_id, config.bos_token_id) == (0, 1, 2)
    assert config.rope_parameters["rope_theta"] == 10000.0
    assert config.tie_word_embeddings


def test_the_configuration_has_the_keys_of_gemma_1(toy: Path) -> None:
    """Keys in the spelling of the real model's file, which is transformers 4's."""
    config = json.loads((toy / "config.json").read_text())
    assert config["rope_theta"] == 10000.0
    assert config["torch_dtype"] == "bfloat16"
    assert config["hidden_act"] == "gelu"
    assert config["num_key_value_heads"] < config["num_attention_heads"]


def test_safetensors_reads_every_weight_of_gemma_1(toy: Path) -> None:
    """The names are Gemma 1's, the shapes follow from the configuration, the dtype is bfloat16."""
    config = json.loads((toy / "config.json").read_text())
    with safe_open(toy / "model.safetensors", framework="numpy") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
        dtypes = {file.get_slice(name).get_dtype() for name in shapes}
    layers = {f"model.layers.{n}.{name}" for n in range(LAYERS) for name in LAYER_NAMES}
    assert set(shapes) == layers | {"model.embed_tokens.weight", "model.norm.weight"}
    assert dtypes == {"BF16"}
    assert shapes["model.embed_tokens.weight"] == [config["vocab_size"], config["hidden_size"]]
    heads = config["num_attention_heads"] * config["head_dim"]
    assert shapes["model.layers.0.self_attn.q_proj.weight"] == [heads, config["hidden_size"]]
    assert shapes["model.layers.0.self_attn.k_proj.weight"] == [
        config["num_key_value_heads"] * config["head_dim"],
        config["hidden_size"],
    ]
    assert shapes["model.layers.0.mlp.down_proj.weight"] == [
        config["hidden_size"],
        config["intermediate_size"],
    ]


def test_safetensors_reads_the_values_that_were_drawn(toy: Path) -> None:
    """Header and data fit together: what is read is what was written, weight by weight."""
    vocabulary = json.loads((toy / "config.json").read_text())["vocab_size"]
    with safe_open(toy / "model.safetensors", framework="numpy") as file:
        for tensor in tensors(vocabulary):
            read = file.get_tensor(tensor.name)
            np.testing.assert_array_equal(read.view(np.uint16), values(tensor))


@pytest.mark.parametrize("tensor", tensors(1000), ids=lambda tensor: tensor.name)
def test_weights_have_the_spread_that_they_should(tensor: Tensor) -> None:
    """Centred, with the standard deviation of the table; norms are exactly zero."""
    drawn = values(tensor).view(ml_dtypes.bfloat16).astype(np.float64)
    assert abs(drawn.mean()) <= 5 * tensor.spread / drawn.size**0.5
    assert drawn.std() == pytest.approx(tensor.spread, rel=0.03)


def test_every_layer_keeps_the_scale_of_its_input() -> None:
    """Spreads of 1/sqrt(inputs), where an embedding's row is looked up and then times sqrt(D)."""
    spreads = {tensor.name: tensor.spread for tensor in tensors(1000)}
    assert spreads["model.embed_tokens.weight"] == pytest.approx(1 / 128**0.5)
    assert spreads["model.layers.1.self_attn.q_proj.weight"] == pytest.approx(1 / 128**0.5)
    assert spreads["model.layers.1.mlp.down_proj.weight"] == pytest.approx(1 / 512**0.5)
    assert spreads["model.norm.weight"] == 0


def test_two_weights_are_never_the_same() -> None:
    """Each has its own stream; layers that begin equal would stay redundant."""
    drawn = [values(tensor).tobytes() for tensor in tensors(300) if tensor.spread]
    assert len(set(drawn)) == len(drawn) == 1 + 7 * LAYERS
    assert len({content[: 2 * D_MODEL] for content in drawn}) == len(drawn)


# Halfway between two neighbours: down to the even one, then up to the even one.
@example([1.00390625, 1.01171875])
@given(st.lists(st.floats(-(2.0**127), 2.0**127, width=32), min_size=1))
def test_rounding_agrees_with_ml_dtypes(numbers: list[float]) -> None:
    """Nearest, ties to even, also for denormal numbers."""
    array = np.array(numbers, np.float32)
    expected = array.astype(ml_dtypes.bfloat16).view(np.uint16)
    np.testing.assert_array_equal(to_bfloat16(array), expected)
