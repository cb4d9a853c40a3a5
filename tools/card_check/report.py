"""What the check found: of the machine, and of each part; written anew whenever that changes."""

import os
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Literal

from m43 import typed_json
from m43.evidence.verify import git
from m43.harness.card import look_at_card
from m43.records import CardSample, write_atomically
from m43.text import duration_words, size_words
from tests.benchmarks.bars import Line
from tests.benchmarks.machine import Machine, machine
from tests.benchmarks.table import render
from tools.card_check.wheels import COMMIT

JSON_NAME, MARKDOWN_NAME = "card_check.json", "card_check.md"
NOT_TOLD = "not told"
_PACKAGES = (
    "jax", "jaxlib", "jax-cuda13-plugin", "flax", "optax", "transformers",
    "nvidia-cudnn-cu13", "nvidia-cublas", "huggingface_hub", "datasets",
)  # fmt: skip

PartEnded = Literal["done", "cut off", "failed", "under way", "not begun"]
Keep = Callable[["Part"], None]
"""What a part is given to tell what it found so far, which is written down at once."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one part of the check found.

    Attributes:
        reason: why it did not get to its end; empty where it did.
        lines: its figures, against their bars where they have any.
        words: what is no figure, a sentence each.
        found: every measurement, by its name.
    """

    name: str
    ended: PartEnded
    reason: str = ""
    limit_s: float = 0.0
    took_s: float = 0.0
    lines: tuple[Line, ...] = ()
    words: tuple[str, ...] = ()
    found: Mapping[str, object] = field(default_factory=dict, repr=False)

    @property
    def holds(self) -> tuple[bool | None, ...]:
        """Of each line whether its bar is reached."""
        return tuple(line.holds for line in self.lines)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What all figures are of.

    Attributes:
        commit: of the checkout; "not told" where it came without its history.
        card: None where NVML tells of none, and `no_card` says why.
        device: as JAX names what it computes on.
    """

    started_utc: str
    dry: bool
    commit: str
    python: str
    versions: Mapping[str, str]
    machine: Machine
    card: CardSample | None
    no_card: str
    device: str = NOT_TOLD


def header(repository: Path, *, started_utc: str, dry: bool) -> Header:
    """Read it off this machine."""
    seen = look_at_card(os.environ)
    card = seen if isinstance(seen, CardSample) else None
    return Header(
        started_utc=started_utc,
        dry=dry,
        commit=_commit(repository),
        python=platform.python_version(),
        versions={name: version_of(name) for name in _PACKAGES},
        machine=machine(),
        card=card,
        no_card="" if isinstance(seen, CardSample) else seen.reason,
    )


def _commit(repository: Path) -> str:
    told = git(repository, "rev-parse", "HEAD")
    # On a lent machine there is no history, and perhaps no git.
    if told is None:
        told = COMMIT.read_bytes() if COMMIT.exists() else b""
    return told.decode().strip() or NOT_TOLD


def version_of(name: str) -> str:
    """Return the installed version of a distribution, or "none"."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


@dataclass(frozen=True, kw_only=True)
class Report:
    """The whole of it: every part that was asked for, also those that it has not come to."""

    header: Header
    budget_s: float
    parts: tuple[Part, ...]

    @property
    def missed(self) -> int:
        """How many parts did not get to their end, and on a card how many bars were not reached.

        A dry run's bars are of a toy: its report says so, and its end says whether every line ran.
        """
        ends = sum(part.ended != "done" for part in self.parts)
        lines = sum(each is False for part in self.parts for each in part.holds)
        return ends if self.header.dry else ends + lines


def write(report: Report, folder: Path) -> None:
    """Write both files, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = typed_json.to_plain(report)
    for part, written in zip(report.parts, plain["parts"], strict=True):
        written["holds"] = list(part.holds)
    write_atomically(folder / JSON_NAME, typed_json.dump(plain).encode())
    write_atomically(folder / MARKDOWN_NAME, markdown(report).encode())


def put(report: Report, part: Part) -> Report:
    """Return the report with what is now known of one of its parts."""
    parts = (part if each.name == part.name else each for each in report.parts)
    return replace(report, parts=tuple(parts))


def markdown(report: Report) -> str:
    """Write the report as a person reads it."""
    told = report.header
    title = "A dry run: no card, a toy model" if told.dry else "Nine minutes on a card"
    paragraphs = [f"# {title}", "\n".join(f"- {each}" for each in _machine(told))]
    for part in report.parts:
        took = f", {part.took_s:.0f} of at most {part.limit_s:.0f} s" if part.limit_s else ""
        paragraphs.append(f"## {part.name}: {part.ended}{took}")
        paragraphs += [part.reason] if part.reason else []
        paragraphs += [render(part.lines).rstrip()] if part.lines else []
        paragraphs += ["\n".join(f"- {each}" for each in part.words)] if part.words else []
    if told.dry:
        paragraphs.append(
            "Figures of a dry run say that every line ran, and nothing about a card: a bar that "
            "holds or does not is of the toy on this processor."
        )
    return "\n\n".join(paragraphs) + "\n"


def _machine(told: Header) -> Iterable[str]:
    card = told.card
    if card is None:
        yield f"computed on: {told.device}; no card by NVML ({told.no_card})"
    else:
        size = size_words(card.memory_total_bytes) if card.memory_total_bytes else NOT_TOLD
        yield f"card: {card.name or NOT_TOLD}, {size}, driver {card.driver_version or NOT_TOLD}"
    here = told.machine
    memory = size_words(here.memory_bytes)
    yield f"machine: {here.processor}, {here.cores} cores, {memory}, load {here.load:.1f} before it"
    yield f"commit: {told.commit}, begun {told.started_utc}"
    held = ", ".join(f"{name} {version}" for name, version in told.versions.items())
    yield f"Python {told.python}, {held}"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What is left of the time for the parts that are still to come.

    Attributes:
        begun: of the check, by the clock that `left` is asked with.
    """

    total_s: float
    reserve_s: float
    limits_s: Mapping[str, float]
    begun: float

    def limit_of(self, name: str, now: float) -> float:
        """Return how long a part may take from now on: its limit, and what others left of theirs.

        The limits are shares of the whole: with twice the time each part has twice of it.
        """
        limits = list(self.limits_s.values())
        upto = sum(limits[: list(self.limits_s).index(name) + 1])
        share = (self.total_s - self.reserve_s) / sum(limits)
        return max(0.0, upto * share - (now - self.begun))


def not_begun(name: str, limit_s: float, least_s: float) -> Part:
    """Return a part for which no time was left."""
    reason = f"{duration_words(limit_s)} were left, and it needs {duration_words(least_s)}"
    return Part(name=name, ended="not begun", reason=reason, limit_s=limit_s)
