"""The report files: report.html and junit.xml, opened only once the run folder is there.

Both belong to other plugins, which open their files when pytest starts. A run folder exists only
after the call was found to be in order, so these plugins are set up a second time, by their own
hook, when it does.
"""

from typing import Any

import pytest

from m43.run_dir import RunDir


def open_reports(config: pytest.Config, session: pytest.Session, run: RunDir) -> None:
    """Have pytest-html and pytest's JUnit writer report into the run folder."""
    config.option.htmlpath = str(run.report)
    config.option.self_contained_html = True
    config.option.xmlpath = str(run.junit)
    for name in ("html", "junitxml"):
        _configure_again(config, session, name)


def _configure_again(config: pytest.Config, session: pytest.Session, name: str) -> None:
    manager = config.pluginmanager
    before = {id(plugin) for plugin in manager.get_plugins()}
    module: Any = manager.getplugin(name)
    module.pytest_configure(config)
    writers = [plugin for plugin in manager.get_plugins() if id(plugin) not in before]
    if len(writers) != 1:
        raise pytest.UsageError(f"found {len(writers)} writers of {name}, expected one")
    _catch_up(writers[0], session)


def _catch_up(writer: Any, session: pytest.Session) -> None:
    """Tell a writer what it would have heard had it been there from the beginning."""
    if "session" in writer.pytest_sessionstart.__code__.co_varnames:
        writer.pytest_sessionstart(session=session)
    else:
        writer.pytest_sessionstart()
    if hasattr(writer, "pytest_collection_finish"):
        writer.pytest_collection_finish(session=session)
