"""Whatever stands in config.json, it is a Gemma or is refused: in short, and at once."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.core.config import GemmaConfig
from m43.text import visible
from m43.training.weights.config_json import ModelConfigError, read_model_config
from tests.unit.fuzzing import hostile
from tests.unit.training.weights.test_model_config import GEMMA1, GEMMA2, GEMMA3, Table, without

CORPUS = Path(__file__).parents[2] / "corpus" / "json"
DEFAULT = {"rope_type": "default"}
GEMMA3_OF_5: Table = without(GEMMA3, "rope_theta", "rope_local_base_freq") | {
    "rope_parameters": {
        "full_attention": DEFAULT | {"rope_theta": 1e6},
        "sliding_attention": DEFAULT | {"rope_theta": 1e4},
    },
    "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 3,
}
TABLES = [GEMMA1, GEMMA2, GEMMA3, GEMMA3_OF_5]
KEYS = sorted({key for table in TABLES for key in table})

# Of two spellings it is the other one that is asked for.
MISSED_AS = {
    "rope_parameters": "rope_theta",
    "hidden_act": "hidden_activation",
    "sliding_window_pattern": "layer_types",
}

numbers = st.integers() | st.integers(-(10**400), 10**400) | st.floats()
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5) | st.just("x" * 100_000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def outcome(folder: Path) -> GemmaConfig | str:
    """Read a config.json: the model, or what a person is told."""
    try:
        return read_model_config(folder)
    except ModelConfigError as error:
        text = str(error)
        assert visible(text) == text
        assert len(text) < 20_000
        return text


def written(folder: Path, table: object) -> GemmaConfig | str:
    """Write a table and read it."""
    (folder / "config.json").write_text(json.dumps(table))
    return outcome(folder)


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.iterdir()))
def test_every_file_of_the_corpus_is_refused(tmp_path: Path, name: str) -> None:
    """What is no JSON, and JSON that is no object."""
    (tmp_path / "config.json").write_bytes((CORPUS / name).read_bytes())

    assert isinstance(outcome(tmp_path), str)


@hostile(150)
@given(
    st.sampled_from(TABLES),
    st.lists(st.tuples(st.sampled_from([*KEYS, "quantization_config"]), values), max_size=3),
)
def test_any_values_under_any_keys_are_read_or_refused(
    tmp_path: Path, table: Table, changes: list[tuple[str, object]]
) -> None:
    """What is read has sizes and numbers that arrays can have."""
    config = written(tmp_path, table | dict(changes))

    if isinstance(config, GemmaConfig):
        assert config.parameters > 0
        assert 1e-15 <= config.query_scale <= 1e15
        assert len(config.global_layers) == config.layers


@pytest.mark.parametrize("table", TABLES, ids=["gemma", "gemma2", "gemma3", "gemma3 of 5"])
def test_every_key_that_is_needed_is_missed_by_name(tmp_path: Path, table: Table) -> None:
    """Taken out one by one: the same model still, or the key is named."""
    whole = written(tmp_path, table)
    assert isinstance(whole, GemmaConfig)

    for key in table:
        found = written(tmp_path, without(table, key))
        assert found == whole or f"{MISSED_AS.get(key, key)}: found nothing" in str(found), key


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", 2**24 + 1),
        ("head_dim", 4098),
        ("hidden_size", -1),
        ("num_hidden_layers", 10**6),
        ("vocab_size", 10**400),
        ("vocab_size", True),
        ("rope_theta", 10**400),
        ("rope_theta", 1e300),
        ("rms_norm_eps", 5e-324),
        ("rms_norm_eps", "1e-6"),
        ("eos_token_id", list(range(65))),
        ("eos_token_id", 2**40),
        ("layer_types", ["full_attention"] * 100_000),
    ],
)
def test_a_size_that_no_array_has_is_refused_by_name(
    tmp_path: Path, key: str, value: object
) -> None:
    """Before anything is multiplied or allocated."""
    text = written(tmp_path, GEMMA1 | {key: value})

    assert isinstance(text, str)
    assert f"config.json, {key}: found " in text


def test_terabytes_are_a_matter_of_the_files(tmp_path: Path) -> None:
    """Sizes that fit one by one make a config; its tensors are compared with the files."""
    config = written(tmp_path, GEMMA1 | {"hidden_size": 2**24, "intermediate_size": 2**24})

    assert isinstance(config, GemmaConfig)
    # Far more than a terabyte, and still countable in 64 bits.
    assert 2**40 < 4 * config.parameters < 2**62


@pytest.mark.parametrize("key", ["sliding_window_pattern", "_sliding_window_pattern"])
def test_two_spellings_of_the_layers_must_agree(tmp_path: Path, key: str) -> None:
    """layer_types beside the pattern's length is fine while both say the same."""
    table = without(GEMMA3_OF_5, "sliding_window_pattern")

    assert isinstance(written(tmp_path, table | {key: 6}), GemmaConfig)
    for other in (5, 0, -6, "6", [6]):
        assert f"{key}: found" in str(written(tmp_path, table | {key: other}))


def test_two_spellings_of_the_local_base_must_agree(tmp_path: Path) -> None:
    """As with the layers."""
    assert isinstance(written(tmp_path, GEMMA3_OF_5 | {"rope_local_base_freq": 1e4}), GemmaConfig)
    text = written(tmp_path, GEMMA3_OF_5 | {"rope_local_base_freq": 2e4})
    assert "rope_local_base_freq: found 20000.0, expected 10000.0" in str(text)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """A pipe, a folder, a link to itself, and more than any config has."""
    for name in ("pipe", "folder", "circle", "large"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "pipe" / "config.json")
    (tmp_path / "folder" / "config.json").mkdir()
    (tmp_path / "circle" / "config.json").symlink_to("config.json")
    with (tmp_path / "large" / "config.json").open("wb") as file:
        file.truncate(1 << 40)

    for name in ("pipe", "folder", "circle", "large"):
        assert isinstance(outcome(tmp_path / name), str)
