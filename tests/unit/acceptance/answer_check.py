"""The check of answers: every row solved again from its prompt, every disagreement reported."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tests.unit.acceptance.number_solvers import NUMBER_SOLVERS
from tests.unit.acceptance.word_solvers import WORD_SOLVERS

SOLVERS = (*WORD_SOLVERS, *NUMBER_SOLVERS)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a row claims to be the answer to its prompt, and the name of the row."""

    row: str
    prompt: str
    answer: str


def complaints(claims: Iterable[Claim], solutions: Mapping[str, Callable[[], str]]) -> list[str]:
    """List the claims that are wrong, and those that no solver or more than one can check.

    A row named in `solutions` is checked by that and must not have the form of a template.
    """
    return [
        f"{claim.row}: found {claim.answer!r}, expected {expected}: {claim.prompt!r}"
        for claim in claims
        if (expected := _answers(claim, solutions)) != [claim.answer]
    ]


def _answers(claim: Claim, solutions: Mapping[str, Callable[[], str]]) -> list[str]:
    answers = [answer for solver in SOLVERS if (answer := solver.solve(claim.prompt)) is not None]
    if claim.row in solutions:
        answers.append(solutions[claim.row]())
    return answers
