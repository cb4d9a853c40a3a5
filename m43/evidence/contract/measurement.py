"""The measurement: what a promise compared, with the value and the file that it stands in."""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from m43.evidence.contract.contract import Promise
from m43.evidence.contract.expression import AssertedExpression, names
from m43.records import EvaluationResults, RunDir

# Where the records lie that the contract's fixtures return; a field of its own file comes first.
FILES: Mapping[str, str] = {
    "opening": RunDir.opening.name,
    "contract": RunDir.profile.name,
    "auth": RunDir.auth.name,
    "venv": RunDir.venv.name,
    "plan": RunDir.plan.name,
    "train": RunDir.train.name,
    "train.process": RunDir.train_process.name,
    "train.imported": RunDir.train_imported.name,
    "evaluation.imported": RunDir.eval_imported.name,
    "train.download": RunDir.download.name,
    "train.metrics": RunDir.metrics.name,
    "train.losses_nats": RunDir.metrics.name,
    "train.supervised_tokens": RunDir.metrics.name,
    "evaluation": RunDir.evaluation.name,
    "evaluation.process": RunDir.eval_process.name,
    "evaluation.predictions": RunDir.predictions.name,
    "evaluation.ids": RunDir.predictions.name,
    "evaluation.results": RunDir.results.name,
    "evaluation.recomputed_results": RunDir.predictions.name,
    "closing": RunDir.closing.name,
}

_HEX = re.compile(r"[0-9a-f]{40,64}")
_SHOWN_ITEMS = 4


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One side of a comparison."""

    expression: str
    value: str
    file: str


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A promise held against the records once more."""

    promise: Promise
    expected: tuple[str, ...]  # the asserted expressions
    measurements: tuple[Measurement, ...]
    holds: bool | None  # None: the run did not get there


def measure(promise: Promise, records: Mapping[str, object]) -> Judged:
    """Look up what a promise compares, and compare it."""
    expected = tuple(asserted.source for asserted in promise.asserts)
    needed = {name for asserted in promise.asserts for name in names(asserted.tree)}
    if not needed <= set(records):
        return Judged(promise=promise, expected=expected, measurements=(), holds=None)
    try:
        measurements = [item for asserted in promise.asserts for item in _sides(asserted, records)]
        kept = all(item.holds(records) for item in promise.asserts)
    except (AttributeError, TypeError, ValueError, ArithmeticError) as error:
        # A promise of somebody's own may ask for a field that no record has: it cannot be kept.
        file = ", ".join(FILES.get(name, name) for name in sorted(needed))
        found = Measurement(expression=type(error).__name__, value=str(error), file=file)
        return Judged(promise=promise, expected=expected, measurements=(found,), holds=False)
    return Judged(
        promise=promise,
        expected=expected,
        measurements=tuple(dict.fromkeys(measurements)),
        holds=bool(promise.asserts) and kept,
    )


def _sides(asserted: AssertedExpression, records: Mapping[str, object]) -> Sequence[Measurement]:
    return [
        Measurement(expression=text, value=show(side.value), file=file_of(text))
        for side in asserted.measured(records)
        if (text := side.expression)
    ]


def file_of(expression: str) -> str:
    """Name the files that an expression's fields stand in."""
    found = []
    for node in ast.walk(ast.parse(expression, mode="eval")):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            record = node.value.id
            found.append(FILES.get(f"{record}.{node.attr}") or FILES.get(record, record))
    return ", ".join(dict.fromkeys(found))


def show(value: Any) -> str:
    """Write a value short enough for a table, saying so where something is left out."""
    text = str(value)
    if isinstance(value, EvaluationResults):
        tally = value.overall
        text = (
            f"{tally.rows} rows, {tally.base_correct} right before, {tally.tuned_correct} after, "
            f"{len(value.groups)} groups"
        )
    elif isinstance(value, str):
        text = f"{value[:12]}…" if _HEX.fullmatch(value) else value or "(empty)"
    elif isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, Mapping) and len(value) > _SHOWN_ITEMS:
        text = f"{len(value)} keys"
    elif isinstance(value, tuple | list | set | frozenset):
        plain = all(isinstance(item, str | int) for item in value)
        short = len(value) <= _SHOWN_ITEMS and plain
        text = ", ".join(show(item) for item in value) if short else f"{len(value)} items"
    return text or "none"
