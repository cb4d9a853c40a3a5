"""The hub's records: what it said to the token, and the files that came from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from m43.records.profile import Transport
from m43.text import is_weight_file

HubStep = Literal["whoami", "auth_check", "revision", "weights_head"]


@dataclass(frozen=True, kw_only=True)
class HubResponse:
    """One request to the hub and what came of it; status 0 means that no answer came."""

    step: HubStep
    status: int
    error: str  # empty, or the redacted message
    causes: tuple[str, ...] = ()  # the exception's type, its errno, and those of what it came from
    sent: bool = True  # False where the client failed before it had sent anything


@dataclass(frozen=True, kw_only=True)
class UnaskedRequest:
    """A request that m43 did not make: the hub's client sent it by itself. Judged by nobody."""

    method: str
    address: str
    status: int  # 0 when no answer came


@dataclass(frozen=True, kw_only=True)
class PinnedFile:
    """A file of the pinned revision as the hub describes it."""

    name: str
    size_bytes: int
    # Large files are pinned by SHA-256, small ones by the SHA-1 of their git blob.
    digest_kind: Literal["sha256", "git-sha1"]
    digest: str


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate of the chain by which a hub was believed to be the one that was asked."""

    subject: str
    issuer: str
    sha256: str  # of its DER form, as browsers show it


@dataclass(frozen=True, kw_only=True)
class HubWay:
    """How the hub was reached, as far as the transport tells. Judged by nobody."""

    settings: tuple[str, ...] = ()  # NAME=value of what leads there or vouches; logins redacted
    address: str = ""  # the connection's other end: the hub's or a proxy's; empty without an answer
    certificates: tuple[Certificate, ...] = ()  # the hub's own first, the trusted root last


@dataclass(frozen=True, kw_only=True)
class AuthRecord:
    """What the hub said to this token. `auth.json`."""

    # "absent" when there is none; m43 asks for HF_TOKEN and reports anything else.
    token_source: Literal["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "token file", "absent"]
    endpoint: str
    account: str  # empty when the hub named none
    repo: str
    revision: str  # what the hub resolved; empty when it resolved nothing
    responses: tuple[HubResponse, ...]
    files: tuple[PinnedFile, ...] = field(repr=False)
    missing_files: tuple[str, ...]
    weight_bytes: int  # bytes of weights that this gate moved
    hub_variables: tuple[str, ...]  # names of HF_* variables that were set
    duration_s: float
    unasked: tuple[UnaskedRequest, ...] = ()
    way: HubWay = field(default_factory=HubWay, repr=False)
    token_flaw: str = ""  # why the token of HF_TOKEN cannot be used; empty when it can
    token_oddity: str = ""  # in what it differs from those that huggingface.co issues

    @property
    def statuses(self) -> tuple[int, ...]:
        """The HTTP status of each request, in order."""
        return tuple(response.status for response in self.responses)

    @property
    def access_statuses(self) -> tuple[int, ...]:
        """The statuses of the questions: who am I, may I, is the revision there.

        0 stands for an answer that says yes in its status and could not be read.
        """
        asked = (item for item in self.responses if item.step != "weights_head")
        return tuple(0 if item.status == 200 and item.error else item.status for item in asked)

    @property
    def weights_statuses(self) -> tuple[int, ...]:
        """The statuses of asking for the head of the weights: 302 sends to where they lie."""
        return tuple(item.status for item in self.responses if item.step == "weights_head")

    @property
    def weight_sizes(self) -> Mapping[str, int]:
        """The size of each file of weights, as the hub states it."""
        return {file.name: file.size_bytes for file in self.files if is_weight_file(file.name)}

    @property
    def known_sha256(self) -> tuple[tuple[str, str], ...]:
        """Each file that the hub pins by SHA-256, with the digest."""
        return tuple(
            (file.name, file.digest) for file in self.files if file.digest_kind == "sha256"
        )


@dataclass(frozen=True, kw_only=True)
class DownloadRecord:
    """The pinned files as they lie in the Hugging Face cache. `download.json`."""

    folder: Path  # of links to these files and no others, inside the run folder while it runs
    cache: Path  # where the files themselves lie
    revision: str
    files: tuple[PinnedFile, ...] = field(repr=False)  # digests recomputed from the bytes on disk
    transport: Transport  # by which they came; a hub may offer no Xet
    requests: int  # of m43's own client; those of hf_xet are not told
    bytes_moved: int  # 0 when the cache had everything
    duration_s: float
    unasked: tuple[UnaskedRequest, ...] = ()
