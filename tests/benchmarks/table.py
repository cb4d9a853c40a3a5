"""The table as a person reads it in a terminal, and in Markdown for the notes."""

from collections.abc import Iterable

from tests.benchmarks.bars import Line

_HEADS = ("", "bar", "measured", "holds", "of what")


def render(lines: Iterable[Line]) -> str:
    """Write the lines as a Markdown table with even columns."""
    rows = [_HEADS, *(_cells(line) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    texts = [_row(row, widths) for row in rows]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([texts[0], rule, *texts[1:]]) + "\n"


def _cells(line: Line) -> tuple[str, ...]:
    bar = "" if line.bar is None else f"{line.direction} {_number(line.bar, line)}"
    holds = "" if line.holds is None else "yes" if line.holds else "NO"
    return line.text, bar, _number(line.figure, line), holds, line.basis


def _number(value: float, line: Line) -> str:
    digits = {"%": ".0f", "": ".3g"}.get(line.unit, ".2f")
    return f"{value:{digits}} {line.unit}".rstrip()


def _row(cells: Iterable[str], widths: Iterable[int]) -> str:
    filled = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "| " + " | ".join(filled) + " |"
