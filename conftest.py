"""Loads m43's plugin, which sleeps unless the contract is to be run."""

import sys

import pytest

if sys.version_info < (3, 11):  # noqa: UP036 (another pytest may be the first on the PATH)
    _found = ".".join(map(str, sys.version_info[:3]))
    raise pytest.UsageError(
        f"found Python {_found} ({sys.executable}), expected 3.11 to 3.14: "
        "call the pytest of m43's environment, .venv/bin/python -m pytest"
    )

pytest_plugins = ["m43.harness.plugin.plugin"]
