"""What passes between m43 and the child process that talks to the hub."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from m43.evidence.journal import redact
from m43.records import HubResponse, HubStep, HubWay, PinnedFile, Transport, UnaskedRequest
from m43.text import visible

LONGEST_ERROR = 600

Asking = Literal[HubStep, ""]


@dataclass(frozen=True, kw_only=True)
class HubRequest:
    """What the child is to ask, or to fetch.

    Attributes:
        names: The files of the pinned revision that the profile names.
        pinned: For a download: the files to fetch, as the hub described them.
        cache: The Hugging Face cache; empty means the one that huggingface_hub itself uses.
        heartbeat: Where the child says how far it is; empty for one that need not.
    """

    endpoint: str
    repo: str
    revision: str
    names: tuple[str, ...] = field(repr=False)
    pinned: tuple[PinnedFile, ...] = field(default=(), repr=False)
    cache: str = ""
    transport: Transport = "http"
    heartbeat: str = ""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the hub has said so far; printed after each step, so that a kill loses none of it."""

    asking: Asking  # the step under way; empty at the end
    sent: bool = False  # whether a request of that step went out
    responses: tuple[HubResponse, ...] = field(repr=False)
    unasked: tuple[UnaskedRequest, ...] = field(repr=False)
    account: str
    revision: str
    files: tuple[PinnedFile, ...] = field(repr=False)
    weight_bytes: int
    way: HubWay = field(default_factory=HubWay)


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A file as it came: digested again from its bytes, where it lies, what was moved for it.

    Its state is `file_state` before the first byte was digested.
    """

    found: PinnedFile
    path: Path
    bytes_moved: int
    state: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Every file that was asked for, and how many requests m43's client made for them."""

    arrivals: tuple[Arrival, ...] = field(repr=False)
    transport: Transport  # by which they came
    requests: int
    unasked: tuple[UnaskedRequest, ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Why the child gave up: the file it was at, the chain of exceptions, the hub's status."""

    name: str
    text: str
    causes: tuple[str, ...]
    status: int  # 0 when no answer of the hub's is behind it
    host: str  # who was asked last; empty when nobody was


def told(words: object, most: int, secrets: Sequence[str]) -> str:
    """Write down an address or a name: on a line, without what steers, and never the token."""
    return _plain(words, secrets)[:most]


def said(words: object, most: int, secrets: Sequence[str]) -> str:
    """Write down what the hub said, as `told` does, and without links.

    An address in it is written so that no terminal and no page makes a link of it: it would look
    as if m43 sent its reader there.
    """
    # Redacted first: a login is known by what comes before it in an address.
    return _plain(words, secrets).replace("://", "[:]//").replace("www.", "www[.]")[:most]


def failure_words(error: BaseException, secrets: Sequence[str]) -> str:
    """Write down what ended a question, in words that may be the hub's."""
    return said(f"{type(error).__name__}: {error}", LONGEST_ERROR, secrets)


def _plain(words: object, secrets: Sequence[str]) -> str:
    return visible(" ".join(redact(str(words), secrets).split()))
