"""The named number: a number that is written as the name of what will stand in its place."""

import operator
from collections.abc import Callable

# Positive and small, so that shares, roots and logarithms of it exist.
_VALUE = 2.0


class NamedNumber(float):
    """A float that keeps its name through arithmetic, and is written in braces.

    It is a template's number: what is computed from it is written as the formula.

    Example:
        >>> f"{NamedNumber('train.duration_s') / 60:.1f} min"
        '{train.duration_s / 60} min'
    """

    name: str

    def __new__(cls, name: str, value: float = _VALUE) -> "NamedNumber":
        """Give a number its name; how large it is matters only for what depends on that."""
        number = super().__new__(cls, value)
        number.name = name
        return number

    def __format__(self, specification: str) -> str:
        return str(self)

    def __str__(self) -> str:
        return f"{{{self.name}}}"

    __repr__ = __str__

    def __index__(self) -> int:
        # Where a count is asked for: range(), a slice, a repetition.
        return int(float(self))

    def __round__(self, digits: int | None = None) -> "NamedNumber":  # type: ignore[override]
        return self

    def __add__(self, other: float) -> "NamedNumber":
        return _sum(self, other)

    def __radd__(self, other: float) -> "NamedNumber":
        return _sum(self, other)

    def __sub__(self, other: float) -> "NamedNumber":
        return _joined(self, "-", other, operator.sub)

    def __rsub__(self, other: float) -> "NamedNumber":
        return _joined(other, "-", self, operator.sub)

    def __mul__(self, other: float) -> "NamedNumber":
        return _joined(self, "*", other, operator.mul)

    def __rmul__(self, other: float) -> "NamedNumber":
        return _joined(other, "*", self, operator.mul)

    def __truediv__(self, other: float) -> "NamedNumber":
        return _joined(self, "/", other, operator.truediv)

    def __rtruediv__(self, other: float) -> "NamedNumber":
        return _joined(other, "/", self, operator.truediv)


def _sum(number: NamedNumber, other: float) -> NamedNumber:
    if other == 0:
        # What sum() begins with.
        return number
    return _joined(number, "+", other, operator.add)


def _joined(
    left: float, symbol: str, right: float, compute: Callable[[float, float], float]
) -> NamedNumber:
    name = f"{_name(left)} {symbol} {_name(right)}"
    return NamedNumber(name, compute(float(left), float(right)))


def _name(value: float) -> str:
    if not isinstance(value, NamedNumber):
        return f"{value:g}"
    return f"({value.name})" if " " in value.name else value.name
