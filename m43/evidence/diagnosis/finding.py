"""The claim: a statement about the cause of a failure, with how well it stands."""

from dataclasses import dataclass
from typing import Literal

from m43.errors import FailureClass

Standing = Literal["established", "supported", "hypothesis", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One statement, its standing, and the files that it rests on."""

    text: str
    standing: Standing
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Why a run failed."""

    failure_class: FailureClass
    gate: str  # empty before the first gate
    place: str  # "at gate 1 of 4 (auth)"
    sentence: str
    claims: tuple[Claim, ...]
