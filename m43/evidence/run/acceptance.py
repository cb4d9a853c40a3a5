"""Whether a run is accepted: its journal, its records and its contract together."""

from m43.evidence.contract.verdict import Verdict, judge
from m43.evidence.run.history import judged
from m43.evidence.run.loaded_run import Complete, Dossier, complete


def verdict_of(dossier: Dossier) -> Verdict:
    """Judge what a dossier holds: the journal, and the records that it speaks of.

    A journal alone can be accepted by `judge`. A summary also needs every record, the very
    contract that the run was opened under, and measurements that keep the promises once more.
    """
    promises = dossier.contract.promises if dossier.contract else ()
    reasons = list(judge(dossier.entries, promises).reasons)
    reasons += [str(problem) for problem in dossier.problems]
    facts = complete(dossier)
    if facts is None:
        reasons.append("a record is missing: opening, profile, auth, venv, train, eval or closing")
    else:
        reasons += _contract_reasons(facts)
    reasons += [
        f"promise {item.promise.name} does not hold over the records"
        for item in judged(dossier)
        if item.holds is False
    ]
    return Verdict(accepted=not reasons, reasons=tuple(reasons))


def _contract_reasons(facts: Complete) -> list[str]:
    contract, opening = facts.dossier.contract, facts.opening
    if contract is None:
        return ["contract.txt is missing: the run does not say what it promised"]
    reasons = []
    if contract.text_sha256 != opening.contract_sha256:
        reasons.append("contract.txt is not the contract that opening.json names by its digest")
    if contract.names != opening.promises:
        reasons.append("contract.txt does not hold the promises that opening.json names")
    return reasons
