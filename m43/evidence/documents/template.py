"""The summary's template: `m43_summary.md` before there is a run, by what writes the real one.

Known beforehand are the profile and the contract; everything that a run will measure is a
specimen, in which each field stands as its own name.
"""

import dataclasses
import operator
import types
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from m43.evidence.contract.contract import ContractText
from m43.evidence.documents.summary import render_summary
from m43.evidence.journal.chain import Entry
from m43.evidence.run.loaded_run import Dossier, EvaluationFacts, EvidenceFile, TrainFacts, complete
from m43.records.evaluation_record import EvaluationResults, Tally
from m43.records.gates import STAGES
from m43.records.hub_record import AuthRecord, HubResponse
from m43.records.profile import Profile
from m43.records.run_records import ClosingRecord, OpeningRecord

# Positive and small, so that shares, roots and logarithms of it exist.
_VALUE = 2.0


class NamedNumber(float):
    """A float that keeps its name through arithmetic, and is written in braces.

    It is a template's number: what is computed from it is written as the formula.

    Example:
        >>> f"{NamedNumber('train.duration_s') / 60:.1f} min"
        '{train.duration_s / 60} min'
    """

    name: str

    def __new__(cls, name: str, value: float = _VALUE) -> "NamedNumber":
        """Give a number its name; how large it is matters only for what depends on that."""
        number = super().__new__(cls, value)
        number.name = name
        return number

    def __format__(self, specification: str) -> str:
        return str(self)

    def __str__(self) -> str:
        return f"{{{self.name}}}"

    __repr__ = __str__

    def __index__(self) -> int:
        # Where a count is asked for: range(), a slice, a repetition.
        return int(float(self))

    def __round__(self, digits: int | None = None) -> "NamedNumber":  # type: ignore[override]
        return self

    def __add__(self, other: float) -> "NamedNumber":
        return _sum(self, other)

    def __radd__(self, other: float) -> "NamedNumber":
        return _sum(self, other)

    def __sub__(self, other: float) -> "NamedNumber":
        return _joined(self, "-", other, operator.sub)

    def __rsub__(self, other: float) -> "NamedNumber":
        return _joined(other, "-", self, operator.sub)

    def __mul__(self, other: float) -> "NamedNumber":
        return _joined(self, "*", other, operator.mul)

    def __rmul__(self, other: float) -> "NamedNumber":
        return _joined(other, "*", self, operator.mul)

    def __truediv__(self, other: float) -> "NamedNumber":
        return _joined(self, "/", other, operator.truediv)

    def __rtruediv__(self, other: float) -> "NamedNumber":
        return _joined(other, "/", self, operator.truediv)


def _sum(number: NamedNumber, other: float) -> NamedNumber:
    if other == 0:
        # What sum() begins with.
        return number
    return _joined(number, "+", other, operator.add)


def _joined(
    left: float, symbol: str, right: float, compute: Callable[[float, float], float]
) -> NamedNumber:
    name = f"{_name(left)} {symbol} {_name(right)}"
    return NamedNumber(name, compute(float(left), float(right)))


def _name(value: float) -> str:
    if not isinstance(value, NamedNumber):
        return f"{value:g}"
    return f"({value.name})" if " " in value.name else value.name


T = TypeVar("T")


def specimen(cls: type[T], called: str, /, **given: object) -> T:
    """Make a record from its type alone, so that no field can be forgotten.

    Args:
        cls: A dataclass.
        called: What its fields are named after, as in "train.optimizer_steps"; may be empty.
        given: Fields that are known already, or that must be of a certain form.
    """
    hints = get_type_hints(cls)
    prefix = f"{called}." if called else ""
    values = {
        field.name: given[field.name]
        if field.name in given
        else _value(hints[field.name], f"{prefix}{field.name}")
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
    }
    return cls(**values)


def _value(hint: Any, name: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _value(next(each for each in inner if each is not type(None)), name)
    if origin is tuple:
        return (_value(inner[0], f"{name}[]"),)
    if origin is Literal:
        return inner[0]
    if dataclasses.is_dataclass(hint):
        return specimen(hint, name)  # type: ignore[arg-type]
    return next(iter(hint)) if issubclass(hint, Enum) else _PLAIN[hint](name)


_PLAIN: dict[Any, Callable[[str], object]] = {
    bool: lambda name: True,
    int: NamedNumber,
    float: NamedNumber,
    str: lambda name: f"{{{name}}}",
    Path: lambda name: Path(f"{{{name}}}"),
}


_GROUPS = (
    "section: {section}",
    "difficulty: {difficulty}",
    "category: {category}",
    "text: in training",
    "text: new",
    "template: in training",
    "template: new",
)
_HEAD = (
    "<!-- A template: no run made it. It is written by the function that writes the real document; "
    "what stands in braces is filled in from the records of a run. A list has one element here. -->"
)


def summary_template(profile: Profile, contract: ContractText) -> str:
    """Write what the summary of an accepted run under this profile will look like."""
    results = _results()
    evaluation = specimen(EvaluationFacts, "eval", results=results, recomputed_results=results)
    dossier = specimen(
        Dossier,
        "",
        name=profile.run.name,
        entries=_entries(contract),
        contract=contract,
        opening=_opening(profile, contract),
        profile=profile,
        auth=_auth(),
        train=specimen(TrainFacts, "train", method=profile.training.method),
        closing=_closing(),
        metrics_cut=False,
        evaluation=evaluation,
        results=results,
        files=(EvidenceFile(name="{name of each file}", sha256="{sha256}"),),
        problems=(),
        vitals=None,
        recovery=None,
        noted=None,
    )
    facts = complete(dossier)
    assert facts is not None, "a specimen has every record"
    return f"{_HEAD}\n\n{render_summary(facts)}"


def _opening(profile: Profile, contract: ContractText) -> OpeningRecord:
    return specimen(
        OpeningRecord,
        "opening",
        run=profile.run.name,
        kind=profile.kind,
        promises=contract.names,
        profile_differences=(),
        left_out=(),
        unsearched=(),
    )


def _auth() -> AuthRecord:
    steps = ("whoami", "auth_check", "revision", "weights_head")
    responses = tuple(
        specimen(HubResponse, f"auth.responses[{step}]", step=step, error="") for step in steps
    )
    return specimen(AuthRecord, "auth", responses=responses, missing_files=())


def _closing() -> ClosingRecord:
    # An accepted run has changed nothing; the digests are those of before.
    return specimen(
        ClosingRecord,
        "closing",
        packages_sha256="{venv.packages_sha256}",
        tree_sha256="{opening.tree_sha256}",
        changed_paths=(),
        changed_packages=(),
        documents=("failure_analysis.md",),
    )


def _results() -> EvaluationResults:
    groups = tuple(specimen(Tally, f"results[{group}]", group=group) for group in _GROUPS)
    overall = specimen(Tally, "results.overall", group="overall")
    return specimen(EvaluationResults, "results", overall=overall, groups=groups)


def _entries(contract: ContractText) -> tuple[Entry, ...]:
    """Tell the one story that an accepted run has."""
    steps = [("opened", "", "")]
    for stage in STAGES:
        steps += [("gate_opened", stage, ""), ("gate_closed", stage, "")]
        steps += [
            ("promise_kept", stage, promise.name)
            for promise in contract.promises
            if promise.gate == stage
        ]
    steps.append(("sealed", "", ""))
    return tuple(
        specimen(Entry, "journal", event=event, gate=gate, name=name, failure_class="", detail="")
        for event, gate, name in steps
    )
