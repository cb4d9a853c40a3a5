"""A fault: the one thing that goes wrong with a hub, chosen when the hub is made."""

from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What can go wrong with a hub, each as the real one shows it."""

    NONE = "nothing"
    TOKEN_REFUSED = "token refused"
    LICENCE_NOT_ACCEPTED = "licence not accepted"
    TOKEN_WITHOUT_GATED_ACCESS = "fine-grained token without gated access"
    UNKNOWN_REPOSITORY = "unknown repository"
    UNKNOWN_REVISION = "unknown revision"
    RATE_LIMITED = "rate limited"
    SERVER_ERROR = "server error"
    SLOW = "slow answers"
    CUT = "connection cut in the middle of a file"
    WRONG_BYTES = "other bytes than the pinned ones"
    MISSING_FILE = "missing file"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: What goes wrong.
        where: Part of the paths that it happens at, such as "whoami" or "model.safetensors"; empty
            means everywhere. A missing file must be named, in full.
        times: How often it happens before the hub recovers; 0 means that it never does.
        delay_s: How long a slow answer takes to begin.
        after_bytes: How much of the file arrives before a connection is cut.
    """

    kind: FaultKind
    where: str = ""
    times: int = 0
    delay_s: float = 0.0
    after_bytes: int = 0

    def __post_init__(self) -> None:
        if self.kind is FaultKind.MISSING_FILE and not self.where:
            raise ValueError("found no name of the missing file, expected one; give it as `where`")


NO_FAULT = Fault(kind=FaultKind.NONE)
