"""Typed JSON: frozen dataclasses to JSON-like tables and back, with every problem told at once.

One mechanism for profiles (TOML tables) and for records (JSON files). Standard library only,
because `m43 verify` must run anywhere.
"""

import dataclasses
import difflib
import itertools
import json
import math
import sys
import tomllib
import types
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from m43.errors import Problem
from m43.files import read_whole
from m43.text import STEERING, NotTextError, brief, clipped, read_text, without_mark


class NotJsonError(ValueError):
    """A text that is no JSON; whoever reads it says of which file, and what to do."""


def read_json(text: str) -> object:
    """Read a text as JSON.

    Raises:
        NotJsonError: also for what Python's reader lets pass (NaN, Infinity, 1e999, a key that
            occurs twice) and for what ends it otherwise: numbers of thousands of digits, and
            nesting without end.
    """
    try:
        value = json.loads(
            text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_distinct
        )
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise NotJsonError(f"{error.msg} at {line}column {error.colno}") from None
    except RecursionError:
        raise NotJsonError(_TOO_DEEP) from None
    except ValueError as error:
        raise NotJsonError(str(error)) from None
    # Whoever opens few brackets nests no deeper; most texts need no second look.
    if text.count("[") + text.count("{") > _DEEPEST and _is_too_deep(value):
        raise NotJsonError(_TOO_DEEP)
    return value


# Of m43's own: where Python's reader gives up differs from version to version, from under a
# thousand levels to ten thousand, and what walks the value afterwards gives up earlier.
_DEEPEST = 200
_TOO_DEEP = f"it is nested deeper than {_DEEPEST} levels"


def _is_too_deep(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(_DEEPEST + 1):
        level = [it for it in level if isinstance(it, dict | list)]
        inner = (it.values() if isinstance(it, dict) else it for it in level)
        level = list(itertools.chain.from_iterable(inner))
    return bool(level)


def _refuse(name: str) -> float:
    raise NotJsonError(f"the number {name}, which JSON does not have")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NotJsonError("a number beyond what 64 bits hold")
    return value


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise NotJsonError("a key that occurs twice")
    return table


T = TypeVar("T")

# Beyond these a person is not helped: names that are compared with the valid ones (in time that
# grows with the square of their length), and unknown keys that are told one by one.
_LONGEST_NAME, _MOST_UNKNOWN = 64, 20
# What NumPy, JAX and every other reader of JSON can hold.
_LEAST_INT, _MOST_INT = -(2**63), 2**63 - 1


@cache
def _hints(cls: type) -> Mapping[str, Any]:
    # A file of lines asks for the same class hundreds of times.
    return get_type_hints(cls)


class _Reader:
    """Builds values of a type from plain data and collects what does not fit."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []

    def refuse(self, key: str, found: object, expected: str, action: str) -> None:
        self.problems.append(
            Problem(
                found=str(found),
                expected=expected,
                where=f"{self.source}, {key}" if key else self.source,
                action=action,
            )
        )

    def table(self, cls: type, data: object, key: str) -> Any:
        if not isinstance(data, Mapping):
            self.refuse(key, describe(data), "a table", f"write it as a table of {cls.__name__}")
            return None
        hints, fields = _hints(cls), {field.name: field for field in dataclasses.fields(cls)}
        self._refuse_unknown(data, tuple(fields), key)
        before = len(self.problems)
        values = {}
        for name, field in fields.items():
            path = f"{key}.{name}" if key else name
            if name in data:
                values[name] = self.value(hints[name], data[name], path)
            elif not _has_default(field):
                self.refuse(path, "nothing", type_name(hints[name]), "add it")
        return None if len(self.problems) > before else cls(**values)

    def _refuse_unknown(self, data: Mapping[str, object], known: tuple[str, ...], key: str) -> None:
        unknown = [str(name) for name in data if name not in known]
        expected = "one of " + ", ".join(known)
        for name in unknown[:_MOST_UNKNOWN]:
            guess = _nearest(name, known)
            hint = f"did you mean {guess!r}? Rename it" if guess else "remove it"
            path = f"{key}.{name}" if key else name
            self.refuse(path, f"the unknown key {clipped(name, 80)!r}", expected, hint)
        more = len(unknown) - _MOST_UNKNOWN
        if more > 0:
            self.refuse(key, f"{more} more unknown keys", expected, "remove them")

    def value(self, hint: Any, data: object, key: str) -> Any:
        origin = get_origin(hint)
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            return self.table(hint, data, key)
        if origin in (Union, types.UnionType):
            return self._either(hint, data, key)
        if origin in (tuple, Mapping):
            read = self._sequence if origin is tuple else self._named
            return read(get_args(hint), data, key)
        if origin is Literal:
            return self._one_of(get_args(hint), data, key)
        if isinstance(hint, type) and issubclass(hint, StrEnum):
            known = self._one_of(tuple(str(member) for member in hint), data, key)
            return None if known is None else hint(known)
        return self._scalar(hint, data, key)

    def _either(self, hint: Any, data: object, key: str) -> Any:
        kinds = [arg for arg in get_args(hint) if arg is not type(None)]
        if data is None and len(kinds) < len(get_args(hint)):
            return None
        if len(kinds) == 1:
            return self.value(kinds[0], data, key)
        # One of several plain kinds: the first that takes it, so that 1 stays a whole number.
        kind = next((kind for kind in kinds if _SCALARS[kind][0](data)), None)
        if kind is None:
            expected = " or ".join(map(type_name, kinds))
            self.refuse(key, describe(data), expected, f"give {expected}")
            return None
        return self.value(kind, data, key)

    def _sequence(self, inner: tuple[Any, ...], data: object, key: str) -> Any:
        if not isinstance(data, list | tuple):
            self.refuse(key, describe(data), "a list", "write it as a list")
            return None
        return tuple(
            self.value(inner[0], item, f"{key}[{index}]") for index, item in enumerate(data)
        )

    def _named(self, inner: tuple[Any, ...], data: object, key: str) -> Any:
        if not isinstance(data, Mapping):
            self.refuse(key, describe(data), "a table", "write it as a table")
            return None
        return {
            str(name): self.value(inner[1], item, f"{key}.{clipped(str(name), 80)}")
            for name, item in data.items()
        }

    def _one_of(self, choices: tuple[Any, ...], data: object, key: str) -> Any:
        if data in choices and isinstance(data, str):
            return data
        names = [str(choice) for choice in choices]
        guess = _nearest(data, names) if isinstance(data, str) else ""
        expected = "one of " + ", ".join(repr(name) for name in names)
        hint = f"did you mean {guess!r}?" if guess else "take one of these"
        self.refuse(key, describe(data), expected, hint)
        return None

    def _scalar(self, hint: Any, data: object, key: str) -> Any:
        accepts, convert = _SCALARS[hint]
        if accepts(data):
            return convert(data)
        self.refuse(key, describe(data), type_name(hint), f"give {type_name(hint)}")
        return None


def _nearest(name: str, known: Sequence[str]) -> str:
    """Give the valid name that somebody meant; nothing where there is nothing to guess from."""
    if len(name) > _LONGEST_NAME:
        return ""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.0)), "")


def _is_number(data: object) -> bool:
    if isinstance(data, bool) or not isinstance(data, int | float):
        return False
    # Compared and not asked math.isfinite, to which a whole number may be too large.
    return -sys.float_info.max <= data <= sys.float_info.max


def _is_whole(data: object) -> bool:
    return isinstance(data, int) and not isinstance(data, bool) and _LEAST_INT <= data <= _MOST_INT


# bool is an int in Python; a profile that says `steps = true` must not run one step.
_SCALARS: dict[Any, tuple[Callable[[Any], bool], Callable[[Any], Any]]] = {
    bool: (lambda data: isinstance(data, bool), bool),
    int: (_is_whole, int),
    float: (_is_number, float),
    str: (lambda data: isinstance(data, str), str),
    Path: (lambda data: isinstance(data, str) and data != "" and "\0" not in data, Path),
}


def describe(data: object) -> str:
    """Name a value and its type, briefly enough for an error message."""
    return f"{brief(data)} ({type(data).__name__})"


def type_name(hint: Any) -> str:
    """Name a type as a person would who writes the file by hand."""
    names: dict[Any, str] = {
        bool: "true or false",
        int: "a whole number",
        float: "a finite number",
        str: "text",
        Path: "a path",
    }
    if hint in names:
        return names[hint]
    if get_origin(hint) is tuple:
        return "a list"
    if get_origin(hint) is Mapping:
        return "a table"
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(hint))
    return "a table" if dataclasses.is_dataclass(hint) else str(hint)


def _has_default(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


def read_table(cls: type[T], data: object, source: str) -> tuple[T | None, tuple[Problem, ...]]:
    """Build a dataclass from plain data; return it, or None with everything that does not fit."""
    reader = _Reader(source)
    value = reader.table(cls, data, "")
    return (None if reader.problems else value), tuple(reader.problems)


NOT_WRITTEN_AS_NONE: Mapping[str, bool] = {"not written as None": True}
"""The metadata of a field that a record has only where there is something to say."""


def to_plain(value: Any) -> Any:
    """Turn a dataclass into what JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {
            field.name: to_plain(each)
            for field, each in pairs
            if each is not None or not NOT_WRITTEN_AS_NONE.items() <= field.metadata.items()
        }
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: to_plain(item) for name, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def dump(value: Any) -> str:
    """Write a dataclass as readable JSON, the same bytes for the same value."""
    return _escaped(json.dumps(to_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def dump_line(value: Any) -> str:
    """Write a dataclass as one line of JSON Lines."""
    return _escaped(json.dumps(to_plain(value), ensure_ascii=False, allow_nan=False))


def _escaped(text: str) -> str:
    # Legal in JSON, but these steer a terminal, break lines, turn text round, or have no bytes.
    return STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def parse(cls: type[T], text: str, source: str) -> tuple[T | None, tuple[Problem, ...]]:
    """Read a dataclass from JSON text; return it, or None with everything that does not fit."""
    try:
        data = read_json(text)
    except NotJsonError as error:
        found = f"{error}"
        return None, (
            Problem(found=found, expected="JSON", where=source, action="correct the file"),
        )
    return read_table(cls, data, source)


_MOST_BYTES = 1 << 20


def read_toml(path: Path) -> tuple[object, tuple[Problem, ...]]:
    """Read a file as TOML; return its table, or None with what is wrong."""
    try:
        # A byte order mark, as Notepad writes it, says nothing.
        text = read_text(without_mark(read_whole(path, _MOST_BYTES)))
        return tomllib.loads(text.replace("\r\n", "\n")), ()
    except FileNotFoundError:
        found, expected = "no file", "a profile in TOML"
        action = "give the path of a profile, such as acceptance/production.toml"
    except NotTextError as error:
        found, expected, action = str(error), "readable TOML", error.action
    # ValueError: no TOML, or a number of thousands of digits; RecursionError: nested
    # deeper than Python goes.
    except (OSError, ValueError, RecursionError) as error:
        found, expected = f"{type(error).__name__}: {error}", "readable TOML"
        action = "correct the file"
    return None, (Problem(found=found, expected=expected, where=str(path), action=action),)
