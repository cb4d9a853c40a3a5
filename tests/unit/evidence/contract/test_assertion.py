"""What a promise compares can be evaluated from text alone, and nothing else can."""

import ast
from dataclasses import dataclass

import pytest

from m43.evidence.contract.contract import read_contract
from m43.evidence.contract.expression import AssertedExpression, unreadable
from tests.unit.evidence.good_records import CONTRACT


@dataclass(frozen=True, kw_only=True)
class Record:
    """A record to compare."""

    steps: int = 300
    losses: tuple[float, ...] = (3.0, 2.0, 1.0)
    name: str = "cpu"


RECORDS = {"train": Record(), "venv": Record(steps=2)}


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("train.steps == 300", True),
        ("200 <= train.steps <= 250", False),
        ("0 < train.steps <= 500", True),
        ("len(set(train.losses)) == 3", True),
        ("min(train.losses) > 0", True),
        ("train.steps <= 60 * venv.steps", False),
        ("train.name == f'{venv.name}'", True),
        ("train.name == f'{venv.name}:{venv.name}'", False),
        ("'cpu' not in train.name", False),
        ("train.losses != ()", True),
        ("train.losses == ()", False),
    ],
)
def test_an_expression_is_evaluated_as_python_would(source: str, holds: bool) -> None:
    """The value is that of the same expression in Python."""
    assert unreadable(ast.parse(source, mode="eval").body) == ()
    assert AssertedExpression(source=source).holds(RECORDS) is holds
    assert eval(source, {}, RECORDS) is holds


def test_the_measured_sides_are_those_with_records() -> None:
    """Constants are limits, not measurements."""
    measured = AssertedExpression(source="200 <= train.steps <= 500").measured(RECORDS)

    assert [(item.expression, item.value) for item in measured] == [("train.steps", 300)]


@pytest.mark.parametrize(
    "source",
    ["train.__class__", "open(train.name)", "train.losses[0]", "(lambda: train)()", "not train"],
)
def test_what_is_not_a_measurement_is_not_read(source: str) -> None:
    """A run folder's text cannot make this reader do anything but compare."""
    assert unreadable(ast.parse(source, mode="eval").body) != ()


def test_every_assert_of_the_contract_can_be_shown() -> None:
    """The bundled contract uses readable forms only."""
    promises = read_contract(CONTRACT).promises

    assert all(promise.asserts for promise in promises)
    assert not [
        text for item in promises for each in item.asserts for text in unreadable(each.tree)
    ]
