"""The tokenizer: the model folder's own tokenizer.json, and nothing added to what it says."""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from m43.core.gemma_config import GemmaConfig
from m43.errors import FailureClass, Problem, ProblemsError


class TokenizerError(ProblemsError):
    """A tokenizer that is missing, unreadable or not the model's."""

    failure_class = FailureClass.MODEL_INVALID


class Tokenizer:
    """Turns text into ids of a model and back.

    No special token is ever added: BOS and EOS are put where the caller wants them, from the
    model's config. Text that spells one, such as "<eos>" in a prompt, stays text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str) -> tuple[int, ...]:
        """Give the ids of a text, without BOS and EOS."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Give the ids of many texts at once."""
        if not texts:
            return ()
        encoded = self._tokenizer(
            list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False
        )
        return tuple(tuple(ids) for ids in encoded["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Give the text of ids, special tokens left out, spaces as they are."""
        return str(
            self._tokenizer.decode(
                list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )


def read_tokenizer(folder: Path, config: GemmaConfig) -> Tokenizer:
    """Read tokenizer.json and hold it against the model.

    Raises:
        TokenizerError: if it cannot be read, or knows ids that the model does not have.
    """
    path = folder / "tokenizer.json"
    try:
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(path))
    # tokenizers raises plain Exception for whatever it cannot parse.
    except Exception as error:
        raise TokenizerError(
            [_problem(path, f"{type(error).__name__}: {error}", "a readable tokenizer")]
        ) from error
    problems = _problems(path, tokenizer.get_vocab(), config)
    if problems:
        raise TokenizerError(problems)
    return Tokenizer(tokenizer)


def _problems(path: Path, vocabulary: dict[str, int], config: GemmaConfig) -> list[Problem]:
    problems = []
    largest = max(vocabulary.values(), default=-1)
    if not 0 <= largest < config.vocab_size:
        expected = f"ids from 0 to {config.vocab_size - 1}, the model's vocabulary"
        problems.append(_problem(path, f"a largest id of {largest}", expected))
    named = {"bos_token_id": config.bos_id, "pad_token_id": config.pad_id}
    named |= {f"eos_token_id {number}": number for number in config.eos_ids}
    known = set(vocabulary.values())
    for name, number in named.items():
        if number not in known:
            problems.append(_problem(path, f"no token {number}", f"{name} of config.json"))
    return problems


def _problem(path: Path, found: str, expected: str) -> Problem:
    action = "fetch the model again at its pinned revision"
    return Problem(found=found, expected=expected, where=str(path), action=action)
