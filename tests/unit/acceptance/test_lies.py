"""Judge the judge: every assert of the contract has a lie that it alone catches."""

import ast
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache

import pytest

from m43.evidence.contract.contract import read_contract
from m43.evidence.verify.judged import hold, load_promises
from tests.unit.acceptance.lies import LIES, Lie, truth
from tests.unit.evidence.good_records import CONTRACT


@cache
def promises() -> Mapping[str, Callable[..., None]]:
    """Load the contract's test functions."""
    return load_promises(CONTRACT)


def broken(records: Mapping[str, object]) -> set[str]:
    """Name the promises that the records do not keep."""
    return {name for name, promise in promises().items() if hold(promise, records)}


def asserts() -> set[tuple[str, int]]:
    """Find every assert of the contract in its text, by promise and number from 1."""
    functions = [
        node for node in ast.parse(CONTRACT.read_bytes()).body if isinstance(node, ast.FunctionDef)
    ]
    return {
        (function.name, number)
        for function in functions
        for number in range(1, sum(isinstance(node, ast.Assert) for node in ast.walk(function)) + 1)
    }


def test_the_truth_keeps_every_promise() -> None:
    """Otherwise a lie would be caught for nothing."""
    assert broken(truth().records) == set()


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.words)
def test_a_lie_breaks_its_promise_and_no_other(lie: Lie) -> None:
    """Exactly one promise is broken, and within it exactly the assert that the lie is about."""
    records = lie.tell(truth()).records

    assert broken(records) == {lie.promise}
    contract = read_contract(CONTRACT)
    (promise,) = (each for each in contract.promises if each.name == lie.promise)
    held = [asserted.holds(records) for asserted in promise.asserts]
    assert [number for number, holds in enumerate(held, start=1) if not holds] == [lie.number]


def test_every_assert_has_its_lie() -> None:
    """A promise, or half of one, that no lie of the table breaks might be one that never fails."""
    assert {(lie.promise, lie.number) for lie in LIES} == asserts()


def test_no_lie_stands_in_the_table_twice() -> None:
    """The words are the names under which the tests report."""
    assert [words for words, count in Counter(lie.words for lie in LIES).items() if count > 1] == []
