"""The toy's tokenizer: in Gemma's form, lossless, and the committed file is the trained one."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer, GemmaTokenizer

from m43.rehearsal.toy_gemma import TOKENIZER, write_toy_gemma
from tools.train_tokenizer import SPACE, SPECIAL_TOKENS, VOCABULARY, bundled_texts, train

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Read the committed file."""
    return Tokenizer.from_file(str(TOKENIZER))


@pytest.fixture(scope="module")
def model() -> dict[str, Any]:
    """Read the committed file's table of tokens."""
    return json.loads(TOKENIZER.read_text(encoding="utf-8"))["model"]


def plain(tokenizer: Tokenizer, text: str) -> list[int]:
    """Encode without the token that begins every text."""
    return tokenizer.encode(text, add_special_tokens=False).ids


def test_the_committed_file_is_small() -> None:
    """It is read by people and kept in git."""
    assert TOKENIZER.stat().st_size < 100_000


def test_the_committed_file_is_what_the_script_trains(model: dict[str, Any]) -> None:
    """Whoever changes the rows runs the script again: python -m tools.train_tokenizer."""
    trained = json.loads(train(bundled_texts()).to_str())["model"]
    assert (model["vocab"], model["merges"]) == (trained["vocab"], trained["merges"])


def test_training_twice_gives_the_same_tokenizer() -> None:
    """The script is deterministic: the file can be made again."""
    texts = bundled_texts()[:300]
    assert train(texts).to_str() == train(texts).to_str()


def test_the_first_ids_are_gemmas(tokenizer: Tokenizer) -> None:
    """Padding, end, beginning, unknown, mask: 0 to 4, as in every Gemma."""
    assert [tokenizer.token_to_id(name) for name in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]
    assert tokenizer.get_vocab_size() == VOCABULARY


def test_ids_have_no_gaps(model: dict[str, Any]) -> None:
    """Every row of the embedding has its token and every token its row."""
    assert sorted(model["vocab"].values()) == list(range(VOCABULARY))


def test_every_byte_has_its_token(tokenizer: Tokenizer) -> None:
    """So no text is unknown."""
    for byte in range(256):
        assert tokenizer.token_to_id(f"<0x{byte:02X}>") is not None


def test_text_begins_with_bos_once(tokenizer: Tokenizer) -> None:
    """As Gemma's own tokenizer does."""
    assert tokenizer.encode("What is 2 + 2?").ids.count(2) == 1
    assert tokenizer.encode("What is 2 + 2?").ids[0] == 2


def test_digits_stand_alone(tokenizer: Tokenizer, model: dict[str, Any]) -> None:
    """A number is its digits, so that arithmetic meets the same ten tokens everywhere."""
    assert tokenizer.encode("1234", add_special_tokens=False).tokens == ["1", "2", "3", "4"]
    joined = [left + right for left, right in model["merges"]]
    assert len(joined) > 500
    assert [token for token in joined if any(sign.isdigit() for sign in token)] == []


def test_spaces_belong_to_what_follows(tokenizer: Tokenizer, model: dict[str, Any]) -> None:
    """A prompt that ends without a space and an answer that begins with one join cleanly."""
    inner = [name for name in model["vocab"] if SPACE in name[1:]]
    assert inner == []
    prompt, answer = "Question: Is 30 even?\nAnswer:", " Yes"
    assert plain(tokenizer, prompt + answer) == plain(tokenizer, prompt) + plain(tokenizer, answer)


@given(text=st.text(st.characters(exclude_characters=SPACE, codec="utf-8")))
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    """What is encoded decodes to itself, runs of spaces and control characters included."""
    assert tokenizer.decode(plain(tokenizer, text), skip_special_tokens=False) == text


@given(text=st.text(" \t\n\r\u00a0aé€😀<0x>_▂0159"))
def test_difficult_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    """The same where spaces, digits and what looks like a byte's token come thick."""
    assert tokenizer.decode(plain(tokenizer, text), skip_special_tokens=False) == text


def test_the_sign_for_a_space_comes_back_as_a_space(tokenizer: Tokenizer) -> None:
    """Gemma's own limit, stated: U+2581 is how it writes a space."""
    assert tokenizer.decode(plain(tokenizer, f"a{SPACE}b")) == "a b"


def test_the_name_of_a_byte_is_only_text(tokenizer: Tokenizer) -> None:
    """A text that says <0x41> does not turn into an A."""
    assert tokenizer.token_to_id("<0x41>") not in plain(tokenizer, "<0x41>")


@given(text=st.text(st.characters(exclude_characters=SPACE, codec="utf-8")))
def test_transformers_encodes_alike(tokenizer: Tokenizer, gemma: GemmaTokenizer, text: str) -> None:
    """The class that the folder names reads the same ids out of a text as the file does."""
    assert gemma(text)["input_ids"] == tokenizer.encode(text).ids


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> GemmaTokenizer:
    """Read the toy's folder as a user of transformers would."""
    folder = tmp_path_factory.mktemp("toy")
    write_toy_gemma(folder)
    return AutoTokenizer.from_pretrained(folder)


def test_transformers_finds_a_gemma_tokenizer(gemma: GemmaTokenizer) -> None:
    """And no token that the embedding has no row for."""
    assert isinstance(gemma, GemmaTokenizer)
    assert len(gemma) == VOCABULARY
    assert (gemma.pad_token_id, gemma.eos_token_id, gemma.bos_token_id) == (0, 1, 2)


def test_bundled_rows_are_short(tokenizer: Tokenizer) -> None:
    """The rehearsal's time rests on it: its sequences hold every row with room to spare."""
    profile = tomllib.loads((ROOT / "acceptance" / "rehearsal.toml").read_text(encoding="utf-8"))
    lengths = [len(tokenizer.encode(text).ids) for text in bundled_texts()]
    assert len(lengths) >= 2400
    # Two more for the stop text and eos.
    assert max(lengths) + 2 <= profile["training"]["sequence_tokens"]
