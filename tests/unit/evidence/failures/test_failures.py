"""The catalogue explains every failure class, and no two alike."""

import string

import pytest

from m43.errors import FailureClass as F
from m43.evidence.contract.contract import read_contract
from m43.evidence.contract.hub_failure import CLASS_OF_CAUSE
from m43.evidence.failures import FAILURES, Failure
from m43.evidence.failures.at_the_hub import AT_THE_HUB
from m43.evidence.failures.on_the_card import ON_THE_CARD
from m43.evidence.failures.on_the_machine import ON_THE_MACHINE
from tests.unit.evidence.good_records import CONTRACT

NO_HINT = Failure(sentence="", actions=()).hint


def test_every_class_has_one_entry() -> None:
    """A class added later must be explained before it can be used, in one place."""
    assert set(FAILURES) == set(F)
    assert len(AT_THE_HUB) + len(ON_THE_MACHINE) + len(ON_THE_CARD) == len(F)


@pytest.mark.parametrize("failure_class", F)
def test_an_entry_says_what_it_means_and_what_to_do(failure_class: F) -> None:
    """How well a cause stands is said where there is a cause."""
    failure = FAILURES[failure_class]

    assert failure.sentence.endswith(".")
    assert failure.actions
    assert failure.cause or failure.confidence == "unknown"
    assert failure.cause or not failure.others


def test_no_two_classes_share_a_sentence() -> None:
    """Who reads the first line knows the class."""
    assert len({failure.sentence for failure in FAILURES.values()}) == len(F)


@pytest.mark.parametrize("failure_class", sorted(set(CLASS_OF_CAUSE.values())))
def test_every_answer_of_the_hub_has_a_hint_of_its_own(failure_class: F) -> None:
    """The checklist and a gate's checks name the repository and nothing else."""
    hint = FAILURES[failure_class].hint

    assert hint != NO_HINT
    assert {name for _, name, _, _ in string.Formatter().parse(hint) if name} <= {"repo"}


def test_a_promise_stands_for_one_class_and_is_the_contract_s() -> None:
    """A promise that is renamed must be renamed here as well."""
    named = [promise for failure in FAILURES.values() for promise in failure.promises]

    assert len(named) == len(set(named))
    assert set(named) <= set(read_contract(CONTRACT).names)
