"""The asserted expression: what a promise compares, evaluated again so that it can be shown.

A run folder's contract is text. It is never run: this reads the few forms that a promise may have
and looks the named fields up in the records. Anything else is refused when the contract is read.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_CALLS: dict[str, Callable[..., Any]] = {
    "len": len,
    "set": set,
    "min": min,
    "max": max,
    "sum": sum,
    "abs": abs,
    "sorted": sorted,
}

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, group: item in group,
    ast.NotIn: lambda item, group: item not in group,
}

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}

_CONTAINERS: dict[type[ast.expr], Callable[[list[Any]], Any]] = {
    ast.Tuple: tuple,
    ast.List: list,
    ast.Set: set,
}

_LEAVES = (ast.Constant, ast.Name, ast.expr_context, ast.cmpop, ast.operator)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One named quantity of an assert and the value that the records give it."""

    expression: str
    value: Any


@dataclass(frozen=True, kw_only=True)
class AssertedExpression:
    """The expression of one `assert`, as text."""

    source: str

    @property
    def tree(self) -> ast.expr:
        """The expression, parsed."""
        return ast.parse(self.source, mode="eval").body

    def holds(self, records: Mapping[str, object]) -> bool:
        """Tell whether the records satisfy the expression."""
        return bool(_value(self.tree, records))

    def measured(self, records: Mapping[str, object]) -> tuple[Measured, ...]:
        """Give the measured quantities: the sides of the comparison that are not constants."""
        return tuple(
            Measured(expression=ast.unparse(node), value=_value(node, records))
            for node in _sides(self.tree)
            if names(node)
        )


def names(node: ast.AST) -> tuple[str, ...]:
    """List the record names that an expression uses, in order, each once."""
    used = (
        leaf.id for leaf in ast.walk(node) if isinstance(leaf, ast.Name) and leaf.id not in _CALLS
    )
    return tuple(dict.fromkeys(used))


def unreadable(node: ast.expr) -> tuple[str, ...]:
    """List the parts of an expression that could not be shown as a measurement."""
    return tuple(
        ast.unparse(part)
        for part in ast.walk(node)
        if not isinstance(part, _LEAVES) and not _is_readable(part)
    )


def _is_readable(node: ast.AST) -> bool:
    readable = False
    match node:
        case ast.Attribute(attr=attribute):
            # Private attributes lead out of the records, into Python itself.
            readable = not attribute.startswith("_")
        case ast.Call(func=ast.Name(id=name), keywords=[]):
            readable = name in _CALLS
        case ast.Compare(ops=ops):
            readable = all(type(op) in _COMPARISONS for op in ops)
        case ast.BinOp(op=op):
            readable = type(op) in _ARITHMETIC
        case ast.FormattedValue(conversion=-1, format_spec=None):
            readable = True
        case ast.Tuple() | ast.List() | ast.Set() | ast.JoinedStr():
            readable = True
    return readable


def _sides(node: ast.expr) -> list[ast.expr]:
    return [node.left, *node.comparators] if isinstance(node, ast.Compare) else [node]


def _value(node: ast.expr, records: Mapping[str, object]) -> Any:
    value: Any
    match node:
        case ast.Constant(value=value):
            pass
        case ast.Name(id=name):
            value = records[name]
        case ast.Attribute(value=owner, attr=attribute) if not attribute.startswith("_"):
            value = getattr(_value(owner, records), attribute)
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in _CALLS:
            value = _CALLS[name](*(_value(argument, records) for argument in arguments))
        case ast.BinOp(left=left, op=op, right=right):
            value = _ARITHMETIC[type(op)](_value(left, records), _value(right, records))
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            value = _CONTAINERS[type(node)]([_value(part, records) for part in parts])
        case ast.JoinedStr(values=parts):
            value = "".join(str(_value(part, records)) for part in parts)
        case ast.FormattedValue(value=inner):
            value = _value(inner, records)
        case ast.Compare(left=left, ops=ops, comparators=others):
            sides = [_value(side, records) for side in (left, *others)]
            value = all(
                _COMPARISONS[type(op)](sides[index], sides[index + 1])
                for index, op in enumerate(ops)
            )
        case _:
            raise ValueError(f"cannot read {ast.unparse(node)}; parse_contract refuses it")
    return value
