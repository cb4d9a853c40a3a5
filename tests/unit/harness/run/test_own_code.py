"""What is loaded is held against what is written, function by function."""

import functools
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import m43
from m43.harness.run.code_integrity import foreign_code

TEXT = """
import functools
from dataclasses import dataclass
from m43.errors import Problem

LIMIT = 3
seen = 0


def judge(value):
    return value == LIMIT and (lambda: True)()


@functools.cache
def cached(value):
    return value


@dataclass(frozen=True)
class Record:
    value: int

    @property
    def good(self):
        return self.value == 1

    @functools.cached_property
    def doubled(self):
        return self.value * 2

    @classmethod
    def make(cls):
        return cls(1)

    @staticmethod
    def plain():
        return 1
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load a small module of m43 from a file."""
    path = tmp_path / "m43" / "small.py"
    path.parent.mkdir()
    path.write_text(TEXT)
    loaded = types.ModuleType("m43.small")
    loaded.__file__ = str(path)
    monkeypatch.setitem(sys.modules, "m43.small", loaded)
    exec(compile(TEXT, str(path), "exec"), vars(loaded))
    return loaded


def found(module: Any) -> tuple[str, ...]:
    """Look at the one module."""
    return foreign_code({"m43.small": module, "other": pytest}, Path(module.__file__).parent)


def test_what_is_as_written_is_not_foreign(module: Any) -> None:
    """After it has run as well, and with a variable that has varied."""
    for _ in range(100):
        assert module.judge(3)
    record = module.Record.make()
    assert record.good
    assert record.doubled == 2
    module.seen = 7
    assert found(module) == ()


def other(*values: object) -> bool:
    """Judge everything right."""
    return True


def code_of(function: Callable[..., Any]) -> Callable[[Any], None]:
    """Put another code into the very function."""
    return lambda module: setattr(module.judge, "__code__", function.__code__)


TAMPERINGS: dict[str, tuple[Callable[[Any], None], str]] = {
    "a function": (lambda m: setattr(m, "judge", other), "m43.small.judge (other code"),
    "its code": (code_of(lambda value: True), "m43.small.judge (other code"),
    "one constant in it": (
        lambda m: setattr(m.judge, "__code__", m.judge.__code__.replace(co_consts=(None, 1, 2))),
        "m43.small.judge (other code",
    ),
    "no function": (lambda m: setattr(m, "judge", print), "m43.small.judge (builtin_function"),
    "a wrapper": (
        lambda m: setattr(m, "judge", functools.lru_cache(other)),
        "m43.small.judge (other code",
    ),
    "behind a cache": (
        lambda m: setattr(m, "cached", functools.cache(other)),
        "m43.small.cached (other code",
    ),
    "a property": (
        lambda m: setattr(m.Record, "good", property(other)),
        "m43.small.Record.good (other code",
    ),
    "a cached property": (
        lambda m: setattr(m.Record, "doubled", functools.cached_property(other)),
        "m43.small.Record.doubled (other code",
    ),
    "a class method": (
        lambda m: setattr(m.Record, "make", classmethod(other)),
        "m43.small.Record.make (other code",
    ),
    "a static method": (
        lambda m: setattr(m.Record, "plain", staticmethod(other)),
        "m43.small.Record.plain (other code",
    ),
    "a method more": (
        lambda m: setattr(m.Record, "__getattribute__", other),
        "m43.small.Record.__getattribute__ (added by",
    ),
    "a class": (lambda m: setattr(m, "Record", Path), "m43.small.Record (a class of pathlib"),
    "a constant": (lambda m: setattr(m, "LIMIT", 4), "m43.small.LIMIT (another value)"),
    "an import": (
        lambda m: setattr(m, "Problem", object),
        "m43.small.Problem (not that of m43.errors)",
    ),
    "a file elsewhere": (
        lambda m: setattr(m, "__file__", m43.__file__),
        "m43.small (from ",
    ),
    "no file": (lambda m: setattr(m, "__file__", None), "m43.small (from no file)"),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_what_was_put_in_its_place_is_named(module: Any, tampering: str) -> None:
    """Each way to have other code run under the name of m43's."""
    change, named = TAMPERINGS[tampering]
    folder = Path(module.__file__).parent
    change(module)

    names = foreign_code({"m43.small": module}, folder)

    assert len(names) == 1, names
    assert names[0].startswith(named)
