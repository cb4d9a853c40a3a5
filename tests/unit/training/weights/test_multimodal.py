"""Gemma 3 above 1B: the text part of a multimodal folder is read, and saved as a text model."""

import json
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from m43.core.config import GemmaConfig
from m43.gemma_families import BASE_CONFIG
from m43.training.weights.checks import count_left_out, count_moved, count_stored
from m43.training.weights.config_json import ModelConfigError, declared_dtype, read_model_config
from m43.training.weights.folder import WeightsError, tensor_places
from m43.training.weights.read_write import (
    model_digest,
    read_weights,
    round_trip_digest,
    weights_digest,
    write_weights,
)

Table = dict[str, object]
Tensors = dict[str, np.ndarray]

LINEAR: Table = {"factor": 8.0, "rope_type": "linear"}
# Source: config.json of google/gemma-3-4b-it, -12b-it and -27b-it; the vision tower's is shortened.
WHOLE: Table = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "boi_token_index": 255_999,
    "eoi_token_index": 256_000,
    "eos_token_id": [1, 106],
    "image_token_index": 262_144,
    "initializer_range": 0.02,
    "mm_tokens_per_image": 256,
    "model_type": "gemma3",
    "torch_dtype": "bfloat16",
    "vision_config": {"hidden_size": 1152, "model_type": "siglip_vision_model"},
}
OF_4B: Table = {
    "hidden_size": 2560,
    "intermediate_size": 10_240,
    "model_type": "gemma3_text",
    "num_hidden_layers": 34,
    "rope_scaling": LINEAR,
    "sliding_window": 1024,
}
OF_27B: Table = {
    "head_dim": 128,
    "hidden_size": 5376,
    "intermediate_size": 21_504,
    "model_type": "gemma3_text",
    "num_attention_heads": 32,
    "num_hidden_layers": 62,
    "num_key_value_heads": 16,
    "query_pre_attn_scalar": 168,
    "rope_scaling": LINEAR,
    "sliding_window": 1024,
}
TINY: Table = {
    "head_dim": 4,
    "hidden_size": 8,
    "intermediate_size": 12,
    "model_type": "gemma3_text",
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "num_key_value_heads": 1,
    "rope_scaling": LINEAR,
    "vocab_size": 120,
}
PUBLISHED, NEWER = "language_model.model.", "model.language_model."
SHARDS = ("model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors")
OTHERS = "model-00003-of-00003.safetensors"


def describe(folder: Path, text: object, **whole: object) -> Path:
    """Write the config.json of a multimodal folder."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(WHOLE | {"text_config": text} | whole))
    return folder


def read(folder: Path, text: object, **whole: object) -> GemmaConfig:
    """Write a config.json and read it."""
    return read_model_config(describe(folder, text, **whole))


def write_base(folder: Path, before: str = PUBLISHED) -> Tensors:
    """Write a tiny model in three shards, the last of which holds nothing of the text model.

    Returns:
        The text model's tensors by their names where it stands alone.
    """
    config = read(folder, TINY)
    rng = np.random.default_rng(0)
    bf16 = np.dtype(ml_dtypes.bfloat16)
    text = {
        place.name: rng.normal(size=place.shape).astype(bf16) for place in tensor_places(config)
    }
    named = [(name.replace("model.", before, 1), values) for name, values in text.items()]
    outer = "model." if before == NEWER else ""
    vision = {f"{outer}vision_tower.patch.weight": rng.normal(size=(3, 5)).astype(bf16)}
    projector = {f"{outer}multi_modal_projector.norm.weight": np.ones(7, np.float32)}
    shards = (dict(named[::2]) | vision, dict(named[1::2]), projector)
    index = {}
    for name, tensors in zip((*SHARDS, OTHERS), shards, strict=True):
        save_file(tensors, folder / name, metadata={"format": "pt"})
        index |= dict.fromkeys(tensors, name)
    size = sum(values.nbytes for tensors in shards for values in tensors.values())
    metadata = {"total_size": size, "total_parameters": 0}
    table = {"metadata": metadata, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(table))
    return text


def test_what_is_left_out_has_transformers_defaults(tmp_path: Path) -> None:
    """4B says only what differs from them; two ids end a text, as the whole says."""
    config = read(tmp_path, OF_4B)
    assert (config.family, config.architecture) == ("gemma3_text", "Gemma3ForCausalLM")
    assert (config.q_heads, config.kv_heads, config.head_dim) == (8, 4, 256)
    assert (config.vocab_size, config.max_positions) == (262_208, 131_072)
    assert (config.sliding_window, config.query_scale) == (1024, 1 / 16)
    assert config.global_layers == ((False,) * 5 + (True,)) * 5 + (False,) * 4
    assert (config.rope_theta_global, config.rope_theta_local, config.rope_factor) == (1e6, 1e4, 8)
    assert (config.pad_id, config.bos_id, config.eos_ids) == (0, 2, (1, 106))
    assert declared_dtype(tmp_path) == np.dtype(ml_dtypes.bfloat16)


def test_27b_has_heads_of_its_own(tmp_path: Path) -> None:
    """Of 128, and scores scaled by d_model / heads instead of by them."""
    config = read(tmp_path, OF_27B)
    assert (config.q_heads, config.kv_heads, config.head_dim) == (32, 16, 128)
    assert config.query_scale == 168**-0.5


def test_the_spelling_of_transformers_5_says_the_same(tmp_path: Path) -> None:
    """As `save_pretrained` writes the folder today."""
    new = {key: value for key, value in OF_4B.items() if key != "rope_scaling"} | {
        "_sliding_window_pattern": 6,
        "dtype": "float32",
        "eos_token_id": 1,
        "layer_types": [
            "full_attention" if layer % 6 == 5 else "sliding_attention" for layer in range(34)
        ],
        "rope_parameters": {
            "full_attention": LINEAR | {"rope_theta": 1e6},
            "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
        },
    }
    assert read(tmp_path, new) == read(tmp_path, OF_4B)
    assert read(tmp_path, new | {"rope_scaling": LINEAR}) == read(tmp_path, OF_4B)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("rope_scaling", {"rope_type": "yarn", "factor": 8.0}, "rope_scaling"),
        ("rope_scaling", LINEAR | {"low_freq_factor": 1.0}, "rope_scaling"),
        ("rope_scaling", {"type": "linear", "factor": 8.0}, "rope_scaling"),
        ("rope_scaling", {"rope_type": "linear"}, "rope_scaling.factor"),
        ("rope_scaling", LINEAR | {"factor": 0}, "rope_scaling.factor"),
        ("partial_rotary_factor", 0.5, "partial_rotary_factor"),
        ("model_type", "gemma2", "model_type"),
        ("architectures", ["Gemma3ForSequenceClassification"], "architectures"),
        ("num_hidden_layers", "34", "num_hidden_layers"),
        ("head_dim", None, "head_dim"),
        ("tie_word_embeddings", False, "tie_word_embeddings"),
        ("use_bidirectional_attention", True, "use_bidirectional_attention"),
    ],
)
def test_another_text_model_is_refused(tmp_path: Path, key: str, value: object, told: str) -> None:
    """By where it stands, and once."""
    with pytest.raises(ModelConfigError) as caught:
        read(tmp_path, OF_4B | {key: value})
    (problem,) = caught.value.problems
    assert problem.where.endswith(f"config.json, text_config.{told}")
    assert problem.expected
    assert problem.action


def test_two_factors_that_differ_are_refused(tmp_path: Path) -> None:
    """Which of the two would count is not for m43 to say."""
    both = {
        "rope_parameters": {
            "full_attention": LINEAR | {"rope_theta": 1e6},
            "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
        },
        "rope_scaling": LINEAR | {"factor": 4.0},
    }
    with pytest.raises(ModelConfigError, match="as rope_parameters says"):
        read(tmp_path, OF_4B | both)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("architectures", ["Gemma3ForSequenceClassification"]),
        ("tie_word_embeddings", False),
        ("quantization_config", {"bits": 4}),
        ("text_config", None),
        ("text_config", []),
    ],
)
def test_another_whole_is_refused(tmp_path: Path, key: str, value: object) -> None:
    """What is said of all parts counts for the text part too."""
    with pytest.raises(ModelConfigError) as caught:
        read(tmp_path, OF_4B, **{key: value})
    (problem,) = caught.value.problems
    assert problem.where.endswith(f"config.json, {key}")


@pytest.mark.parametrize("before", [PUBLISHED, NEWER])
def test_the_text_part_is_read_and_saved_bit_for_bit(tmp_path: Path, before: str) -> None:
    """By its own names, in its own files, without the vision tower; read back it is the same."""
    base, out = tmp_path / "base", tmp_path / "out"
    text = write_base(base, before)
    config = read_model_config(base)
    model = read_weights(base, config, None)

    write_weights(model, out, source=base)

    saved = {name: values for path in SHARDS for name, values in load_file(out / path).items()}
    assert saved.keys() == text.keys()
    assert all(saved[name].tobytes() == text[name].tobytes() for name in text)
    assert not (out / OTHERS).exists()
    assert read_model_config(out) == config
    assert round_trip_digest(out, config) == weights_digest(out)
    assert count_moved(base, out, config) == 0
    assert count_stored(out, config) == config.parameters
    assert (count_left_out(base, config), count_left_out(out, config)) == (22, 0)


def test_a_saved_text_model_is_written_again_byte_for_byte(tmp_path: Path) -> None:
    """As any other folder is."""
    base, out, again = (tmp_path / name for name in ("base", "out", "again"))
    write_base(base)
    config = read_model_config(base)
    write_weights(read_weights(base, config, None), out, source=base)

    write_weights(read_weights(out, config, None), again, source=out)

    for path in sorted(again.iterdir()):
        assert path.read_bytes() == (out / path.name).read_bytes(), path.name
    assert {path.name for path in out.iterdir()} == {
        *(path.name for path in again.iterdir()), BASE_CONFIG
    }  # fmt: skip


def test_the_saved_folder_describes_a_text_model(tmp_path: Path) -> None:
    """Every key written out, the base's own config.json beside it, an index of what is there."""
    base, out = tmp_path / "base", tmp_path / "out"
    text = write_base(base)
    config = read_model_config(base)

    write_weights(read_weights(base, config, None), out, source=base, dtype=jnp.float32)

    table = json.loads((out / "config.json").read_text())
    assert (table["model_type"], table["architectures"]) == ("gemma3_text", ["Gemma3ForCausalLM"])
    assert table["rope_scaling"] == LINEAR
    assert (table["torch_dtype"], table["eos_token_id"]) == ("float32", [1, 106])
    assert "vision_config" not in table
    assert (out / BASE_CONFIG).read_bytes() == (base / "config.json").read_bytes()
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == text.keys()
    numbers = sum(values.size for values in text.values())
    assert index["metadata"] == {"total_size": 4 * numbers, "total_parameters": numbers}


def test_the_base_is_digested_whole(tmp_path: Path) -> None:
    """So that its digest follows from what the hub pins, the vision tower included."""
    base = tmp_path / "base"
    write_base(base)
    config = read_model_config(base)
    model = read_weights(base, config, None)
    assert model_digest(model, base) == weights_digest(base)
    model.final_norm[...] = model.final_norm[...] + 1
    assert model_digest(model, base) != weights_digest(base)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("audio_tower.patch.weight", "audio_tower.patch.weight, expected no tensor of that name"),
        (f"{NEWER}norm.weight", "model.norm.weight in"),
        ("lm_head.weight", "a lm_head.weight that differs from model.embed_tokens.weight"),
        ("language_model.lm_head.weight", "a lm_head.weight that differs from"),
    ],
)
def test_other_tensors_are_refused(tmp_path: Path, name: str, told: str) -> None:
    """What is neither the text model nor what is known to be left out."""
    base = tmp_path / "base"
    text = write_base(base)
    path = base / OTHERS
    save_file(load_file(path) | {name: text["model.norm.weight"]}, path)
    (base / "model.safetensors.index.json").unlink()
    for shard in (*SHARDS, OTHERS):
        if shard != OTHERS:
            save_file(load_file(path) | load_file(base / shard), path)
            (base / shard).unlink()
    path.rename(base / "model.safetensors")
    with pytest.raises(WeightsError, match=told):
        read_weights(base, read_model_config(base), None)
