"""The examples in the docstrings of the core are true."""

import doctest
import importlib
import pkgutil

import pytest

import m43.core

NAMES = [module.name for module in pkgutil.iter_modules(m43.core.__path__)]
WITH_EXAMPLES = {"attention", "linear", "numerics"}


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_true(name: str) -> None:
    """Every line after >>> prints what stands below it, and none of the known ones is gone."""
    found = doctest.testmod(importlib.import_module(f"m43.core.{name}"))
    assert found.failed == 0
    assert (found.attempted > 0) or name not in WITH_EXAMPLES
