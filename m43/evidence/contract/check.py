"""A check: one comparison of a gate, explained to the person who has to act."""

from collections.abc import Sequence
from dataclasses import dataclass

from m43.errors import FailureClass


@dataclass(frozen=True, kw_only=True)
class Check:
    """One comparison of a gate, with what to do when it does not hold."""

    name: str
    found: str
    expected: str
    holds: bool
    action: str
    failure_class: FailureClass
    checked: bool = True  # False when something before it prevented the question


def failing(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Give the checks that do not hold; the first one's class is the gate's."""
    return tuple(check for check in checks if not check.holds)
