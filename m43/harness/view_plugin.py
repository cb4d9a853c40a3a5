"""The view's plugin: hands what pytest reports to the view, and keeps pytest's own lines back."""

import os
from collections.abc import Callable, Generator
from typing import Any

import pytest

from m43.harness import not_run
from m43.harness.attempt import Attempt
from m43.harness.explanations import Explanations
from m43.harness.first_words import first_words
from m43.harness.last_words import last_words
from m43.harness.page_line import Line
from m43.harness.run_view import BROKEN, KEPT, NOT_RUN, RunView
from m43.harness.screen import Screen
from m43.harness.stages import VIEW


def open_view(config: pytest.Config, attempt: Attempt, trouble: Callable[[], str]) -> None:
    """Put the run's view where pytest would write a line for each test.

    Args:
        config: Pytest's.
        attempt: The run that has begun.
        trouble: Gives why it could not be closed; empty when it was.
    """
    words = Explanations(attempt.run, details=config.option.verbose > 0)
    view = RunView(Screen(config, os.environ), attempt.plan.contract, words)
    config.stash[VIEW] = view
    plugin = ViewPlugin(config, view, lambda: last_words(attempt, trouble()))
    config.pluginmanager.register(plugin, "m43-view")
    view.say(*first_words(attempt))


class ViewPlugin:
    """The pytest plugin beside the reporting; it changes nothing but what is shown.

    Args:
        config: Pytest's, whose terminal it takes over.
        view: What says it instead.
        last_words: Gives the lines that end everything.
    """

    def __init__(
        self, config: pytest.Config, view: RunView, last_words: Callable[[], tuple[Line, ...]]
    ) -> None:
        self._view = view
        self._last_words = last_words
        self._over = False
        terminal: Any = config.pluginmanager.getplugin("terminalreporter")
        if terminal is not None:
            # The line of dots, and that of a single test with -v: pytest reads both afresh.
            terminal.showfspath = False
        config.option.verbose = min(config.option.verbose, 0)
        if config.option.tbstyle == "auto":
            # Each broken promise says why where it is judged; not a second time at the end.
            config.option.tbstyle = "no"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Announce the gate that a promise opens."""
        self._view.promise_comes(_name(nodeid))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Say what became of a promise."""
        name = _name(report.nodeid)
        if not_run.is_not_run(report) and report.when == "setup":
            self._view.judged(name, NOT_RUN, not_run.reason(report))
        elif report.when == "call":
            kept = report.passed
            self._view.judged(name, KEPT if kept else BROKEN, "" if kept else report.longreprtext)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:
        """Have every test counted in its category, and none of them shown as it comes."""
        if self._over or not isinstance(report, pytest.TestReport):
            return None
        if not_run.is_not_run(report):
            return not_run.category(report), "", ""
        if report.when == "call" or report.failed:
            return report.outcome, "", ""
        return "", "", ""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None]:
        """Close the last gate; when pytest has said everything, say what it means."""
        self._view.end_gate()
        # Pytest's own summary follows, in its own words.
        self._over = True
        yield
        self._view.say(*self._last_words())


def _name(nodeid: str) -> str:
    return nodeid.rsplit("::", 1)[-1]
