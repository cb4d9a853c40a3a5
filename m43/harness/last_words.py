"""The last words of a run: the verdict, why, what to do, what to read and how to check it."""

import re
from collections.abc import Iterator

from m43.evidence.diagnosis import diagnose_dossier
from m43.evidence.dossier import Dossier, read_dossier
from m43.evidence.next_actions import next_actions
from m43.evidence.stop import find_stop
from m43.harness.ascii_text import ascii_text
from m43.harness.attempt import Attempt
from m43.harness.next_command import verify_command
from m43.harness.opening import shown
from m43.harness.page_line import EMPTY, Line
from m43.harness.recovery import Recovered

_INDENT = 12


def last_words(attempt: Attempt, trouble: str) -> tuple[Line, ...]:
    """Write the lines that a person reads when everything is over.

    Args:
        attempt: The run, closed as far as it could be.
        trouble: Why it could not be closed; empty when it was.
    """
    return tuple(_lines(attempt, trouble))


def _lines(attempt: Attempt, trouble: str) -> Iterator[Line]:
    run, verdict, plan = attempt.run, attempt.verdict, attempt.plan
    accepted = verdict is not None and verdict.accepted
    kind = plan.profile.kind
    dossier = read_dossier(run)
    yield EMPTY
    for text in _of_others(attempt.recovered):
        yield Line(tone="quiet", head=ascii_text(text))
    head = f"m43 {kind} {run.path.name}: {dossier.verdict_words(accepted)}"
    yield Line(tone="ok" if accepted else "bad", head=head)
    if dossier.other_contract:
        yield _line("contract", dossier.other_contract)
    yield from _why(dossier, accepted)
    if trouble:
        yield _line("trouble", f"the run could not be closed: {trouble}")
    if dossier.opening and (changed := dossier.opening.profile_differences):
        yield _line(
            "profile",
            f"differs from the locked decisions in {len(changed)} values, listed in the documents",
        )
    if dossier.noted:
        count = len(dossier.noted.warnings) + len(dossier.noted.stderr) + dossier.noted.left_out
        what = f"{count} warnings" if count > 1 else "1 warning"
        yield _line("noted", f"{what}, judged by nobody, listed in the documents")
    document = run.summary if run.summary.exists() else run.failure_analysis
    yield _line("read", shown(document, plan.repository), whole=True)
    yield _line("report", shown(run.report, plan.repository), whole=True)
    yield _line("check", verify_command(run.path, plan.repository), whole=True)


def _why(dossier: Dossier, accepted: bool) -> Iterator[Line]:
    if accepted:
        promises = len(dossier.contract.promises) if dossier.contract else 0
        yield _line("why", f"every promise of the contract was kept, {promises} of {promises}")
        return
    found = diagnose_dossier(dossier)
    yield _line("why", f"{found.place}: {found.failure_class}. {found.sentence}")
    actions = next_actions(dossier, find_stop(dossier.entries), found.failure_class)
    # Some speak of what stands above or below them in the document, which is named next.
    here = [text for text in actions if not {"above", "below"} & set(re.findall(r"\w+", text))]
    for number, action in enumerate(here):
        yield _line("" if number else "to do", action)


def _of_others(recovered: Recovered) -> list[str]:
    lines = [
        f"m43 closed the earlier run {name}, which had been cut off" for name in recovered.closed
    ]
    lines += [
        f"m43 could not close the earlier run {name}: its journal was changed"
        for name in recovered.unclosable
    ]
    return lines


def _line(word: str, text: str, *, whole: bool = False) -> Line:
    head = f"  {word:<{_INDENT - 2}}"
    return Line(tone="quiet", head=head, rest=ascii_text(text), indent=_INDENT, whole=whole)
