"""The tokenizer: the model folder's own files, and bounds on the work that they ask for."""

import resource
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from transformers import PreTrainedTokenizerFast

from m43.core import GemmaConfig
from m43.errors import FailureClass, Problem, ProblemsError
from m43.files import read_whole
from m43.text import BYTE_ORDER_MARK, NotTextError, other_kind, read_text, without_mark
from m43.training.control_groups import own_bytes
from m43.typed_json import read_json


class OutOfTimeError(Exception):
    """Work that computed for longer than it may."""


@contextmanager
def bounded(*, cpu_s: float, memory_bytes: int) -> Iterator[None]:
    """Limit a block's processor time, and its memory beyond what is taken now.

    The time is that of the processor, so that a busy machine changes nothing; only the main
    thread can be told that it is over. The memory is bounded where the kernel can (Linux).

    Raises:
        OutOfTimeError: in the middle of the block.
        MemoryError: where the block asked for too much.
    """
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    # Very much where the kernel does not say.
    most = (own_bytes("data") or 1 << 50) + memory_bytes
    bound = most if limits[0] == resource.RLIM_INFINITY else min(most, limits[0])
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGVTALRM, _end) if in_main else None
    resource.setrlimit(resource.RLIMIT_DATA, (bound, limits[1]))
    try:
        if in_main:
            signal.setitimer(signal.ITIMER_VIRTUAL, cpu_s)
        yield
    finally:
        if in_main:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)
        resource.setrlimit(resource.RLIMIT_DATA, limits)


def _end(number: int, frame: FrameType | None) -> None:
    raise OutOfTimeError("it computes without end")


Ids = tuple[int, ...]
# A folder that has both means the first; transformers 5 writes it, 4 wrote the other.
TEMPLATE_FILE, CONFIG_FILE = "chat_template.jinja", "tokenizer_config.json"
_FILE, _TEMPLATE_KEY = "tokenizer.json", "chat_template"
MARK = BYTE_ORDER_MARK.decode()
_AGAIN = "fetch the model again at its pinned revision"
_NO_CHAT = 'name an -it model (and its template in hub.files), or use template.style = "plain"'
# Letters of both cases, a digit, signs and spaces: what a row has, and a row shall come back.
_SAMPLE = "What is 2 + 2? It is 4."
# Gemma 3's tokenizer has 33 MB, and its tokenizer_config.json 1.2 MB.
_MOST_BYTES, _MOST_TEMPLATE_BYTES = 1 << 28, 1 << 24
# A real template takes a thousandth of a second, and writes little more than it was given.
_RENDER_CPU_S, _RENDER_BYTES, _MOST_RENDERED = 5.0, 1 << 29, 1 << 23
T = TypeVar("T")


class TokenizerError(ProblemsError):
    """A tokenizer that is missing, unreadable or not the model's."""

    failure_class = FailureClass.MODEL_INVALID


class ChatTemplateError(ProblemsError):
    """A chat template that is missing, or that does not do what m43 needs of it."""

    failure_class = FailureClass.MODEL_INVALID


class Tokenizer:
    """Encode text as ids of a model, and decode them.

    No special token is ever added: BOS and EOS are put where the caller wants them, from the
    model's config. Text that spells one, such as "<eos>" in a prompt, stays text, unless the
    text is a rendered chat.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
        self._tokenizer = tokenizer
        self._vocabulary: dict[str, int] = tokenizer.get_vocab()
        self.folder = folder
        self.file = folder / _FILE

    @property
    def template_file(self) -> Path:
        """The file that the chat template stands in."""
        return template_file(self.folder)

    @property
    def special_ids(self) -> frozenset[int]:
        """The ids that are no text: BOS, EOS, the marks of a turn and their like."""
        added = self._tokenizer.added_tokens_decoder
        named = (number for number, token in added.items() if token.special)
        return frozenset((*named, *self._tokenizer.all_special_ids))

    def id_of(self, token: str) -> int | None:
        """Return the id of a token by its name; None if the tokenizer does not have it."""
        return self._vocabulary.get(token)

    def ids_that_spell(self, text: str) -> Ids:
        """Return every single token whose text contains a text; none for an empty text."""
        if not text:
            return ()
        # A byte's token does not show what it spells; few enough to be decoded one by one.
        likely = (
            number
            for piece, number in self._vocabulary.items()
            if text in piece.replace("\u2581", " ") or piece.startswith("<0x")
        )
        return tuple(sorted(number for number in likely if text in self.decode([number])))

    def encode(self, text: str) -> Ids:
        """Return the ids of a text, without BOS and EOS."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> tuple[Ids, ...]:
        """Return the ids of many texts at once."""
        return self._encoded(texts, special_is_text=True)

    def encode_chats(self, texts: Sequence[str]) -> tuple[Ids, ...]:
        """Return the ids of rendered chats, in which special tokens are written out."""
        return self._encoded(texts, special_is_text=False)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens left out, spaces as they are."""
        return str(
            self._tokenizer.decode(
                list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def render_chat(self, turns: Sequence[dict[str, str]], *, open_turn: bool) -> str:
        """Render turns with the folder's chat template.

        Args:
            turns: role and content of each.
            open_turn: whether the text ends where the model is to answer.

        Raises:
            ChatTemplateError: if there is no template, or it refuses these turns.
        """
        if self._tokenizer.chat_template is None:
            raise chat_problem(
                self.folder,
                found="no chat template",
                expected=f'{TEMPLATE_FILE}, or "{_TEMPLATE_KEY}" in {CONFIG_FILE}, because '
                'template.style is "chat"',
            )
        try:
            # transformers runs it in Jinja's sandbox, which bounds neither loops nor products.
            with bounded(cpu_s=_RENDER_CPU_S, memory_bytes=_RENDER_BYTES):
                text = self._tokenizer.apply_chat_template(
                    list(turns), tokenize=False, add_generation_prompt=open_turn
                )
        # Whatever a template raises, it is the template that cannot be used.
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
            expected = "a template for user and model"
            raise chat_problem(self.template_file, found, expected) from error
        if len(str(text)) > _MOST_RENDERED:
            found = f"a template that writes {len(str(text)):,} characters"
            raise chat_problem(self.template_file, found, f"at most {_MOST_RENDERED:,}")
        return str(text)

    def _encoded(self, texts: Sequence[str], *, special_is_text: bool) -> tuple[Ids, ...]:
        if not texts:
            return ()
        encoded = _guarded(
            self.file,
            lambda: self._tokenizer(
                list(texts),
                add_special_tokens=False,
                split_special_tokens=special_is_text,
                verbose=False,
            ),
        )
        return tuple(tuple(ids) for ids in encoded["input_ids"])


def read_tokenizer(folder: Path, config: GemmaConfig) -> Tokenizer:
    """Read tokenizer.json, and the chat template if there is one, and hold it against the model.

    Raises:
        TokenizerError: if it cannot be read, or knows ids that the model does not have.
    """
    path = folder / _FILE
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        found = f"{path.stat().st_size:,} bytes" if path.is_file() else "no file"
        raise TokenizerError([_problem(path, found, f"a file of {_MOST_BYTES:,} bytes at most")])
    _refuse_other_kind(path)
    tokenizer = _guarded(path, lambda: PreTrainedTokenizerFast(tokenizer_file=str(path)))
    problems = _problems(path, tokenizer, config)
    if problems:
        raise TokenizerError(problems)
    # A chat template writes its BOS by this name; the id is the model's, not the file's word.
    tokenizer.bos_token = tokenizer.convert_ids_to_tokens(config.bos_id)
    tokenizer.chat_template = _chat_template(folder)
    read = Tokenizer(tokenizer, folder)
    said = read.decode(read.encode(_SAMPLE))
    if _SAMPLE not in said:
        found = f"a tokenizer that gives {said!r} back for {_SAMPLE!r}"
        raise TokenizerError([_problem(path, found, "the text that it was given")])
    return read


def _refuse_other_kind(path: Path) -> None:
    with path.open("rb") as file:
        beginning = file.read(1024)
    other = other_kind(beginning)
    if other is not None:
        raise TokenizerError([_problem(path, other.found, "a tokenizer in JSON", other.action)])


def template_file(folder: Path) -> Path:
    """Return which of a folder's files has the chat template, if it has one."""
    first = folder / TEMPLATE_FILE
    return first if first.exists() else folder / CONFIG_FILE


def _guarded(path: Path, question: Callable[[], T]) -> T:
    """Call tokenizers, and raise whatever it raises as a fault of the file."""
    try:
        return question()
    # It raises plain Exception for whatever it cannot do, and a panic of its Rust is none: that
    # comes as a BaseException, of a class that cannot be imported.
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        found = f"{type(error).__name__}: {error}"
        raise TokenizerError([_problem(path, found, "a tokenizer that works")]) from error


def _chat_template(folder: Path) -> str | None:
    """Find the template for plain chats, where transformers 5.23's from_pretrained finds it."""
    template: Any
    path = template_file(folder)
    if not path.exists():
        return None
    try:
        data = read_whole(path, _MOST_TEMPLATE_BYTES)
        if path.name == TEMPLATE_FILE:
            # transformers writes a mark out with every chat: kept here, and refused of a chat.
            mark = MARK if data.startswith(BYTE_ORDER_MARK) else ""
            return mark + read_text(without_mark(data))
        table: Any = read_json(read_text(data))
        template = table.get(_TEMPLATE_KEY)
        if isinstance(template, list):
            # Several of them, each with a name.
            template = {each["name"]: each["template"] for each in template}.get("default")
    except NotTextError as error:
        raise TokenizerError([_problem(path, str(error), "readable text", error.action)]) from error
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        found = f"{type(error).__name__}: {error}"
        raise TokenizerError([_problem(path, found, "a readable tokenizer")]) from error
    if template is not None and not isinstance(template, str):
        found = f"a {_TEMPLATE_KEY} of type {type(template).__name__}"
        raise TokenizerError([_problem(path, found, "a template as text")])
    return template


def _problems(path: Path, tokenizer: PreTrainedTokenizerFast, config: GemmaConfig) -> list[Problem]:
    problems = []
    vocabulary = tokenizer.get_vocab()
    # Gemma 3's text models come with the image token of the larger ones, one past their embedding.
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    largest = max((vocabulary[piece] for piece in vocabulary.keys() - special), default=-1)
    if not 0 <= largest < config.vocab_size:
        expected = f"ids from 0 to {config.vocab_size - 1}, the model's vocabulary"
        problems.append(_problem(path, f"a largest id of {largest}", expected))
    if len(set(vocabulary.values())) < len(vocabulary):
        problems.append(_problem(path, "several tokens of one id", "an id of its own for each"))
    if getattr(tokenizer.backend_tokenizer.model, "dropout", None):
        # A random choice between the ways to split a word: no two readings would agree.
        problems.append(_problem(path, "dropout in its model", "the same ids for the same text"))
    named = {"bos_token_id": config.bos_id, "pad_token_id": config.pad_id}
    named |= {f"eos_token_id {number}": number for number in config.eos_ids}
    known = set(vocabulary.values())
    for name, number in named.items():
        if number not in known:
            problems.append(_problem(path, f"no token {number}", f"{name} of config.json"))
    return problems


def chat_problem(
    where: Path,
    found: str,
    expected: str,
    action: str = _NO_CHAT,
) -> ChatTemplateError:
    """Return the error for a folder's chat template."""
    return ChatTemplateError(
        [Problem(found=found, expected=expected, where=str(where), action=action)]
    )


def _problem(path: Path, found: str, expected: str, action: str = _AGAIN) -> Problem:
    return Problem(found=found, expected=expected, where=str(path), action=action)
