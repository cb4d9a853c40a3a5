"""The document tree: what a document says, once; markdown and html write it.

A string is text, whatever it holds. Markup exists as a node alone, and only the writers know how a
node is written: nobody who says something can forget to escape it.

Nodes are written by position, because they nest: `Text(("Gate ", code(name), " ended."))`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal, TypeAlias, TypeVar

from m43.evidence.documents.charts import Picture

# The last three are states: a sign, a word and a colour, because colour alone tells some nothing.
SpanKind = Literal["code", "strong", "emphasis", "note", "number", "good", "bad", "open"]


@dataclass(frozen=True)
class Span:
    """A part of a line that is more than text."""

    text: str
    kind: SpanKind


@dataclass(frozen=True)
class Link:
    """A part of a line that leads to an https address, a file at or below the document, or #anchor.

    With an anchor of its own it can be led to. Any other address is written as text alone.
    """

    text: str
    address: str
    anchor: str = ""


@dataclass(frozen=True)
class Quote:
    """What somebody else wrote, line ends and spaces too; it may be empty."""

    text: str


@dataclass(frozen=True)
class Bar:
    """A share of a whole as a picture, with its interval; the numbers stand beside it."""

    share: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Break:
    """The end of a line within a cell."""


BREAK = Break()

Inline: TypeAlias = str | Span | Link | Quote | Bar | Break
Words: TypeAlias = Inline | Sequence["Words"]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    words: Words
    kind: Literal["plain", "note", "banner"] = "plain"


@dataclass(frozen=True)
class Section:
    """A title and what stands under it; a page's list of contents leads to the anchor."""

    title: Words
    children: Sequence[Node] = field(repr=False)
    anchor: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under a head; the column `names` says what a row is about."""

    head: Sequence[Words]
    rows: Sequence[Sequence[Words]] = field(repr=False)
    caption: str = ""
    names: int = 0


@dataclass(frozen=True)
class Pairs:
    """Terms with their values."""

    items: Sequence[tuple[str, Words]]


@dataclass(frozen=True)
class CodeBlock:
    """Lines as they were printed, or as they are to be typed."""

    lines: Sequence[str] = field(repr=False)
    language: Literal["text", "sh"] = "text"


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: Sequence[Words]
    ordered: bool = False


@dataclass(frozen=True)
class Details:
    """What is read only by those who ask for it."""

    title: Words
    children: Sequence[Node] = field(repr=False)
    is_open: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture; `file` is where it lies on its own, for documents that cannot hold one."""

    picture: Picture
    file: str = ""


Node: TypeAlias = Text | Section | Table | Pairs | CodeBlock | Bullets | Details | Figure


def code(text: str) -> Span:
    """Return text that is read letter by letter: a name, a command, a digest."""
    return Span(text, "code")


def strong(text: str) -> Span:
    """Return text that must not be missed."""
    return Span(text, "strong")


def note(text: str) -> Span:
    """Return text that only explains."""
    return Span(text, "note")


def mark(state: str, good: bool | None) -> Span:
    """Return a state; None where it cannot be said yet whether that is good."""
    kind: SpanKind = "open" if good is None else "good" if good else "bad"
    return Span(state, kind)


def rich(text: str) -> Words:
    """Read m43's own sentence, in which backticks mean code.

    Example:
        >>> rich("run `make example` again")
        ('run ', Span(text='make example', kind='code'), ' again')
    """
    return tuple(code(part) if i % 2 else part for i, part in enumerate(text.split("`")) if part)


_ADDRESS = re.compile(r"(https?://[A-Za-z0-9./_~:-]*[A-Za-z0-9/_~-])")


def linked(text: str) -> Words:
    """Read m43's own sentence, its addresses as links; a full stop after one ends the sentence."""
    return tuple(_links(part) if isinstance(part, str) else part for part in flat(rich(text)))


def _links(text: str) -> Words:
    parts = enumerate(_ADDRESS.split(text))
    return tuple(Link(part, part) if i % 2 else part for i, part in parts if part)


def joined(parts: Iterable[Words], separator: Inline) -> Words:
    """Put a separator between parts."""
    found: list[Words] = []
    for part in parts:
        found += [separator, part] if found else [part]
    return tuple(found)


def flat(words: Words) -> list[Inline]:
    """Take words apart, neighbouring texts as one: what is escaped is what will stand there."""
    found: list[Inline] = []
    for part in _parts(words):
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        else:
            found.append(part)
    return found


def _parts(words: Words) -> Iterator[Inline]:
    if isinstance(words, str | Span | Link | Quote | Bar | Break):
        yield words
    else:
        for part in words:
            yield from _parts(part)


_PLACE = re.compile(
    r"https://[!-~]+|#[!-~]+|[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?"
)


def leads_somewhere(address: str) -> bool:
    """Tell whether an address is one that a document may lead to: nothing that runs or calls."""
    return _PLACE.fullmatch(address) is not None


T = TypeVar("T")


class Fields:
    """The values of a record as the words that a document shows, each asked for by its field.

    Without a record every value is the name of its field in braces: what is made of that is the
    template of the document.

    Example:
        >>> Fields(complex(3, 4))("imag", ".1f"), Fields(None, "z")("imag", ".1f")
        ('4.0', '{z.imag}')
    """

    def __init__(self, record: Any, name: str = "") -> None:
        self.record = record
        self._prefix = f"{name}." if name else ""

    def __call__(self, name: str, how: str | Callable[[Any], str] = "") -> str:
        """Return a field's value, formatted."""
        if self.record is None:
            return f"{{{self._prefix}{name}}}"
        value = attrgetter(name)(self.record)
        return how(value) if callable(how) else format(value, how)

    def of(self, name: str, how: Callable[[Any], str]) -> str:
        """Return what follows from several fields; the name says from which."""
        return f"{{{self._prefix}{name}}}" if self.record is None else how(self.record)

    def bar(self, name: str) -> Words:
        """Draw the share that a field holds."""
        return () if self.record is None else Bar(attrgetter(name)(self.record))

    def part(self, name: str, make: Callable[[Any], object] | None = None) -> Fields:
        """Return the fields of a record within this one, or of one that is worked out from it."""
        known = self.record is not None
        record = (make or attrgetter(name))(self.record) if known else None
        return Fields(record, f"{self._prefix}{name}")

    def rows(
        self,
        name: str,
        row: Callable[[Fields], T],
        among: Callable[[Any], Iterable[object]] | None = None,
    ) -> list[T]:
        """Return a row for each record of a list; in a template it has one element."""
        if self.record is None:
            return [row(Fields(None, f"{self._prefix}{name}[]"))]
        return [row(Fields(each)) for each in (among or attrgetter(name))(self.record)]
