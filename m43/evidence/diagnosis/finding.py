"""The finding: a statement about the cause of a failure, with how well it stands."""

from dataclasses import dataclass

from m43.errors import FailureClass
from m43.evidence.failures import FAILURES, Confidence


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One statement, how well it stands, and the files that it rests on."""

    text: str
    confidence: Confidence
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Why a run failed."""

    failure_class: FailureClass
    gate: str  # empty before the first gate
    place: str  # "at gate 1 of 4 (auth)"
    sentence: str
    findings: tuple[Finding, ...]


def finding(text: str, confidence: Confidence, *evidence: str) -> Finding:
    """Make a finding; what is unknown rests on no file."""
    kept = evidence if confidence != "unknown" else ()
    return Finding(text=text, confidence=confidence, evidence=kept)


def likely_cause(failure_class: FailureClass, *evidence: str) -> tuple[Finding, ...]:
    """Return the catalogue's causes of a class; without a file, none that would need one."""
    failure = FAILURES[failure_class]
    others = tuple(finding(text, "hypothesis") for text in failure.others)
    if not failure.cause or (failure.confidence == "supported" and not evidence):
        return others
    return (finding(failure.cause, failure.confidence, *evidence), *others)
