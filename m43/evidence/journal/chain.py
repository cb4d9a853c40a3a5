"""The hash chain: lines of JSON in which each line seals the one before it, and their entries.

Format, one line per entry, in UTF-8, ended by a line feed: the entry's fields as JSON with sorted
keys, no spaces and no escapes beyond JSON's own. `seq` counts from 1. `previous_sha256` is the
`sha256` of the line before, 64 zeros in the first. `sha256` is the SHA-256 of the same JSON
without the key `sha256`. To change a line unnoticed, every later line must be made again.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol, TypeVar

from m43 import typed_json
from m43.errors import M43Error, Problem, ProblemsError, problem

FIRST_PREVIOUS = "0" * 64
_problem = partial(problem, action="do not rely on this file: it was changed after it was written")


class Link(Protocol):
    """What every entry of a chain has."""

    @property
    def seq(self) -> int:
        """The entry's number, from 1."""

    @property
    def previous_sha256(self) -> str:
        """The seal of the entry before."""

    @property
    def sha256(self) -> str:
        """The seal of this entry."""


L = TypeVar("L", bound=Link)


class BrokenChainError(ProblemsError):
    """A chain in which a line was changed, removed, added or moved."""


class CutChainError(M43Error):
    """A chain whose last line is incomplete, as a power cut leaves it; the lines before are good.

    `good` holds the entries before the cut, `good_bytes` the length of their lines.
    """

    def __init__(self, where: str, good: tuple[Any, ...], good_bytes: int, cut_bytes: int) -> None:
        super().__init__(
            found=f"{cut_bytes} bytes of an unfinished line after {len(good)} whole ones",
            expected="whole lines only",
            where=where,
            action="read the whole lines: the machine stopped while the last one was written",
        )
        self.good = good
        self.good_bytes = good_bytes
        self.cut_bytes = cut_bytes


def canonical(fields: dict[str, object]) -> str:
    """Write fields as the one JSON text that the seal is taken over."""
    return json.dumps(
        fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def seal(fields: dict[str, object]) -> str:
    """Give the SHA-256 of an entry's fields, its own `sha256` left out."""
    bare = {name: value for name, value in fields.items() if name != "sha256"}
    return hashlib.sha256(canonical(bare).encode()).hexdigest()


def line(entry: Link) -> bytes:
    """Write an entry as its line."""
    return canonical(typed_json.to_plain(entry)).encode() + b"\n"


def parse(cls: type[L], data: bytes, where: str) -> tuple[L, ...]:
    """Read a chain and check every seal.

    Raises: BrokenChainError with every bad line; CutChainError when only the end is unfinished.
    """
    *whole, tail = data.split(b"\n")
    entries: list[L] = []
    problems: list[Problem] = []
    previous = FIRST_PREVIOUS
    for number, raw in enumerate(whole, start=1):
        entry, found = _entry(cls, raw, f"{where}:{number}")
        problems.extend(found)
        if entry is not None:
            problems.extend(_link_problems(entry, number, previous, f"{where}:{number}"))
            entries.append(entry)
            previous = entry.sha256
    if problems:
        raise BrokenChainError(problems)
    if tail:
        raise CutChainError(where, tuple(entries), len(data) - len(tail), len(tail))
    return tuple(entries)


def _entry(cls: type[L], raw: bytes, where: str) -> tuple[L | None, tuple[Problem, ...]]:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        return None, (_problem(str(error), "UTF-8", where),)
    return typed_json.parse(cls, text, where)


def _link_problems(entry: Link, number: int, previous: str, where: str) -> list[Problem]:
    problems = []
    if entry.seq != number:
        problems.append(_problem(f"entry {entry.seq}", f"entry {number}", where))
    if entry.previous_sha256 != previous:
        found = f"a link to {entry.previous_sha256[:12]}"
        problems.append(_problem(found, f"a link to {previous[:12]}, the line before", where))
    sealed = seal(typed_json.to_plain(entry))
    if entry.sha256 != sealed:
        found = f"the seal {entry.sha256[:12]}"
        problems.append(_problem(found, f"{sealed[:12]}, computed from the line", where))
    return problems


Event = Literal[
    "opened",
    "gate_opened",
    "gate_closed",
    "gate_stopped",
    "promise_kept",
    "promise_broken",
    "promise_not_run",
    "sealed",
    "interrupted",
    "closed",
]

# The events after which a power cut must not be able to take the entry away.
EDGES: frozenset[str] = frozenset(
    {"opened", "gate_opened", "gate_closed", "gate_stopped", "sealed", "interrupted", "closed"}
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of `journal.jsonl`; empty text where a field has nothing to say."""

    seq: int
    time_utc: str
    event: Event
    gate: str
    name: str  # of the promise
    failure_class: str
    detail: str
    previous_sha256: str
    sha256: str


def follow(last: Entry | None, entry: Entry) -> Entry:
    """Number an entry, link it to the last one and seal it."""
    linked = replace(
        entry,
        seq=1 if last is None else last.seq + 1,
        previous_sha256=FIRST_PREVIOUS if last is None else last.sha256,
    )
    return replace(linked, sha256=seal(typed_json.to_plain(linked)))
