"""Strict JSON: as RFC 8259 has it, with no key twice, or one error that says why it is none."""

import json
import math


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
        return json.loads(
            text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_distinct
        )
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise NotJsonError(f"{error.msg} at {line}column {error.colno}") from None
    except RecursionError:
        raise NotJsonError("it is nested deeper than Python's recursion goes") from None
    except ValueError as error:
        raise NotJsonError(str(error)) from None


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
