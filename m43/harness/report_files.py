"""The report files: report.html and junit.xml, opened only once the run folder is there.

Both belong to other plugins, which open their files when pytest starts. A run folder exists only
after the call was found to be in order, so their writers are set up here, when it does. And both
write straight into their file; here neither is ever there by half.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from m43.evidence.promise import ContractText
from m43.harness.run_page import PageWriter
from m43.run_dir import RunDir, write_atomically

# More than JUnit's record of a run takes.
_JUNIT_BYTES = 1 << 18


def open_reports(session: pytest.Session, run: RunDir, contract: ContractText) -> None:
    """Have pytest-html and pytest's JUnit writer report into the run folder."""
    config = session.config
    page = PageWriter(config, run, contract, lambda text: _write_page(session, run, text))
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
            self._partial.unlink(missing_ok=True)
            self._writer.logfile = os.devnull
            return (yield)
        result = yield
        self._partial.replace(self._run.junit)
        self._writer.logfile = str(self._run.junit)
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
