"""An answer ends where the model or the template says so, and what ended it is no part of it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from m43.records import profile_check as profiles
from m43.records.evaluation_record import Decoding
from m43.records.profile import Profile
from m43.training.data.template import GenerationConfigError, cut, output_text, read_decoding
from m43.training.data.tokenizer import Tokenizer, read_tokenizer
from m43.training.weights.config_json import read_model_config

PROFILE = Path(__file__).parents[4] / "acceptance" / "rehearsal.toml"
EOS = 1


@pytest.fixture
def profile() -> Profile:
    """The bundled rehearsal."""
    return profiles.load(PROFILE)


def decoding(folder: Path, profile: Profile) -> tuple[Decoding, Tokenizer]:
    """Read what ends an answer of a folder's model."""
    config = read_model_config(folder)
    tokenizer = read_tokenizer(folder, config)
    return read_decoding(folder, config, tokenizer, profile), tokenizer


@pytest.fixture
def folder(tiny_gemma: Path, tmp_path: Path) -> Path:
    """A model folder of one's own."""
    return Path(shutil.copytree(tiny_gemma, tmp_path / "model"))


def test_stops_are_eos_the_end_of_a_turn_and_the_text(tiny_gemma: Path, profile: Profile) -> None:
    """The ids are the folder's; every single token that holds a new line ends decoding too."""
    found, tokenizer = decoding(tiny_gemma, profile)

    new_lines = {tokenizer.id_of("\n"), tokenizer.id_of("<0x0A>")}
    assert found.stop_ids == (EOS, tokenizer.id_of("<end_of_turn>"))
    assert found.stop_text == "\n"
    assert set(found.stop_text_ids) == new_lines
    assert found.max_new_tokens == profile.evaluation.max_new_tokens


def test_a_template_without_a_stop_text_has_no_ids_for_it(
    tiny_gemma: Path, profile: Profile
) -> None:
    """An empty text is in every token and ends none."""
    silent = replace(profile, template=replace(profile.template, stop_text=""))

    assert decoding(tiny_gemma, silent)[0].stop_text_ids == ()


def test_a_tokenizer_without_turns_has_eos_alone(
    tiny_gemma: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a turn is a stop only where the tokenizer has it."""
    monkeypatch.setattr(Tokenizer, "id_of", lambda *_: None)

    assert decoding(tiny_gemma, profile)[0].stop_ids == (EOS,)


@pytest.mark.parametrize(("value", "expected"), [(1, []), ([1, 9], [9]), (None, []), (7, [7])])
def test_generation_config_adds_its_eos(
    folder: Path, profile: Profile, value: object, expected: list[int]
) -> None:
    """One id, a list of them, or none."""
    before = decoding(folder, profile)[0].stop_ids
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": value}))

    found = decoding(folder, profile)[0].stop_ids

    assert set(found) == {*before, *expected}


@pytest.mark.parametrize("text", ["{", "[]", '{"eos_token_id": "1"}', '{"eos_token_id": [1, -1]}'])
def test_a_generation_config_that_says_nothing_sensible_is_refused(
    folder: Path, profile: Profile, text: str
) -> None:
    """A stop that is not understood would let answers run on."""
    (folder / "generation_config.json").write_text(text)

    with pytest.raises(GenerationConfigError, match=r"generation_config\.json"):
        decoding(folder, profile)


def test_what_ended_an_answer_is_no_part_of_it(tiny_gemma: Path, profile: Profile) -> None:
    """Neither the id, be it special or not, nor the text, nor what comes after the text."""
    setup, tokenizer = decoding(tiny_gemma, profile)
    said = tokenizer.encode(" 42")
    plain = tokenizer.encode("x")[0]

    assert output_text((*said, EOS), setup, tokenizer) == " 42"
    assert output_text(said, setup, tokenizer) == " 42"
    assert output_text((*said, plain), replace(setup, stop_ids=(plain,)), tokenizer) == " 42"
    assert output_text(tokenizer.encode(" 42\nQ: 1"), setup, tokenizer) == " 42"
    assert output_text((), setup, tokenizer) == ""
    assert cut("a", "") == "a"
