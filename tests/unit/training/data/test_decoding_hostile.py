"""Whatever stands in generation_config.json, it names ids of the model or is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.text import visible
from m43.training.data.template import GenerationConfigError, _generation_eos
from m43.training.weights.config_json import ModelConfigError, declared_dtype
from tests.unit.fuzzing import hostile

CORPUS = Path(__file__).parents[2] / "corpus" / "json"
NAMES = sorted(path.name for path in CORPUS.iterdir())
VOCABULARY = 20

values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, VOCABULARY + 1) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=70) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=70,
)


def outcome(path: Path) -> tuple[int, ...] | str:
    """Read the ids: them, or what a person is told."""
    try:
        return _generation_eos(path, VOCABULARY)
    except GenerationConfigError as error:
        text = str(error)
        assert visible(text) == text
        assert len(text) < 1000
        return text


@pytest.mark.parametrize("name", NAMES)
def test_every_file_of_the_corpus_is_refused(tmp_path: Path, name: str) -> None:
    """As generation_config.json, and as config.json where its dtype is asked for."""
    assert isinstance(outcome(CORPUS / name), str)

    (tmp_path / "config.json").write_bytes((CORPUS / name).read_bytes())
    with pytest.raises(ModelConfigError, match=r"config\.json"):
        declared_dtype(tmp_path)


@hostile(40)
@given(values)
def test_any_ids_are_those_of_the_model_or_refused(tmp_path: Path, value: object) -> None:
    """And there are no more than anybody means."""
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps({"eos_token_id": value}))

    ids = outcome(path)

    if isinstance(ids, tuple):
        assert all(0 <= one < VOCABULARY for one in ids)
        assert len(ids) <= 64


@pytest.mark.parametrize("value", [None, [], {}, 5, True, "float8", ["bfloat16"]])
def test_a_dtype_that_is_none_is_refused(tmp_path: Path, value: object) -> None:
    """Whatever its type."""
    (tmp_path / "config.json").write_text(json.dumps({"dtype": value}))

    with pytest.raises(ModelConfigError, match="dtype: found"):
        declared_dtype(tmp_path)
