"""Whether a run is accepted, and under which contract: journal, records and promises together."""

from collections.abc import Sequence

from m43.errors import Problem
from m43.evidence.contract import ContractText, Judged, Verdict, judge
from m43.evidence.journal import Entry
from m43.records import OpeningRecord
from m43.text import clipped, counted


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


_LONGEST = 300
# What [contract] holds, which hub has to serve it and what of it; a digest, or a key of
# config.json, that the M43 contract does not know asks more of the same model.
_OF_CONTRACT = ("contract.", "hub.endpoint:", "hub.files:")
_ASK_MORE = ("contract.file_sha256.", "contract.config.")


def contract_differences(opening: OpeningRecord | None) -> tuple[str, ...]:
    """List in what a run's contract is not the M43 contract: promises, values of [contract]."""
    if opening is None:
        return ()
    values = (line for line in opening.profile_differences if _is_of_contract(line))
    return (*opening.promise_differences, *(clipped(line, _LONGEST) for line in values))


def _is_of_contract(line: str) -> bool:
    more = line.startswith(_ASK_MORE) and line.endswith(" instead of None")
    return line.startswith(_OF_CONTRACT) and not more


def contract_words(opening: OpeningRecord | None) -> str:
    """Say what a run's contract is called, and in how much it is another one; empty where not."""
    count = len(contract_differences(opening))
    name = opening.contract_name if opening else ""
    return f"{name}, in {counted(count, 'point')} not the M43 contract" if count else ""
