"""config.json in the spellings of transformers 4 and 5, and what is refused in it."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m43.core.config import GemmaConfig
from m43.errors import FailureClass
from m43.training.weights.config_json import ModelConfigError, read_model_config
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
        (GEMMA1, "model_type", "gemma3n"),
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


@pytest.mark.parametrize("name", ["gemma-2b", "gemma-3-1b"])
def test_both_spellings_of_the_rotation_are_read_when_they_agree(tmp_path: Path, name: str) -> None:
    """As exporters write them since transformers 5, so that older readers find the base too."""
    path = Path(__file__).parents[2] / "corpus" / "config" / f"{name}.config.json"
    table = json.loads(path.read_text())

    config = read(tmp_path, table)

    assert config == read(tmp_path, without(table, "rope_theta", "rope_local_base_freq"))
    assert config.rope_theta_global == table["rope_theta"]
    if name == "gemma-2b":
        assert config == GEMMA_2B
    else:
        assert (config.rope_theta_local, config.parameters) == (1e4, 999_885_952)


@pytest.mark.parametrize("table", [GEMMA1, GEMMA2, GEMMA3], ids=["gemma", "gemma2", "gemma3"])
@pytest.mark.parametrize("value", [2e4, "10000.0", [1e4]])
def test_two_spellings_that_differ_are_refused(tmp_path: Path, table: Table, value: object) -> None:
    """Which of the two would count is not for m43 to say; both values are named."""
    default: Table = {"rope_theta": table["rope_theta"], "rope_type": "default"}
    local: Table = {"rope_theta": 1e4, "rope_type": "default"}
    parameters: Table = default
    if table is GEMMA3:
        parameters = {"full_attention": default, "sliding_attention": local}
    new = table | {"rope_parameters": parameters}
    assert read(tmp_path, new) == read(tmp_path, table)
    assert read(tmp_path, new | {"rope_theta": None}) == read(tmp_path, table)

    with pytest.raises(ModelConfigError) as caught:
        read(tmp_path, new | {"rope_theta": value})

    (problem,) = caught.value.problems
    assert problem.where.endswith("config.json, rope_theta")
    assert problem.found == repr(value)
    assert problem.expected == f"{table['rope_theta']!r}, as rope_parameters says"


def test_a_rotation_that_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    """The older key beside it has nothing to be compared with."""
    both = GEMMA1 | {"rope_parameters": {"rope_type": "default"}}
    with pytest.raises(ModelConfigError) as caught:
        read(tmp_path, both)
    (problem,) = caught.value.problems
    assert problem.where.endswith("rope_parameters.rope_theta")


def test_two_spellings_of_the_layers_length_must_agree_without_layer_types(tmp_path: Path) -> None:
    """Both keys of transformers 4 say the same length, or one of them is refused."""
    assert read(tmp_path, GEMMA3 | {"_sliding_window_pattern": 6}) == read(tmp_path, GEMMA3)
    assert read(tmp_path, GEMMA3 | {"_sliding_window_pattern": None}) == read(tmp_path, GEMMA3)
    with pytest.raises(ModelConfigError, match="_sliding_window_pattern: found 3, expected the"):
        read(tmp_path, GEMMA3 | {"_sliding_window_pattern": 3})


@pytest.mark.parametrize("scaling", [{}, {"rope_type": "default"}, {"type": "default"}])
def test_a_scaling_that_says_nothing_is_accepted(
    tmp_path: Path, scaling: dict[str, object]
) -> None:
    """What is the default anyway, in the spelling of transformers 4 or before it."""
    assert read(tmp_path, GEMMA1 | {"rope_scaling": scaling}) == read(tmp_path, GEMMA1)


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        (GEMMA1, "rope_scaling", {"rope_type": "default", "factor": 8.0}),
        (GEMMA1, "rope_scaling", {"rope_type": "linear"}),
        (GEMMA1, "rope_scaling", "default"),
        (GEMMA1, "quantization_config", {"quant_method": "bitsandbytes"}),
        (GEMMA1, "vision_config", {}),
        (GEMMA1, "attn_logit_softcapping", 50.0),
        (GEMMA1, "final_logit_softcapping", 30.0),
        (GEMMA1, "sliding_window", 512),
    ],
)
def test_what_must_be_absent_is_refused_in_whole_words(
    tmp_path: Path, table: Table, key: str, value: object
) -> None:
    """Both null and no such key are accepted, and the reason is a sentence."""
    with pytest.raises(ModelConfigError) as caught:
        read(tmp_path, table | {key: value})
    (problem,) = caught.value.problems
    assert problem.expected.startswith("null or no such key, because ")


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


@pytest.mark.parametrize(
    ("data", "found", "action"),
    [
        (b"\xef\xbb\xbf{}", "a byte order mark at its beginning", "without a byte order mark"),
        ("{}  ".encode("utf-16"), "text in UTF-16", "save it as UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha", "a Git LFS", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "a web page", "fetch the file again"),
    ],
)
def test_a_file_of_another_kind_is_named(
    tmp_path: Path, data: bytes, found: str, action: str
) -> None:
    """No other program reads them either: the file is to be saved or fetched again."""
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(ModelConfigError) as caught:
        read_model_config(tmp_path)
    (problem,) = caught.value.problems
    assert found in problem.found
    assert action in problem.action


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(ModelConfigError, match="FileNotFoundError"):
        read_model_config(tmp_path)
