"""The report files: report.html and junit.xml, opened only once the run folder is there.

Both belong to other plugins, which open their files when pytest starts. A run folder exists only
after the call was found to be in order, so their writers are set up here, when it does. And both
write straight into their file; here neither is ever there by half.
"""

import html
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pytest_html.report_data import ReportData
from pytest_html.selfcontained_report import SelfContainedReport

from m43.evidence.contract import ContractText
from m43.evidence.documents import escaped, report_html
from m43.evidence.run import LoadedRun
from m43.harness.run import Attempt
from m43.records import RunDir, write_atomically

_LONGEST_LOG = 20_000
_UNWRITTEN = pytest.StashKey[set[Path]]()


class RunPage:
    """What pytest-html takes for its template.

    pytest-html's own page shows its rows with a script only, and has no room for a verdict.
    """

    def __init__(self, run: RunDir, contract: ContractText, read: Callable[[], LoadedRun]) -> None:
        self._run = run
        self._read = read
        self._gates = [promise.gate for promise in contract.promises]
        self._text = ""

    def render(self, **values: Any) -> str:
        """Write the page from what pytest-html knows; it asks again after each test."""
        tests = json.loads(values["test_data"])["tests"]
        finished = values["running_state"] == "finished"
        # Within a gate the promises follow each other in milliseconds; the page that is read
        # after a kill is the one from before the gate that was on then.
        if not self._text or finished or self._gate_ends(len(tests)):
            rows = outcomes_html(values["run_count"], values["table_head"], tests)
            # A run folder that is gone cannot be read; that it cannot be written either is told.
            with suppress(OSError):
                self._text = report_html(self._run, values["title"], rows, self._read())
        return self._text

    def _gate_ends(self, judged: int) -> bool:
        return self._gates[judged - 1 : judged] != self._gates[judged : judged + 1]


class PageWriter(SelfContainedReport):
    """pytest-html's writer, with another page and another way to write it."""

    def __init__(
        self,
        config: pytest.Config,
        attempt: Attempt,
        write: Callable[[str], None],
    ) -> None:
        page = RunPage(attempt.run, attempt.plan.contract, lambda: attempt.now)
        super().__init__(str(attempt.run.report), config, ReportData(config), page, "")
        self._write = write

    def _write_report(self, rendered_report: str) -> None:
        self._write(rendered_report)


def outcomes_html(count: str, head: Sequence[str], tests: dict[str, list[dict[str, Any]]]) -> str:
    """Write pytest-html's rows as a table that needs no script.

    Head and cells are HTML, made by the hooks. What a test printed was escaped by pytest-html, and
    is escaped once more here: what it must not contain is m43's own business.
    """
    rows = "".join(_row(row) for each in tests.values() for row in each)
    return (
        f"<p>{escaped(count)}</p><details><summary>Every test with its outcome and what it said"
        f"</summary><table><thead><tr>{''.join(head)}</tr></thead><tbody>{rows}</tbody></table>"
        "</details>"
    )


def _row(row: dict[str, Any]) -> str:
    log = html.unescape(str(row.get("log", ""))).strip()
    said = f'<pre class="block">{escaped(log[:_LONGEST_LOG])}</pre>' if log else ""
    return f"<tr>{''.join(row['resultsTableRow'])}<td>{said}</td></tr>"


# More than JUnit's record of a run takes.
_JUNIT_BYTES = 1 << 18


def open_reports(session: pytest.Session, attempt: Attempt) -> None:
    """Have pytest-html and pytest's JUnit writer report into the run folder."""
    config, run = session.config, attempt.run
    page = PageWriter(config, attempt, lambda text: _write_page(session, run, text))
    config.pluginmanager.register(page)
    _catch_up(page, session)
    config.option.xmlpath = str(run.junit)
    junit = _configured_again(config, "junitxml")
    _catch_up(junit, session)
    config.pluginmanager.register(_WholeJunit(session, junit, run), "m43-junit")


def _write_page(session: pytest.Session, run: RunDir, text: str) -> None:
    try:
        write_atomically(run.report, text.encode(errors="replace"))
    except OSError as error:
        _say_unwritten(session, run.report, error)


def _say_unwritten(session: pytest.Session, path: Path, error: OSError) -> None:
    """Tell of a report that the disk did not take; it ends no gate, and the run is not all well."""
    session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED
    told = session.config.stash.setdefault(_UNWRITTEN, set())
    if path in told:
        return
    told.add(path)
    terminal: Any = session.config.pluginmanager.getplugin("terminalreporter")
    terminal.write_line(f"m43 could not write {path}: {error}")


class _WholeJunit:
    """Has pytest's JUnit writer work under another name, and renames what is whole."""

    def __init__(self, session: pytest.Session, writer: Any, run: RunDir) -> None:
        self._session = session
        self._writer = writer
        self._run = run
        self._partial = run.path / f".{run.junit.name}.partial"
        writer.logfile = str(self._partial)

    # Innermost, so that the terminal already tells the file's own name.
    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Any:
        """Give the file its name once it is written."""
        try:
            # Looked at beforehand: the writer's own error would keep the session from its end.
            self._partial.write_bytes(bytes(_JUNIT_BYTES))
        except OSError as error:
            _say_unwritten(self._session, self._run.junit, error)
            with suppress(OSError):
                self._partial.unlink()
            self._writer.logfile = os.devnull
            return (yield)
        result = yield
        try:
            self._partial.replace(self._run.junit)
            self._writer.logfile = str(self._run.junit)
        except OSError as error:
            _say_unwritten(self._session, self._run.junit, error)
        return result


def _configured_again(config: pytest.Config, name: str) -> Any:
    manager = config.pluginmanager
    before = {id(plugin) for plugin in manager.get_plugins()}
    module: Any = manager.getplugin(name)
    module.pytest_configure(config)
    writers = [plugin for plugin in manager.get_plugins() if id(plugin) not in before]
    if len(writers) != 1:
        raise pytest.UsageError(f"found {len(writers)} writers of {name}, expected one")
    return writers[0]


def _catch_up(writer: Any, session: pytest.Session) -> None:
    """Tell a writer what it would have heard had it been there from the beginning."""
    if "session" in writer.pytest_sessionstart.__code__.co_varnames:
        writer.pytest_sessionstart(session=session)
    else:
        writer.pytest_sessionstart()
    if hasattr(writer, "pytest_collection_finish"):
        writer.pytest_collection_finish(session=session)
