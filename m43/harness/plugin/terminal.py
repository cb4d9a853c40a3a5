"""The terminal plugin: hands what pytest reports to the view, and keeps pytest's own lines back."""

import os
from collections.abc import Callable, Generator
from typing import Any

import pytest

from m43.harness.plugin.fixtures import VIEW
from m43.harness.run import Attempt
from m43.harness.terminal import (
    BROKEN,
    KEPT,
    NOT_RUN,
    Explanations,
    Line,
    RunView,
    Screen,
    run_header,
    run_summary,
)

WORDS = "NOT RUN"
_MARK = "m43_not_run"


def report_not_run(item: pytest.Item, reason: str) -> None:
    """Report an item in every place where results are shown, without running it."""
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    why = _why(item, reason)
    for when, outcome, longrepr in (("setup", "skipped", why), ("teardown", "passed", None)):
        report = pytest.TestReport(
            nodeid=item.nodeid,
            location=item.location,
            keywords={},
            outcome=outcome,  # type: ignore[arg-type]  # pairs of literals
            longrepr=longrepr,
            when=when,  # type: ignore[arg-type]
        )
        setattr(report, _MARK, True)
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)


def make_not_run(report: pytest.TestReport, item: pytest.Item, reason: str) -> None:
    """Have the report of a promise that was not judged, or in vain, say so."""
    report.outcome = "skipped"
    report.longrepr = _why(item, reason)
    setattr(report, _MARK, True)


def _why(item: pytest.Item, reason: str) -> tuple[str, int, str]:
    path, line, _ = item.location
    return path, (line or 0) + 1, f"{WORDS}: {reason}"


def is_not_run(report: object) -> bool:
    """Tell whether a report is of this kind."""
    return bool(getattr(report, _MARK, False))


def reason(report: pytest.TestReport) -> str:
    """Give why the promise was not judged."""
    *_, words = report.longrepr if isinstance(report.longrepr, tuple) else ("",)
    return str(words).removeprefix(f"{WORDS}: ")


def category(report: pytest.TestReport) -> str:
    """Give what pytest counts it as, once: under neither passed, failed nor skipped."""
    return "" if report.when == "teardown" else "not run"


def open_view(config: pytest.Config, attempt: Attempt, trouble: Callable[[], str]) -> None:
    """Put the run's view where pytest would write a line for each test.

    Args:
        config: Pytest's.
        attempt: The run that has begun.
        trouble: Gives why it could not be closed; empty when it was.
    """
    words = Explanations(attempt.run, details=config.option.verbose > 0, read=lambda _: attempt.now)
    view = RunView(Screen(config, os.environ), attempt.plan.contract, words)
    config.stash[VIEW] = view
    plugin = ViewPlugin(config, view, lambda: run_summary(attempt, trouble()))
    config.pluginmanager.register(plugin, "m43-view")
    view.say(*run_header(attempt))


class ViewPlugin:
    """The pytest plugin beside the reporting; it changes nothing but what is shown.

    Args:
        config: Pytest's, whose terminal it takes over.
        view: What says it instead.
        run_summary: Returns the lines that end everything.
    """

    def __init__(
        self, config: pytest.Config, view: RunView, run_summary: Callable[[], tuple[Line, ...]]
    ) -> None:
        self._view = view
        self._run_summary = run_summary
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
        if is_not_run(report):
            if report.when != "teardown":
                self._view.judged(name, NOT_RUN, reason(report))
        elif report.when == "call":
            kept = report.passed
            self._view.judged(name, KEPT if kept else BROKEN, "" if kept else report.longreprtext)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:
        """Have every test counted in its category, and none of them shown as it comes."""
        if self._over or not isinstance(report, pytest.TestReport):
            return None
        if is_not_run(report):
            return category(report), "", ""
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
        self._view.say(*self._run_summary())


def _name(nodeid: str) -> str:
    return nodeid.rsplit("::", 1)[-1]
