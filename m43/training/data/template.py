"""The template: how a row becomes the tokens of a prompt and a completion, and where one ends."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from m43.core import GemmaConfig
from m43.errors import FailureClass, M43Error
from m43.files import read_whole
from m43.records import Decoding, Profile, TemplateTable
from m43.text import NotTextError, brief, read_text
from m43.training.data.tokenizer import MARK, ChatTemplateError, Ids, Tokenizer, chat_problem
from m43.typed_json import read_json

END_OF_TURN = "<end_of_turn>"
# A row such as any file has, which a template is tried with before it meets one.
_QUESTION, _ANSWER = "What is 2 + 2?", "It is 4."
_CORRECT = 'correct the template, name an -it model, or use template.style = "plain"'
_PLACEHOLDER = re.compile(r"\{(prompt|steps|final_answer)\}")


class Style(Protocol):
    """How rendered texts become tokens."""

    @property
    def terminator(self) -> int:
        """The id that ends every completion."""

    def prompts(self, prompts: Sequence[str]) -> tuple[Ids, ...]:
        """Return the ids up to where the model is to answer, BOS included."""

    def completions(self, prompts: Sequence[str], completions: Sequence[str]) -> tuple[Ids, ...]:
        """Return the ids that the model is to answer, the terminator included."""


class Template:
    """Fills in the profile's texts and turns them into ids; training and evaluation share it.

    Prompt and completion are tokenised apart, as at evaluation, where only the prompt is there.

    Attributes:
        bos_id: the id that begins every row.
        terminator: the id that ends every completion.
        prompt_marks: the ids of a prompt that are the template's own and no text.
        file: what beside the profile has a say in every row: the chat template, or the tokenizer.
    """

    def __init__(self, table: TemplateTable, tokenizer: Tokenizer, config: GemmaConfig) -> None:
        self._table = table
        self._tokenizer = tokenizer
        chat = table.style == "chat"
        self._style: Style = (_Chat if chat else _Plain)(tokenizer, config)
        self.file = tokenizer.template_file if chat else tokenizer.file
        self.bos_id = config.bos_id
        self.terminator = self._style.terminator
        self._special_ids = tokenizer.special_ids | {self.bos_id, self.terminator}
        (ids,) = self._style.prompts([_QUESTION])
        self.prompt_marks = self.marks(ids)

    def marks(self, ids: Sequence[int]) -> Ids:
        """Return those of some ids that are no text: BOS, EOS, the marks of a turn."""
        return tuple(number for number in ids if number in self._special_ids)

    def prompts(self, prompts: Sequence[str]) -> tuple[Ids, ...]:
        """Render and tokenise prompts."""
        return self._style.prompts(self._filled(prompts))

    def completions(
        self, prompts: Sequence[str], rows: Sequence[Mapping[str, object]]
    ) -> tuple[Ids, ...]:
        """Render and tokenise the completions of training rows with these prompts."""
        texts = [fill(self._table.completion, _values(row)) for row in rows]
        return self._style.completions(self._filled(prompts), texts)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens left out."""
        return self._tokenizer.decode(ids)

    def _filled(self, prompts: Sequence[str]) -> list[str]:
        return [fill(self._table.prompt, {"prompt": prompt}) for prompt in prompts]


def fill(text: str, values: Mapping[str, str]) -> str:
    """Substitute values for {prompt}, {steps} and {final_answer}.

    In one pass: a prompt that itself says {final_answer} stays as it is.

    Example:
        >>> fill("Q: {prompt}", {"prompt": "what is {final_answer}?"})
        'Q: what is {final_answer}?'
    """
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def _values(row: Mapping[str, object]) -> Mapping[str, str]:
    steps = row["steps"]
    assert isinstance(steps, list)
    return {
        "steps": "\n".join(step["content"] for step in steps),
        "final_answer": str(row["final_answer"]),
    }


class _Plain:
    """BOS, prompt, completion, EOS; a special token that a row spells stays text."""

    def __init__(self, tokenizer: Tokenizer, config: GemmaConfig) -> None:
        self._tokenizer = tokenizer
        self._bos_id = config.bos_id
        self.terminator = config.eos_ids[0]

    def prompts(self, prompts: Sequence[str]) -> tuple[Ids, ...]:
        encoded = self._tokenizer.encode_all(prompts)
        return tuple((self._bos_id, *ids) for ids in encoded)

    def completions(self, prompts: Sequence[str], completions: Sequence[str]) -> tuple[Ids, ...]:
        encoded = self._tokenizer.encode_all(completions)
        return tuple((*ids, self.terminator) for ids in encoded)


class _Chat:
    """A turn of the user and one of the model, as the folder's chat template writes them.

    There is no turn of the system, which Gemma 1 and 2 refuse. The template writes BOS, so that
    the rendered text is tokenised as it stands and BOS comes once.
    """

    def __init__(self, tokenizer: Tokenizer, config: GemmaConfig) -> None:
        self._tokenizer = tokenizer
        number = tokenizer.id_of(END_OF_TURN)
        if number is None:
            found = f"a tokenizer without {END_OF_TURN}"
            raise chat_problem(tokenizer.folder, found, "the token that ends a turn")
        self.terminator = number
        # Before any row: a template that cannot do this is reported once, and not for a row.
        self._try(config.bos_id)

    def _try(self, bos_id: int) -> None:
        (opened,), (turn,) = self.prompts([_QUESTION]), self.completions([_QUESTION], [_ANSWER])
        if self.terminator not in turn:
            expected = f"the model's turn ended by {END_OF_TURN}"
            raise self._fault("a template that does not end it so", expected)
        if self._opened(_QUESTION).startswith(MARK):
            action = "save it as UTF-8 without a byte order mark"
            raise self._fault("a byte order mark before the template", "BOS at its start", action)
        times = (*opened, *turn).count(bos_id)
        if times != 1 or opened[:1] != (bos_id,):
            found = {0: "no BOS", 1: "something before BOS"}.get(times, f"BOS {times} times")
            action = "let it write {{ bos_token }} once, before the first turn"
            expected = f"BOS ({bos_id}) exactly once, at the start"
            raise self._fault(f"a template that writes {found}", expected, action)
        for ids, text, name in ((opened, _QUESTION, "question"), (turn, _ANSWER, "answer")):
            said = self._tokenizer.decode(ids)
            if text not in said:
                found = f"a template that writes {said!r} for the {name} {text!r}"
                raise self._fault(found, "the text that it was given")

    def _fault(self, found: str, expected: str, action: str = _CORRECT) -> ChatTemplateError:
        return chat_problem(self._tokenizer.template_file, found, expected, action)

    def prompts(self, prompts: Sequence[str]) -> tuple[Ids, ...]:
        return self._tokenizer.encode_chats([self._opened(prompt) for prompt in prompts])

    def completions(self, prompts: Sequence[str], completions: Sequence[str]) -> tuple[Ids, ...]:
        pairs = zip(prompts, completions, strict=True)
        encoded = self._tokenizer.encode_chats([self._answer(*pair) for pair in pairs])
        return tuple(_until(ids, self.terminator) for ids in encoded)

    def _opened(self, prompt: str) -> str:
        return self._tokenizer.render_chat([_turn("user", prompt)], open_turn=True)

    def _answer(self, prompt: str, completion: str) -> str:
        opened = self._opened(prompt)
        turns = [_turn("user", prompt), _turn("assistant", completion)]
        whole = self._tokenizer.render_chat(turns, open_turn=False)
        if not whole.startswith(opened):
            found = "a template that writes an answered turn otherwise than an open one"
            expected = "the same text up to where the model answers"
            raise self._fault(found, expected)
        return whole.removeprefix(opened)


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _until(ids: Ids, terminator: int) -> Ids:
    """Leave out what the template writes after the last terminator: nothing ever follows it."""
    after = ids[::-1].index(terminator) if terminator in ids else 0
    return ids[: len(ids) - after]


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
    """Decode what a model generated before its stop."""
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
