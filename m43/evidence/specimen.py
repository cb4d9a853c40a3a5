"""The specimen: a record of any type in which every field is written as its own name."""

import dataclasses
import types
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from m43.evidence.named_number import NamedNumber

T = TypeVar("T")


def specimen(cls: type[T], called: str, /, **given: object) -> T:
    """Make a record from its type alone, so that no field can be forgotten.

    Args:
        cls: A dataclass.
        called: What its fields are named after, as in "train.optimizer_steps"; may be empty.
        given: Fields that are known already, or that must be of a certain form.
    """
    hints = get_type_hints(cls)
    prefix = f"{called}." if called else ""
    values = {
        field.name: given[field.name]
        if field.name in given
        else _value(hints[field.name], f"{prefix}{field.name}")
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
    }
    return cls(**values)


def _value(hint: Any, name: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _value(next(each for each in inner if each is not type(None)), name)
    if origin is tuple:
        return (_value(inner[0], f"{name}[]"),)
    if origin is Literal:
        return inner[0]
    if dataclasses.is_dataclass(hint):
        return specimen(hint, name)  # type: ignore[arg-type]
    return next(iter(hint)) if issubclass(hint, Enum) else _PLAIN[hint](name)


_PLAIN: dict[Any, Callable[[str], object]] = {
    bool: lambda name: True,
    int: NamedNumber,
    float: NamedNumber,
    str: lambda name: f"{{{name}}}",
    Path: lambda name: Path(f"{{{name}}}"),
}
