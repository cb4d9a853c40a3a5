"""What a run says on the terminal: its header, what stands behind a promise, its summary."""

import re
from collections.abc import Callable, Iterator

from m43.errors import FailureClass
from m43.evidence.contract import Promise, measure
from m43.evidence.diagnosis import diagnose_loaded, next_actions
from m43.evidence.documents import gate_checks
from m43.evidence.run import LoadedRun, find_stop, load_run
from m43.harness.run import Attempt, Recovered, gone, item_of, shown, verify_command
from m43.harness.terminal.checklist_page import item_lines
from m43.harness.terminal.line import EMPTY, Line, labelled
from m43.records import GATES, RunDir, VenvRecord
from m43.text import ascii_text, counted


def run_header(attempt: Attempt) -> tuple[Line, ...]:
    """Write the lines before the first gate."""
    return tuple(_header_lines(attempt))


def _header_lines(attempt: Attempt) -> Iterator[Line]:
    plan = attempt.plan
    opening = attempt.loaded.require("opening")
    yield EMPTY
    yield Line(tone="title", head=f"m43 {plan.profile.kind} {attempt.run.path.name}")
    if plan.profile.kind == "rehearsal":
        what = "" if attempt.loaded.contract_differences else "the same contract and "
        text = f"{what}the same code on a small model; it can never be production"
        yield labelled("rehearsal", text)
    count = len(plan.contract.promises)
    yield labelled(
        "promises",
        f"{count}, in {len(GATES)} gates and a closing check; each needs the one before it",
    )
    yield labelled("attempt", _attempts(len(opening.earlier_attempts)))
    profile = shown(plan.profile_path, plan.repository)
    if changed := opening.profile_differences:
        profile += f", in {counted(len(changed), 'value')} not the locked decisions"
    yield labelled("profile", profile)
    yield from _other_contract(attempt.loaded)
    yield labelled("folder", shown(attempt.run.path, plan.repository))


def _other_contract(loaded_run: LoadedRun) -> Iterator[Line]:
    """List in what the contract of a run is not the M43 contract."""
    if lines := loaded_run.contract_differences:
        yield labelled("contract", f"another one: {loaded_run.other_contract}")
        yield from (labelled("", ascii_text(line)) for line in lines)


def _attempts(earlier: int) -> str:
    before = f"; {earlier} earlier in the ledger" if earlier else ""
    return f"the only one under this name, nothing is retried or repaired{before}"


_EXPLAINED_INDENT = 11
_LONGEST = 400
# As `Attempt.stop` writes them.
_PART = re.compile(r"\s+(found|expected|where|to do)\s+(.*)")


class Explanations:
    """Words for a person who asks why.

    Args:
        run: The run folder.
        details: Whether everything is shown (-v), or only what is needed to act.
        read: Gives the folder as it is now; a run that is on has read it already.
    """

    def __init__(
        self, run: RunDir, *, details: bool, read: Callable[[RunDir], LoadedRun] = load_run
    ) -> None:
        self._run = run
        self._details = details
        self._read = read

    def of_promise(self, promise: Promise, broken: str) -> tuple[Line, ...]:
        """Show what a promise compared: always where it is broken, otherwise on demand.

        Args:
            promise: The promise.
            broken: What pytest says of it; empty when it was kept.
        """
        if not broken and not self._details:
            return ()
        judged = measure(promise, self._loaded_run().records)
        if judged.holds is None:
            return self.of_stop(broken)
        asked = [_explained_line("asked", text) for text in judged.expected] if broken else []
        found = [
            _explained_line("found", f"{side.expression} = {side.value} ({side.file})")
            for side in judged.measurements
        ]
        return (*asked, *found)

    def of_stop(self, text: str) -> tuple[Line, ...]:
        """Show why a gate stopped before its promises could be judged."""
        return tuple(_told(line) for line in text.splitlines())

    def of_measured_gate(self, gate: str) -> tuple[Line, ...]:
        """List each check of a gate that has measured, on demand; always what is not tested."""
        if not self._details:
            venv = self._loaded_run().venv if gate == "venv" else None
            return _newer(venv) if venv is not None and venv.newer else ()
        checks = gate_checks(self._loaded_run(), gate)
        return tuple(line for check in checks for line in item_lines(item_of(check)))

    def of_broken_gate(self, gate: str) -> tuple[Line, ...]:
        """List what a person can do about a gate; with details it was listed before."""
        if self._details:
            return ()
        checks = gate_checks(self._loaded_run(), gate)
        failing = [item_of(check) for check in checks if check.checked and not check.holds]
        if not failing:
            return ()
        head = Line(tone="quiet", head="  What has to be settled:")
        return (head, *(line for item in failing for line in item_lines(item)))

    def _loaded_run(self) -> LoadedRun:
        return self._read(self._run)


def _newer(venv: VenvRecord) -> tuple[Line, ...]:
    head = "  newer than what m43 was tested with: "
    return (Line(tone="open", head=head, rest=ascii_text(", ".join(venv.newer)), indent=4),)


def _told(text: str) -> Line:
    """Write a line of a stopped gate's words: one of four parts with its name, or free text."""
    part = _PART.match(text)
    return _explained_line(part[1], part[2]) if part else _explained_line("why", text)


def _explained_line(word: str, text: str) -> Line:
    return labelled(word, ascii_text(text)[:_LONGEST], indent=_EXPLAINED_INDENT)


def run_summary(attempt: Attempt, trouble: str) -> tuple[Line, ...]:
    """Write the lines that a person reads when everything is over.

    Args:
        attempt: The run, closed as far as it could be.
        trouble: Why it could not be closed; empty when it was.
    """
    return tuple(_summary_lines(attempt, trouble))


def _summary_lines(attempt: Attempt, trouble: str) -> Iterator[Line]:
    run, verdict, plan = attempt.run, attempt.verdict, attempt.plan
    accepted = verdict is not None and verdict.accepted
    kind = plan.profile.kind
    loaded_run = attempt.now
    yield EMPTY
    for text in _of_others(attempt.recovered):
        yield Line(tone="quiet", head=ascii_text(text))
    head = f"m43 {kind} {run.path.name}: {loaded_run.verdict_words(accepted)}"
    yield Line(tone="ok" if accepted else "bad", head=head)
    if missing := gone(run):
        yield labelled("why", f"{FailureClass.NOT_WRITABLE}: {missing.found} ({missing.where})")
        yield labelled("to do", missing.action)
        return
    yield from _other_contract(loaded_run)
    yield from _why(loaded_run, accepted)
    if trouble:
        yield labelled("trouble", f"the run could not be closed: {trouble}")
    if loaded_run.opening and (changed := loaded_run.opening.profile_differences):
        yield labelled(
            "profile",
            f"differs from the locked decisions in {counted(len(changed), 'value')}, listed in the "
            "documents",
        )
    if loaded_run.noted:
        count = (
            len(loaded_run.noted.warnings)
            + len(loaded_run.noted.stderr)
            + loaded_run.noted.left_out
        )
        what = counted(count, "warning")
        yield labelled("noted", f"{what}, judged by nobody, listed in the documents")
    document = run.summary if run.summary.exists() else run.failure_analysis
    yield labelled("read", shown(document, plan.repository), whole=True)
    yield labelled("report", shown(run.report, plan.repository), whole=True)
    yield labelled("check", verify_command(run.path, plan.repository), whole=True)


def _why(loaded_run: LoadedRun, accepted: bool) -> Iterator[Line]:
    if accepted:
        promises = len(loaded_run.contract.promises) if loaded_run.contract else 0
        yield labelled("why", f"every promise of the contract was kept, {promises} of {promises}")
        return
    found = diagnose_loaded(loaded_run)
    yield labelled("why", f"{found.place}: {found.failure_class}. {found.sentence}")
    actions = next_actions(loaded_run, find_stop(loaded_run.entries), found.failure_class)
    # Some speak of what stands above or below them in the document, which is named next.
    here = [text for text in actions if not {"above", "below"} & set(re.findall(r"\w+", text))]
    for number, action in enumerate(here):
        yield labelled("" if number else "to do", action)


def _of_others(recovered: Recovered) -> list[str]:
    lines = [
        f"m43 closed the earlier run {name}, which had been cut off" for name in recovered.closed
    ]
    lines += [
        f"m43 could not close the earlier run {name}: its journal was changed"
        for name in recovered.unclosable
    ]
    return lines
