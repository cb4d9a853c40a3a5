"""The notes: warnings and lines on standard error that come up during a run and end nothing.

A dependency that warns has broken no promise. Whatever the engineer's shell says of warnings
(PYTHONWARNINGS, -W in PYTEST_ADDOPTS), none becomes an error in a gate.
"""

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from m43.evidence.journal import redact
from m43.harness.run import shell_secrets
from m43.records import NotedRecord, RunDir, write_record
from m43.text import visible, without_escapes

_MOST, _LONGEST = 40, 400
_PARTS_OF_PATH = 2


class Noted:
    """The pytest plugin that writes down what came up; it judges nothing.

    Until a run has begun the notes wait: what is refused before leaves no trace.
    """

    def __init__(self) -> None:
        self._run: RunDir | None = None
        self._shell = shell_secrets(os.environ).secrets
        self._secrets: Callable[[], tuple[str, ...]] = tuple
        self._warnings: dict[str, None] = {}
        self._stderr: dict[str, None] = {}
        self._left_out = 0

    def let_warnings_pass(self, config: pytest.Config) -> None:
        """Have no warning become an error until pytest ends, whoever asked for that."""
        before = warnings.catch_warnings()
        before.__enter__()
        config.add_cleanup(lambda: before.__exit__(None, None, None))
        warnings.simplefilter("always")
        # Between two tests nobody else listens, and Python would write them out as they are.
        warnings.showwarning = self._show
        # What pytest sets for each test anew: the filters of its command line come last, and win.
        given = config.known_args_namespace.pythonwarnings or []
        config.known_args_namespace.pythonwarnings = [*given, "always"]
        # pytest's own list at the end shows them as they are, secrets included.
        config.option.disable_warnings = True

    def begin(self, run: RunDir, secrets: Callable[[], tuple[str, ...]]) -> None:
        """Write what came up until now, and what comes from now on.

        Args:
            run: The folder of the run that has begun.
            secrets: Gives what may appear in nothing that is written, as far as it is known by now.
        """
        self._run, self._secrets = run, secrets
        self._write()

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Note a warning that pytest caught, of a gate or of a thread."""
        told = warning_message
        self._show(told.message, told.category, told.filename, told.lineno)

    def _show(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        *_: object,
        **__: object,
    ) -> None:
        place = "/".join(Path(filename).parts[-_PARTS_OF_PATH:])
        self._add(self._warnings, f"{category.__name__}: {message} ({place}:{lineno})")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> Any:
        """Note the lines that were written to standard error during a test."""
        report: pytest.TestReport = yield
        for name, text in report.sections:
            if name == f"Captured stderr {call.when}":
                for line in without_escapes(text).splitlines():
                    self._add(self._stderr, line)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Write nothing more: the run is sealed now."""
        self._run = None

    def _add(self, notes: dict[str, None], text: str) -> None:
        line = visible(" ".join(redact(text, self._every_secret()).split()))[:_LONGEST]
        if not line or line in notes:
            return
        if len(notes) < _MOST:
            notes[line] = None
        else:
            self._left_out += 1
        self._write()

    def _write(self) -> None:
        if self._run is None or not (self._warnings or self._stderr):
            return
        record = NotedRecord(
            warnings=tuple(self._warnings), stderr=tuple(self._stderr), left_out=self._left_out
        )
        # A disk that takes nothing more ends the run by itself, at what the run cannot do without.
        with suppress(OSError):
            write_record(self._run.noted, record)

    def _every_secret(self) -> tuple[str, ...]:
        # Before the run has begun, those of the shell; then its own, which grow with its world.
        return (*self._shell, *self._secrets())
