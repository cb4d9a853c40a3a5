"""The explanations: what stands behind a promise or a gate, read back from the run folder."""

import re

from m43.evidence.dossier import Dossier, read_dossier
from m43.evidence.failure_analysis import gate_checks
from m43.evidence.measurement import measure
from m43.evidence.promise import Promise
from m43.harness.ascii_text import ascii_text
from m43.harness.checklist import item_of
from m43.harness.checklist_page import item_lines
from m43.harness.page_line import Line
from m43.run_dir import RunDir

_INDENT = 13
_LONGEST = 400
# As `Attempt.stop` writes them.
_PART = re.compile(r"\s+(found|expected|where|to do)\s+(.*)")


class Explanations:
    """Words for a person who asks why.

    Args:
        run: The run folder.
        details: Whether everything is shown (-v), or only what is needed to act.
    """

    def __init__(self, run: RunDir, *, details: bool) -> None:
        self._run = run
        self._details = details
        self._read: Dossier | None = None

    def of_promise(self, promise: Promise, broken: str) -> tuple[Line, ...]:
        """Show what a promise compared: always where it is broken, otherwise on demand.

        Args:
            promise: The promise.
            broken: What pytest says of it; empty when it was kept.
        """
        if not broken and not self._details:
            return ()
        judged = measure(promise, self._dossier().records)
        if judged.holds is None:
            # The gate stopped before it had measured anything; pytest was told why.
            return tuple(_told(text) for text in broken.splitlines())
        asked = [_line("asked", text) for text in judged.expected] if broken else []
        found = [
            _line("found", f"{side.expression} = {side.value} ({side.file})")
            for side in judged.measurements
        ]
        return (*asked, *found)

    def of_measured_gate(self, gate: str) -> tuple[Line, ...]:
        """List each check of a gate that has measured, on demand."""
        self._read = None
        if not self._details:
            return ()
        checks = gate_checks(self._dossier(), gate)
        return tuple(line for check in checks for line in item_lines(item_of(check)))

    def of_broken_gate(self, gate: str) -> tuple[Line, ...]:
        """List what a person can do about a gate; with details it was listed before."""
        if self._details:
            return ()
        checks = gate_checks(self._dossier(), gate)
        failing = [item_of(check) for check in checks if check.checked and not check.holds]
        if not failing:
            return ()
        head = Line(tone="quiet", head="  What has to be settled:")
        return (head, *(line for item in failing for line in item_lines(item)))

    def _dossier(self) -> Dossier:
        if self._read is None:
            self._read = read_dossier(self._run)
        return self._read


def _told(text: str) -> Line:
    """Write a line of a stopped gate's words: one of four parts with its name, or free text."""
    part = _PART.match(text)
    return _line(part[1], part[2]) if part else _line("why", text)


def _line(word: str, text: str) -> Line:
    head = f"{'':{_INDENT - 2}}{word:<10}"
    return Line(tone="quiet", head=head, rest=ascii_text(text)[:_LONGEST], indent=len(head))
