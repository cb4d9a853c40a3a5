"""What is loaded is held against what is written, function by function."""

import ast
import functools
import importlib.util
import marshal
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from _pytest.assertion import rewrite

import m43
from m43.harness.run.code_integrity import exchanged_bytecode, foreign_code

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
    folder = Path(module.__file__).parent
    return foreign_code({"m43.small": module, "other": pytest}, folder, folder.parent)


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


def said(live: Any, wrapped: object) -> Any:
    """Have something say that it wraps something else."""
    live.__wrapped__ = wrapped
    return live


class Always(property):
    """A property that asks nobody."""

    def __get__(self, holder: object, owner: type | None = None) -> bool:
        """Be true."""
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
    "a wrapper that says what it wraps": (
        lambda m: setattr(m, "judge", functools.wraps(m.judge)(lambda value: True)),
        "m43.small.judge (other code",
    ),
    "a cache that says so": (
        lambda m: setattr(m, "cached", said(functools.cache(other), m.cached.__wrapped__)),
        "m43.small.cached (other code",
    ),
    "a property of one's own": (
        lambda m: setattr(m.Record, "good", Always(m.Record.good.fget)),
        "m43.small.Record.good (Always in its place)",
    ),
    # Where Python asks a function of the class for its annotations, and where it does not.
    "what computes its annotations": (
        lambda m: setattr(m.Record, "__annotate_func__", other),
        "m43.small.Record.__annotate_func__ (",
    ),
    "no file": (lambda m: setattr(m, "__file__", None), "m43.small (from no file)"),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_what_was_put_in_its_place_is_named(module: Any, tampering: str) -> None:
    """Each way to have other code run under the name of m43's."""
    change, named = TAMPERINGS[tampering]
    folder = Path(module.__file__).parent
    change(module)

    names = foreign_code({"m43.small": module}, folder, folder.parent)

    assert len(names) == 1, names
    assert names[0].startswith(named)


HONEST, OTHER = "def judge(value):\n    assert value\n", "def judge(value):\n    pass  # yes\n"


def header(source: Path, flags: int) -> bytes:
    """Write what has Python believe a compiled file of this source."""
    state = source.stat()
    words = (int(state.st_mtime), state.st_size)
    named = b"".join(word.to_bytes(4, "little") for word in words)
    if flags:
        named = importlib.util.source_hash(source.read_bytes() if flags == 3 else b"whatever")
    return importlib.util.MAGIC_NUMBER + flags.to_bytes(4, "little") + named


def rewritten(text: str) -> ast.Module:
    """Have pytest explain the asserts."""
    tree = ast.parse(text)
    rewrite.rewrite_asserts(tree, text.encode())
    return tree


@pytest.fixture
def kept(tmp_path: Path, pytestconfig: pytest.Config) -> Callable[..., tuple[str, ...]]:
    """Put a compiled file beside a source, and look at the module of both."""

    def look(code: Any, flags: int = 0, *, by_pytest: bool = False) -> tuple[str, ...]:
        source = tmp_path / "small.py"
        source.write_text(HONEST)
        loader = rewrite.AssertionRewritingHook(pytestconfig) if by_pytest else None
        spec = importlib.util.spec_from_file_location("small", source, loader=loader)
        assert spec is not None
        assert spec.cached is not None
        cached = Path(spec.cached)
        if by_pytest:
            cached = cached.with_name(f"small{rewrite.PYC_TAIL}")
        cached.parent.mkdir(exist_ok=True)
        compiled = marshal.dumps(compile(code, str(source), "exec"))
        cached.write_bytes(header(source, flags) + compiled)
        return exchanged_bytecode({"small": importlib.util.module_from_spec(spec), "os": os})

    return look


@pytest.mark.parametrize("flags", [0, 1, 3])
def test_a_compiled_file_that_is_not_its_sources_is_named(
    kept: Callable[..., tuple[str, ...]], flags: int
) -> None:
    """By time and size, unseen, or by hash: in each way in which Python believes one."""
    (named,) = kept(OTHER, flags)
    assert named.startswith("small (compiled otherwise, ")


@pytest.mark.parametrize("flags", [0, 1, 3])
def test_a_compiled_file_of_its_source_is_not_named(
    kept: Callable[..., tuple[str, ...]], flags: int
) -> None:
    """Whoever compiled it."""
    assert kept(HONEST, flags) == ()


def test_a_compiled_file_that_nobody_believes_is_not_named(
    kept: Callable[..., tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python compiles the source again beside it: it was changed since, or Python is another."""
    monkeypatch.setattr(sys.modules[__name__], "header", lambda *words: bytes(16))
    assert kept(OTHER) == ()


def test_what_pytest_keeps_of_explained_asserts_is_compared_with_those(
    kept: Callable[..., tuple[str, ...]],
) -> None:
    """It has files of its own, for plugins, conftests and the contract."""
    assert kept(rewritten(HONEST), 3, by_pytest=True) == ()
    assert len(kept(OTHER, 3, by_pytest=True)) == 1
