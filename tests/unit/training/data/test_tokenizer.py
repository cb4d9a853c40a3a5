"""The folder's own tokenizer, with nothing added."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m43.errors import FailureClass
from m43.training.data.tokenizer import TokenizerError, read_tokenizer
from m43.training.weights.config_json import read_model_config


def test_adds_no_special_token_and_reads_none_out_of_text(tiny_gemma: Path) -> None:
    """A prompt that spells <eos> stays text, and BOS is left to the caller."""
    tokenizer = read_tokenizer(tiny_gemma, read_model_config(tiny_gemma))

    ids = tokenizer.encode("a<eos>b")

    assert not {0, 1, 2} & set(ids)
    assert tokenizer.decode(ids) == "a<eos>b"
    assert tokenizer.decode((2, *ids, 1)) == "a<eos>b"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), max_size=30))
def test_any_text_survives_the_way_there_and_back(tiny_gemma: Path, text: str) -> None:
    """Spaces, accents and whatever falls back to bytes come back as they were."""
    tokenizer = read_tokenizer(tiny_gemma, read_model_config(tiny_gemma))

    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_encodes_many_as_it_encodes_one(tiny_gemma: Path) -> None:
    """A batch is the same as its texts one by one; none gives none."""
    tokenizer = read_tokenizer(tiny_gemma, read_model_config(tiny_gemma))

    assert tokenizer.encode_all(["a b", "c"]) == (tokenizer.encode("a b"), tokenizer.encode("c"))
    assert tokenizer.encode_all([]) == ()


@pytest.mark.parametrize("content", [None, "", "{", '{"model": 1}'])
def test_an_unreadable_tokenizer_is_a_model_that_is_invalid(
    tiny_gemma: Path, tmp_path: Path, content: str | None
) -> None:
    """Missing, empty or malformed: one named error with the path."""
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)

    with pytest.raises(TokenizerError, match=r"tokenizer\.json") as caught:
        read_tokenizer(tmp_path, read_model_config(tiny_gemma))

    assert caught.value.failure_class is FailureClass.MODEL_INVALID


def test_a_tokenizer_of_another_model_is_refused(tiny_gemma: Path, tmp_path: Path) -> None:
    """Ids that the model does not have would be looked up beyond its embedding."""
    config = read_model_config(tiny_gemma)

    with pytest.raises(TokenizerError, match="largest id"):
        read_tokenizer(tiny_gemma, replace(config, vocab_size=100))


def test_a_special_token_of_a_larger_sister_is_no_other_model(tiny_gemma: Path) -> None:
    """Gemma 3's text models come with an image token, one past the end of their embedding."""
    config = read_model_config(tiny_gemma)
    smaller = replace(config, vocab_size=config.vocab_size - 1)  # without <end_of_turn>

    assert read_tokenizer(tiny_gemma, smaller).encode("a") == (
        read_tokenizer(tiny_gemma, config).encode("a")
    )
    with pytest.raises(TokenizerError, match="largest id"):
        read_tokenizer(tiny_gemma, replace(config, vocab_size=config.vocab_size - 3))


def test_a_token_is_found_by_what_it_spells(tiny_gemma: Path) -> None:
    """A space is a mark in the vocabulary, and a byte spells a letter too."""
    tokenizer = read_tokenizer(tiny_gemma, read_model_config(tiny_gemma))

    assert {tokenizer.decode([number]) for number in tokenizer.ids_that_spell(" ")} == {" "}
    assert len(tokenizer.ids_that_spell("a")) == 2
    assert tokenizer.ids_that_spell("ab") == tokenizer.ids_that_spell("") == ()


def test_a_tokenizer_without_the_models_bos_is_refused(tiny_gemma: Path, tmp_path: Path) -> None:
    """The ids that config.json names must be tokens."""
    shutil.copytree(tiny_gemma, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "tokenizer.json"
    table = json.loads(path.read_text())
    table["model"]["vocab"] = {
        piece: number for piece, number in table["model"]["vocab"].items() if number != 2
    }
    table["added_tokens"] = [token for token in table["added_tokens"] if token["id"] != 2]
    table["post_processor"] = None
    path.write_text(json.dumps(table))

    with pytest.raises(TokenizerError, match="bos_token_id"):
        read_tokenizer(tmp_path, read_model_config(tmp_path))
