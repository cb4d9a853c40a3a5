"""The circumstances: what is different in a world, and what m43 must say of it. Data only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from m43.errors import FailureClass as F
from tests.world.certificates import Certificate

HUB = "huggingface.co"
# Where the real hub sends for large files: its bridge to Xet's storage, which speaks plain HTTP.
STORAGE = "cas-bridge.xethub.hf.co"
CAS = "cas-server.xethub.hf.co"
TRANSFER = "transfer.xethub.hf.co"
NAMES = (HUB, STORAGE, CAS, TRANSFER)

# What a host may do instead of answering as it should.
Manner = Literal[
    "trickle", "flood", "bomb", "portal", "portal by redirect", "cut", "503 once", "429",
    "stall after half", "never answers", "refuses",
]  # fmt: skip
Transport = Literal["http", "xet"]


@dataclass(frozen=True, kw_only=True)
class Circumstance:
    """One thing that is different in a world, and what has to come of it.

    Attributes:
        harnesses: How the hub answers the list that its client asks for; 0 for not at all.
        manners: What a host does instead of answering, by its name.
        black_holes: Hosts to which connections are neither made nor refused.
        variables: What the engineer has set beside token and authority.
        gate, failure_class, words: Where a run ends, as what, and what its document says; no
            class for a run that is accepted.
    """

    name: str
    harnesses: int = 200
    transport: Transport = "http"
    offers_xet: bool = True
    certificate: Certificate = "good"
    ipv6: bool = False
    resolver: Literal["hosts", "silent"] = "hosts"
    proxy: Literal["none", "needed", "refuses"] = "none"
    manners: Mapping[str, Manner] = field(default_factory=dict)
    black_holes: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    deadlines: Mapping[str, float] = field(default_factory=dict)
    gate: str = ""
    failure_class: F | None = None
    words: str = ""
    quick: bool = False


PROXY = "http://127.0.0.1:3128"
_SHORT = {"auth_s": 6.0}
_QUIET = {"silence_s": 8.0}

GOOD: tuple[Circumstance, ...] = (
    Circumstance(name="the list is answered 200", quick=True),
    Circumstance(name="the list is answered 401", harnesses=401),
    Circumstance(name="the list is answered 404", harnesses=404, quick=True),
    Circumstance(name="the list is not answered", harnesses=0, quick=True),
    Circumstance(name="the hub offers no Xet", offers_xet=False),
    Circumstance(name="Xet", transport="xet", quick=True),
    Circumstance(name="IPv6 only", ipv6=True, quick=True),
    Circumstance(
        name="a proxy that must be used",
        proxy="needed",
        variables={"HTTPS_PROXY": PROXY, "https_proxy": PROXY},
        quick=True,
    ),
    Circumstance(
        name="a proxy that must not be used",
        variables={"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": f"{HUB},.hf.co"},
    ),
    Circumstance(
        name="a variable that makes the client warn",
        variables={"HF_HUB_ENABLE_HF_TRANSFER": "1", "PYTHONWARNINGS": "default"},
    ),
)


BAD: tuple[Circumstance, ...] = (
    Circumstance(
        name="certificate of an unknown authority",
        certificate="unknown",
        gate="auth",
        failure_class=F.CERTIFICATE_NOT_TRUSTED,
        words="shows a certificate that this machine does not trust",
        quick=True,
    ),
    Circumstance(
        name="certificate expired",
        certificate="expired",
        gate="auth",
        failure_class=F.CERTIFICATE_NOT_TRUSTED,
        words="certificate has expired",
        quick=True,
    ),
    Circumstance(
        name="clock wrong",
        certificate="not yet valid",
        gate="auth",
        failure_class=F.CERTIFICATE_NOT_TRUSTED,
        words="not yet valid",
    ),
    Circumstance(
        name="certificate for another name",
        certificate="another name",
        gate="auth",
        failure_class=F.CERTIFICATE_NOT_TRUSTED,
        words="Hostname mismatch",
    ),
    Circumstance(
        name="resolver silent",
        resolver="silent",
        gate="auth",
        failure_class=F.NAME_NOT_RESOLVED,
        words="could not be resolved to an address",
    ),
    Circumstance(
        name="resolver silent beyond the deadline",
        resolver="silent",
        deadlines={"auth_s": 3.0},
        gate="auth",
        failure_class=F.TRANSFER_STALLED,
        words="no end after 3 s",
        quick=True,
    ),
    Circumstance(
        name="hub black-holed",
        black_holes=(HUB,),
        gate="auth",
        failure_class=F.HUB_UNREACHABLE,
        words="gave no answer",
        quick=True,
    ),
    Circumstance(
        name="storage black-holed",
        black_holes=(STORAGE,),
        gate="train-300",
        failure_class=F.HUB_UNREACHABLE,
        words=f"The storage at {STORAGE}",
    ),
    Circumstance(
        name="CAS black-holed",
        transport="xet",
        black_holes=(CAS,),
        deadlines=_QUIET,
        gate="train-300",
        failure_class=F.TRANSFER_STALLED,
        words="standing still",
    ),
    Circumstance(
        name="xorbs black-holed",
        transport="xet",
        black_holes=(TRANSFER,),
        deadlines=_QUIET,
        gate="train-300",
        failure_class=F.TRANSFER_STALLED,
        words="standing still",
    ),
    Circumstance(
        name="CAS that never answers",
        transport="xet",
        manners={CAS: "never answers"},
        deadlines=_QUIET,
        gate="train-300",
        failure_class=F.TRANSFER_STALLED,
        words="standing still",
    ),
    Circumstance(
        name="CAS that stalls after half",
        transport="xet",
        manners={TRANSFER: "stall after half"},
        deadlines=_QUIET,
        gate="train-300",
        failure_class=F.TRANSFER_STALLED,
        words="had arrived",
        quick=True,
    ),
    Circumstance(
        name="storage that stalls after half",
        manners={STORAGE: "stall after half"},
        deadlines=_QUIET,
        gate="train-300",
        failure_class=F.TRANSFER_STALLED,
        words="had arrived",
        quick=True,
    ),
    Circumstance(
        name="storage that trickles",
        manners={STORAGE: "trickle"},
        deadlines={"download_s": 8.0},
        gate="train-300",
        failure_class=F.TRANSFER_STALLED,
        words="its deadline",
    ),
    Circumstance(
        name="storage answers 503 once",
        manners={STORAGE: "503 once"},
        gate="train-300",
        failure_class=F.HUB_ERROR,
        words=f"{STORAGE} answered 503",
        quick=True,
    ),
    Circumstance(
        name="connection cut in the weights",
        manners={STORAGE: "cut"},
        gate="train-300",
        failure_class=F.CONNECTION_LOST,
        words="the connection was lost before the end",
        quick=True,
    ),
    Circumstance(
        name="hub answers 503 once",
        manners={HUB: "503 once"},
        gate="auth",
        failure_class=F.HUB_ERROR,
        words="answered with an error of its own",
    ),
    Circumstance(
        name="offline mode set",
        variables={"HF_HUB_OFFLINE": "1"},
        gate="auth",
        failure_class=F.OFFLINE_MODE,
        words="was told to stay offline",
    ),
    Circumstance(
        name="rate limited",
        manners={HUB: "429"},
        gate="auth",
        failure_class=F.RATE_LIMITED,
        words="takes no more requests for now",
    ),
    Circumstance(
        name="captive portal",
        manners={HUB: "portal"},
        gate="auth",
        failure_class=F.NOT_THE_HUB,
        words="does not answer as it should",
        quick=True,
    ),
    Circumstance(
        name="captive portal that redirects",
        manners={HUB: "portal by redirect"},
        gate="auth",
        failure_class=F.NOT_THE_HUB,
        words="does not answer as it should",
    ),
    Circumstance(
        name="answers that trickle",
        manners={HUB: "trickle"},
        deadlines=_SHORT,
        gate="auth",
        failure_class=F.TRANSFER_STALLED,
        words="no end after 6 s",
        quick=True,
    ),
    Circumstance(
        name="an answer of 300 MB",
        manners={HUB: "flood"},
        gate="auth",
        failure_class=F.NOT_THE_HUB,
        words="the rest was not read",
    ),
    Circumstance(
        name="an answer that unpacks to gigabytes",
        manners={HUB: "bomb"},
        gate="auth",
        failure_class=F.NOT_THE_HUB,
        words="which was not asked for",
    ),
    Circumstance(
        name="a proxy that must be used, and is not set",
        proxy="needed",
        gate="auth",
        failure_class=F.NAME_NOT_RESOLVED,
        words="could not be resolved to an address",
    ),
    Circumstance(
        name="a proxy that refuses",
        proxy="refuses",
        variables={"HTTPS_PROXY": PROXY},
        gate="auth",
        failure_class=F.PROXY_FAILED,
        words="cannot be used",
        quick=True,
    ),
)
