"""The audit of the decoding: whether both models answered as the profile says."""

from collections.abc import Iterator

from m43.errors import Problem
from m43.evidence.dossier import Dossier

_ACTION = "do not rely on this folder: its answers end where the profile does not say"


def audit_decoding(dossier: Dossier) -> Iterator[Problem]:
    """Hold the stops and the limit against the profile, and the outputs against the stop text."""
    if dossier.evaluation is None or dossier.profile is None:
        return
    decoding, profile = dossier.evaluation.decoding, dossier.profile
    pairs = {
        "stop_text": (decoding.stop_text, profile.template.stop_text),
        "max_new_tokens": (decoding.max_new_tokens, profile.evaluation.max_new_tokens),
        "precision": (decoding.precision, profile.evaluation.precision),
    }
    for name, (found, expected) in pairs.items():
        if found != expected:
            yield Problem(
                found=repr(found),
                expected=f"{expected!r}, as in contract.lock.json",
                where=f"eval.json, decoding.{name}",
                action=_ACTION,
            )
    if not decoding.stop_ids:
        yield Problem(
            found="no id that ends an answer",
            expected="eos at least",
            where="eval.json, decoding.stop_ids",
            action=_ACTION,
        )
    stop = profile.template.stop_text
    for row in dossier.evaluation.predictions:
        if stop and (stop in row.base_output or stop in row.tuned_output):
            yield Problem(
                found=f"an output with {stop!r} in it",
                expected="outputs that end before it",
                where=f"predictions.jsonl, row {row.id}",
                action=_ACTION,
            )
