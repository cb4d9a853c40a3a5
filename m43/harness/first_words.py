"""The first words of a run: which one it is, and what is promised."""

from collections.abc import Iterator

from m43.evidence import facts
from m43.evidence.other_contract import other_contract_words
from m43.harness.ascii_text import ascii_text
from m43.harness.attempt import Attempt
from m43.harness.opening import shown
from m43.harness.page_line import EMPTY, Line
from m43.records import GATES

_INDENT = 12


def first_words(attempt: Attempt) -> tuple[Line, ...]:
    """Write the lines before the first gate."""
    return tuple(_lines(attempt))


def _lines(attempt: Attempt) -> Iterator[Line]:
    plan = attempt.plan
    opening = facts.read_opening(attempt.run)
    yield EMPTY
    yield Line(tone="title", head=f"m43 {plan.profile.kind} {attempt.run.path.name}")
    if plan.profile.kind == "rehearsal":
        text = "the same contract and the same code on a small model; it can never be production"
        yield _line("rehearsal", text)
    count = len(plan.contract.promises)
    yield _line(
        "promises",
        f"{count}, in {len(GATES)} gates and a closing check; each needs the one before it",
    )
    yield _line("attempt", _attempts(len(opening.earlier_attempts)))
    profile = shown(plan.profile_path, plan.repository)
    changed = len(opening.profile_differences)
    text = f"{profile}, in {changed} values not the locked decisions" if changed else profile
    yield _line("profile", text)
    if other := other_contract_words(opening.profile_differences):
        yield _line("contract", other)
    yield _line("folder", shown(attempt.run.path, plan.repository))


def _attempts(earlier: int) -> str:
    before = f"; {earlier} earlier in the ledger" if earlier else ""
    return f"the only one under this name, nothing is retried or repaired{before}"


def _line(word: str, text: str) -> Line:
    head = f"  {word:<{_INDENT - 2}}"
    return Line(tone="quiet", head=head, rest=ascii_text(text), indent=_INDENT)
