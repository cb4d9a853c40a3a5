"""The decoding: where an answer ends, the same for both models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from m43.core.gemma_config import GemmaConfig
from m43.errors import FailureClass, M43Error
from m43.evaluation_record import Decoding
from m43.plain_text import brief
from m43.profile import Profile
from m43.strict_json import read_json
from m43.text_bytes import NotTextError, read_text
from m43.training.template import END_OF_TURN
from m43.training.tokenizer import Ids, Tokenizer
from m43.whole_file import read_whole

_FILE, _KEY = "generation_config.json", "eos_token_id"
_MOST_BYTES, _MOST_IDS = 1 << 20, 64


class GenerationConfigError(M43Error):
    """A generation_config.json that does not say where answers end."""

    failure_class = FailureClass.MODEL_INVALID


def read_decoding(
    folder: Path, config: GemmaConfig, tokenizer: Tokenizer, profile: Profile
) -> Decoding:
    """Collect what ends an answer: EOS as both configs name it, the end of a turn, a text.

    A single token that contains the text ends decoding too: what comes after it is cut off anyway.

    Raises:
        GenerationConfigError: if generation_config.json is there and cannot be understood.
    """
    ids = {*config.eos_ids, *_generation_eos(folder / _FILE, config.vocab_size)}
    end_of_turn = tokenizer.id_of(END_OF_TURN)
    if end_of_turn is not None:
        ids.add(end_of_turn)
    text = profile.template.stop_text
    return Decoding(
        stop_ids=tuple(sorted(ids)),
        stop_text=text,
        stop_text_ids=tuple(sorted(set(tokenizer.ids_that_spell(text)) - ids)),
        max_new_tokens=profile.evaluation.max_new_tokens,
        precision=profile.evaluation.precision,
    )


def output_text(ids: Sequence[int], decoding: Decoding, tokenizer: Tokenizer) -> str:
    """Write what a model said before its stop."""
    # The stop is left out by its id: not every tokenizer calls the end of a turn special.
    said = ids[:-1] if ids and ids[-1] in decoding.stop_ids else ids
    return cut(tokenizer.decode(said), decoding.stop_text)


def cut(output: str, stop_text: str) -> str:
    """End an output where the template says that answers end.

    Example:
        >>> cut(" 42; and now?", ";")
        ' 42'
    """
    return output.split(stop_text, 1)[0] if stop_text else output


def _generation_eos(path: Path, vocab_size: int) -> Ids:
    """Read the ids beside config.json's own; a folder need not have the file, nor the file them."""
    if not path.exists():
        return ()
    try:
        table: Any = read_json(read_text(read_whole(path, _MOST_BYTES)))
        value = table.get(_KEY)
    except NotTextError as error:
        raise _problem(path, str(error), "a readable JSON object", error.action) from error
    except (OSError, ValueError, AttributeError) as error:
        found = f"{type(error).__name__}: {error}"
        raise _problem(path, found, "a readable JSON object") from error
    ids = [] if value is None else value if isinstance(value, list) else [value]
    if len(ids) > _MOST_IDS or any(
        type(one) is not int or not 0 <= one < vocab_size for one in ids
    ):
        raise _problem(
            path, f"{_KEY} {brief(value)}", f"an id from 0 to {vocab_size - 1}, or a list"
        )
    return tuple(ids)


def _problem(
    path: Path,
    found: str,
    expected: str,
    action: str = "fetch the model again at its pinned revision",
) -> GenerationConfigError:
    return GenerationConfigError(found=found, expected=expected, where=str(path), action=action)
