"""The command line: pytest's options as m43 reads them."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import _pytest
import pytest

from m43.harness import loaded_plugins
from m43.harness.loaded_plugins import LoadedPlugin
from m43.harness.selection import OWN_PLUGINS, REQUIRED_PLUGINS, Asked, inside

# Options that only look, by the names under which pytest keeps them.
_PASSIVE = (
    "collectonly", "showfixtures", "show_fixtures_per_test", "markers", "help", "version",
    "setupplan", "cacheshow",
)  # fmt: skip

# Option, the value that means "not given", and how a person types it. An option of a plugin that
# is not installed is simply not there.
_SWITCHES: tuple[tuple[str, object, str], ...] = (
    ("keyword", "", "-k"),
    ("deselect", None, "--deselect"),
    ("ignore", None, "--ignore"),
    ("ignore_glob", None, "--ignore-glob"),
    ("lf", False, "--lf"),
    ("failedfirst", False, "--ff"),
    ("newfirst", False, "--nf"),
    ("stepwise", False, "--sw"),
    ("stepwise_skip", False, "--sw-skip"),
    ("maxfail", 0, "-x or --maxfail (m43 stops at the first gate that fails by itself)"),
    ("setuponly", False, "--setup-only"),
    ("usepdb", False, "--pdb"),
    ("trace", False, "--trace"),
    ("keepduplicates", False, "--keep-duplicates"),
    ("runxfail", False, "--runxfail"),
    ("doctestmodules", False, "--doctest-modules"),
    ("numprocesses", None, "-n (xdist)"),
    ("dist", "no", "--dist (xdist)"),
    ("tx", None, "--tx (xdist)"),
    ("reruns", None, "--reruns"),
    ("force_flaky", False, "--force-flaky"),
    ("count", 1, "--count (repeat)"),
    ("random_order_bucket", None, "--random-order"),
    ("session_timeout", None, "--session-timeout"),
    ("suppress_tests_failed_exit_code", False, "--suppress-tests-failed-exit-code"),
    # pytest keeps the two --strict options of pytest.ini as if they had been given with -o.
    ("override_ini", ["strict_markers=true", "strict_config=true"], "-o"),
    ("noconftest", False, "--noconftest"),
    ("continue_on_collection_errors", False, "--continue-on-collection-errors"),
    ("pastebin", None, "--pastebin"),
)


def read(config: pytest.Config, repository: Path) -> Asked:
    """Read what was asked; nothing is decided here."""
    manager = config.pluginmanager
    return Asked(
        marker=str(config.getoption("markexpr", "") or "").strip(),
        arguments=tuple(config.args),
        named=config.args_source is pytest.Config.ArgsSource.ARGS,
        switches=(*_given(config), *_pages(config, repository)),
        blocked_plugins=tuple(
            name for name in (*REQUIRED_PLUGINS, *OWN_PLUGINS) if manager.is_blocked(name)
        ),
        missing_plugins=tuple(
            name
            for name in REQUIRED_PLUGINS
            if not manager.hasplugin(name) and not manager.is_blocked(name)
        ),
        autoload=not os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"),
        strange_plugins=strange_plugins(config, repository),
        passive=any(config.getoption(name, False) for name in _PASSIVE),
        optimized=sys.flags.optimize > 0,
        rewritten=config.getoption("assertmode", "rewrite") == "rewrite",
        inifile=inside(config.inipath, repository) if config.inipath else None,
        rootdir=inside(config.rootpath, repository),
        folder=Path(config.invocation_params.dir),
    )


def plugins(config: pytest.Config) -> tuple[LoadedPlugin, ...]:
    """Describe the plugins that are loaded now, conftest files included."""
    return loaded_plugins.read(config.pluginmanager.list_name_plugin())


def strange_plugins(config: pytest.Config, repository: Path) -> tuple[str, ...]:
    """Name the loaded plugins that have no place in a run."""
    installed = Path(_pytest.__file__).resolve().parents[1]
    return tuple(map(str, loaded_plugins.strangers(plugins(config), repository, installed)))


def _given(config: pytest.Config) -> Iterator[str]:
    for name, default, words in _SWITCHES:
        value = config.getoption(name, default)
        # An empty list or text, and a zero for "no limit", are the same as nothing.
        if value and value != default:
            yield words


def _pages(config: pytest.Config, repository: Path) -> Iterator[str]:
    """Find a page that pytest-html would write anew after each promise, amid what is watched."""
    page = config.getoption("htmlpath", None)
    folder = Path(config.invocation_params.dir)
    if page and (folder / page).resolve().is_relative_to(repository):
        yield "--html into the checkout (a run writes its own report.html)"
