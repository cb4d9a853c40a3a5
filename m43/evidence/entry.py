"""The journal's entry: one event of a run, sealed to the one before it."""

from dataclasses import dataclass, replace
from typing import Literal

from m43 import typed_json
from m43.evidence import chain

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
        previous_sha256=chain.FIRST_PREVIOUS if last is None else last.sha256,
    )
    return replace(linked, sha256=chain.seal(typed_json.to_plain(linked)))
