"""A failure class in words: one entry of the catalogue."""

from dataclasses import dataclass
from typing import Literal

CARD = "`nvidia-smi` shows the driver, the card, and the programs that hold its memory."
LOG = "Read the end of `{log}` below; the whole log lies in this folder."

Confidence = Literal["established", "supported", "hypothesis", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What is said about one failure class, in every place where it is said.

    In `sentence` and `actions` the names in braces are the run's facts (`diagnosis.next_actions`),
    in `hint` only {repo}.

    Attributes:
        sentence: opens the failure analysis.
        hint: what to do, in a few words: in a check, on the checklist, where a download ended.
        unasked: why nothing more was asked of the hub, after this.
        cause: what is likely to lie behind it; empty where only the records can say.
        confidence: how well the cause stands; "unknown" is a cause that nothing records.
        others: further causes that would look the same, the likelier first; each a hypothesis.
        promises: those whose break means this, where the records behind them do not say more.
        actions: what a person can do, in order; the way to a new run is added.
    """

    sentence: str
    actions: tuple[str, ...]
    hint: str = "read what the hub said"
    unasked: str = "an earlier answer was no"
    cause: str = ""
    confidence: Confidence = "unknown"
    others: tuple[str, ...] = ()
    promises: tuple[str, ...] = ()
