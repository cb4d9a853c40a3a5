"""The NOT RUN row: a promise that was not judged is reported as that, never left out."""

import pytest

WORDS = "NOT RUN"
_MARK = "m43_not_run"


def report_not_run(item: pytest.Item, reason: str) -> None:
    """Report an item in every place where results are shown, without running it."""
    path, line, _ = item.location
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    why = (path, (line or 0) + 1, f"{WORDS}: {reason}")
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


def is_not_run(report: object) -> bool:
    """Tell whether a report is of this kind."""
    return bool(getattr(report, _MARK, False))


def reason(report: pytest.TestReport) -> str:
    """Give why the promise was not judged."""
    *_, words = report.longrepr if isinstance(report.longrepr, tuple) else ("",)
    return str(words).removeprefix(f"{WORDS}: ")


def category(report: pytest.TestReport) -> str:
    """Give what pytest counts it as, once: under neither passed, failed nor skipped."""
    return "not run" if report.when == "setup" else ""
