"""Whether a run is accepted, and under which contract: journal, records and promises together."""

from collections.abc import Sequence

from m43.errors import Problem
from m43.evidence.contract import ContractText, Judged, Verdict, judge
from m43.evidence.journal import Entry
from m43.records import OpeningRecord
from m43.text import clipped


def accept(
    entries: Sequence[Entry],
    *,
    contract: ContractText | None,
    opening: OpeningRecord | None,
    whole: bool,
    problems: Sequence[Problem],
    judged: Sequence[Judged],
) -> Verdict:
    """Judge what a run folder holds: the journal, and the records that it speaks of.

    A journal alone can be accepted by `judge`. A run also needs every record, the very contract
    that it was opened under, and measurements that keep the promises once more.

    Args:
        entries: The journal.
        contract: The promises, as the folder keeps them.
        opening: What was true before the first gate.
        whole: Whether no record is missing.
        problems: What of the folder could not be read.
        judged: Every promise, held against the records.
    """
    reasons = list(judge(entries, contract.promises if contract else ()).reasons)
    reasons += [str(problem) for problem in problems]
    if not whole or opening is None:
        reasons.append("a record is missing: opening, profile, auth, venv, train, eval or closing")
    else:
        reasons += _contract_reasons(contract, opening)
    reasons += [
        f"promise {item.promise.name} does not hold over the records"
        for item in judged
        if item.holds is False
    ]
    return Verdict(accepted=not reasons, reasons=tuple(reasons))


def _contract_reasons(contract: ContractText | None, opening: OpeningRecord) -> list[str]:
    if contract is None:
        return ["contract.txt is missing: the run does not say what it promised"]
    reasons = []
    if contract.text_sha256 != opening.contract_sha256:
        reasons.append("contract.txt is not the contract that opening.json names by its digest")
    if contract.names != opening.promises:
        reasons.append("contract.txt does not hold the promises that opening.json names")
    return reasons


_OF_THE_MODEL = (
    "contract.repo:",
    "contract.revision:",
    "contract.architecture:",
    "contract.parameters:",
    "contract.file_bytes.",
    "contract.file_sha256.",
    "contract.config.",
    "hub.files:",
)
_ASK_MORE = ("contract.file_sha256.", "contract.config.")
_LONGEST = 200


def model_differences(differences: Sequence[str]) -> tuple[str, ...]:
    """Return the differences from the locked decisions by which the model is another one.

    A digest, or a key of config.json, that the locked decisions do not know asks more of the same
    model.
    """
    return tuple(
        line
        for line in differences
        if line.startswith(_OF_THE_MODEL)
        and not (line.startswith(_ASK_MORE) and line.endswith(" instead of None"))
    )


def other_contract_words(differences: Sequence[str]) -> str:
    """Name the other model in one line; empty when it is the one of the locked decisions."""
    lines = [clipped(line, _LONGEST) for line in model_differences(differences)]
    return f"another contract: {'; '.join(lines)}" if lines else ""
