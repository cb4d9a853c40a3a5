"""The command line: pytest's options as m43 reads them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from m43.harness.selection import REQUIRED_PLUGINS, Asked

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
)


def read(config: pytest.Config) -> Asked:
    """Read what was asked; nothing is decided here."""
    return Asked(
        marker=str(config.getoption("markexpr", "") or "").strip(),
        arguments=tuple(config.args),
        switches=tuple(_given(config)),
        missing_plugins=tuple(
            name for name in REQUIRED_PLUGINS if not config.pluginmanager.hasplugin(name)
        ),
        passive=any(config.getoption(name, False) for name in _PASSIVE),
        optimized=sys.flags.optimize > 0,
        rewritten=config.getoption("assertmode", "rewrite") == "rewrite",
        inifile=config.inipath,
        folder=Path(config.invocation_params.dir),
    )


def _given(config: pytest.Config) -> Iterator[str]:
    for name, default, words in _SWITCHES:
        value = config.getoption(name, default)
        # An empty list or text, and a zero for "no limit", are the same as nothing.
        if value and value != default:
            yield words
