"""config.json in the spellings of transformers 4 and 5, and what is refused in it."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m43.core.gemma_config import GemmaConfig
from m43.errors import FailureClass
from m43.training.model_config import ModelConfigError, read_model_config
from tests.unit.training.gemma_2b import GEMMA_2B

Table = dict[str, object]

# Source: config.json of google/gemma-2b at revision 9cf48e52b224239de00d483ec8eb84fb8d0f3a3a.
GEMMA1: Table = {
    "architectures": ["GemmaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "head_dim": 256,
    "hidden_act": "gelu",
    "hidden_activation": None,
    "hidden_size": 2048,
    "initializer_range": 0.02,
    "intermediate_size": 16384,
    "max_position_embeddings": 8192,
    "model_type": "gemma",
    "num_attention_heads": 8,
    "num_hidden_layers": 18,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": 256000,
}
GEMMA2: Table = GEMMA1 | {
    "architectures": ["Gemma2ForCausalLM"],
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "model_type": "gemma2",
    "num_hidden_layers": 26,
    "num_key_value_heads": 4,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
}
GEMMA3: Table = GEMMA1 | {
    "architectures": ["Gemma3ForCausalLM"],
    "attn_logit_softcapping": None,
    "eos_token_id": [1, 106],
    "final_logit_softcapping": None,
    "hidden_act": None,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 640,
    "intermediate_size": 2048,
    "max_position_embeddings": 32768,
    "model_type": "gemma3_text",
    "num_attention_heads": 4,
    "query_pre_attn_scalar": 256,
    "rope_local_base_freq": 10000.0,
    "rope_theta": 1000000.0,
    "sliding_window": 512,
    "sliding_window_pattern": 6,
    "vocab_size": 262144,
}


def read(folder: Path, table: object) -> GemmaConfig:
    """Write a config.json and read it."""
    (folder / "config.json").write_text(json.dumps(table))
    return read_model_config(folder)


def without(table: Table, *keys: str) -> Table:
    """Leave keys out."""
    return {key: value for key, value in table.items() if key not in keys}


def test_gemma_1(tmp_path: Path) -> None:
    """The model of the production run, every field."""
    assert read(tmp_path, GEMMA1) == GEMMA_2B
    assert read(tmp_path, GEMMA1).parameters == 2_506_172_416


def test_gemma_2(tmp_path: Path) -> None:
    """Even layers are local, scores and logits are capped, norms stand on both sides."""
    config = read(tmp_path, GEMMA2)
    assert config.global_layers == (False, True) * 13
    assert (config.sliding_window, config.attention_softcap, config.final_softcap) == (4096, 50, 30)
    assert (config.post_norms, config.qk_norm) == (True, False)
    assert config.parameters == 2_614_341_888


def test_gemma_3(tmp_path: Path) -> None:
    """Five local layers, then a global one with a rotation of its own; two ids end a text."""
    config = read(tmp_path, GEMMA3)
    assert config.global_layers == ((False,) * 5 + (True,)) * 3
    assert (config.rope_theta_local, config.rope_theta_global) == (1e4, 1e6)
    assert (config.post_norms, config.qk_norm, config.eos_ids) == (True, True, (1, 106))
    assert config.parameters == 268_098_176


def test_transformers_5_spelling(tmp_path: Path) -> None:
    """rope_parameters, layer_types and dtype say what older keys said."""
    flat: Table = {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}}
    for table in (GEMMA1, GEMMA2):
        new = without(table, "rope_theta", "torch_dtype") | flat | {"dtype": "bfloat16"}
        assert read(tmp_path, new) == read(tmp_path, table)
    new = without(GEMMA3, "rope_theta", "rope_local_base_freq", "sliding_window_pattern") | {
        "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 3,
        "rope_parameters": {
            "full_attention": {"rope_theta": 1000000.0, "rope_type": "default"},
            "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
        },
    }
    assert read(tmp_path, new) == read(tmp_path, GEMMA3)


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        (GEMMA1, "model_type", "gemma3"),
        (GEMMA1, "model_type", "llama"),
        (GEMMA1, "architectures", ["GemmaForSequenceClassification"]),
        (GEMMA1, "attention_bias", True),
        (GEMMA1, "attention_dropout", 0.1),
        (GEMMA1, "tie_word_embeddings", False),
        (GEMMA1, "use_bidirectional_attention", True),
        (GEMMA1, "rope_scaling", {"type": "linear", "factor": 2.0}),
        (GEMMA1, "quantization_config", {"bits": 4}),
        (GEMMA1, "hidden_act", "silu"),
        (GEMMA1, "hidden_activation", "relu"),
        (GEMMA1, "sliding_window", 512),
        (GEMMA1, "attn_logit_softcapping", 50.0),
        (GEMMA1, "final_logit_softcapping", 30.0),
        (GEMMA1, "query_pre_attn_scalar", 144),
        (GEMMA1, "layer_types", ["sliding_attention"] * 18),
        (GEMMA1, "num_hidden_layers", 0),
        (GEMMA1, "num_hidden_layers", 10**30),
        (GEMMA1, "num_hidden_layers", "18"),
        (GEMMA1, "num_hidden_layers", True),
        (GEMMA1, "hidden_size", 2048.0),
        (GEMMA1, "num_key_value_heads", 3),
        (GEMMA1, "head_dim", 255),
        (GEMMA1, "rms_norm_eps", 0),
        (GEMMA1, "rope_theta", -1.0),
        (GEMMA1, "rope_theta", None),
        (GEMMA1, "pad_token_id", None),
        (GEMMA1, "bos_token_id", 256000),
        (GEMMA1, "eos_token_id", []),
        (GEMMA1, "eos_token_id", [1, -1]),
        (GEMMA2, "hidden_activation", "gelu"),
        (GEMMA2, "sliding_window", None),
        (GEMMA2, "layer_types", ["full_attention"]),
        (GEMMA2, "layer_types", ["chunked_attention"] * 26),
        (GEMMA3, "attn_logit_softcapping", 50.0),
        (GEMMA3, "sliding_window_pattern", 0),
        (GEMMA3, "query_pre_attn_scalar", None),
        (GEMMA3, "vision_config", {"hidden_size": 1152}),
    ],
)
def test_what_m43_does_not_compute_is_refused(
    tmp_path: Path, table: Table, key: str, value: object
) -> None:
    """By the key and the value, in one error of class MODEL_INVALID."""
    with pytest.raises(ModelConfigError) as caught:
        read(tmp_path, table | {key: value})
    assert caught.value.failure_class is FailureClass.MODEL_INVALID
    (problem,) = caught.value.problems
    assert problem.where.endswith(f"config.json, {key}")


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        (GEMMA1, ("vocab_size",)),
        (GEMMA1, ("head_dim",)),
        (GEMMA1, ("rope_theta",)),
        (GEMMA2, ("attn_logit_softcapping",)),
        (GEMMA2, ("final_logit_softcapping",)),
        (GEMMA2, ("query_pre_attn_scalar",)),
        (GEMMA3, ("rope_local_base_freq",)),
    ],
)
def test_nothing_is_guessed(tmp_path: Path, table: Table, keys: tuple[str, ...]) -> None:
    """A key that changes the arithmetic and is not there is a problem, not a default."""
    with pytest.raises(ModelConfigError, match="found nothing") as caught:
        read(tmp_path, without(table, *keys))
    assert keys[0] in caught.value.problems[0].where


@pytest.mark.parametrize(
    ("table", "keys", "told"),
    [
        (GEMMA3, ("sliding_window_pattern",), "layer_types or sliding_window_pattern"),
        (GEMMA1, ("hidden_act", "hidden_activation"), "gelu_pytorch_tanh"),
    ],
)
def test_one_of_two_keys_is_needed(
    tmp_path: Path, table: Table, keys: tuple[str, ...], told: str
) -> None:
    """Where two spellings exist, the error names what would do."""
    with pytest.raises(ModelConfigError, match=told):
        read(tmp_path, without(table, *keys))


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"rope_theta": 1e4, "rope_type": "yarn"}, "rope_type"),
        ({"rope_theta": 1e4, "rope_type": "default", "factor": 8.0}, "factor"),
        ({"rope_type": "default"}, "rope_theta"),
        (1e4, "rope_parameters"),
    ],
)
def test_stretched_positions_are_refused(tmp_path: Path, parameters: object, told: str) -> None:
    """Whatever is in rope_parameters beside the base is a kind of scaling."""
    with pytest.raises(ModelConfigError, match=told):
        read(tmp_path, without(GEMMA1, "rope_theta") | {"rope_parameters": parameters})


def test_two_spellings_at_once_are_refused(tmp_path: Path) -> None:
    """Which of rope_theta and rope_parameters would count is not for m43 to say."""
    both = GEMMA1 | {"rope_parameters": {"rope_theta": 2e4, "rope_type": "default"}}
    with pytest.raises(ModelConfigError, match="only one of it and rope_parameters"):
        read(tmp_path, both)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """Three wrong keys are three problems of one error."""
    wrong = {"attention_bias": True, "vocab_size": "many", "rope_scaling": {"type": "linear"}}
    with pytest.raises(ModelConfigError) as caught:
        read(tmp_path, GEMMA1 | wrong)
    assert len(caught.value.problems) == 3


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)


@settings(max_examples=150)
@given(
    table=st.sampled_from([GEMMA1, GEMMA2, GEMMA3]),
    key=st.sampled_from([*GEMMA3, "layer_types", "rope_parameters"]),
    value=JSON,
)
def test_any_value_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, table: Table, key: str, value: object
) -> None:
    """Nothing that can stand in a JSON file raises anything but the named error."""
    with contextlib.suppress(ModelConfigError):
        config = read(tmp_path_factory.getbasetemp(), table | {key: value})
        assert config.parameters > 0


@pytest.mark.parametrize("text", ["", "[1]", "{", "\udcff"])
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    """With its path."""
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelConfigError, match=r"config\.json"):
        read_model_config(tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(ModelConfigError, match="FileNotFoundError"):
        read_model_config(tmp_path)
