"""A number that is written as the name of what will stand in its place."""

import pytest

from m43.evidence.documents.template import NamedNumber

A, B = NamedNumber("a"), NamedNumber("b", 8.0)


@pytest.mark.parametrize(
    ("number", "text", "value"),
    [
        (A, "{a}", 2),
        (A + B, "{a + b}", 10),
        (sum((A, A)), "{a + a}", 4),
        (sum((A,)), "{a}", 2),
        (1 + A, "{a + 1}", 3),
        (A - 1, "{a - 1}", 1),
        (1 - A / B, "{1 - (a / b)}", 0.75),
        (100 * A / B, "{(100 * a) / b}", 25),
        (3 * A * B, "{(3 * a) * b}", 48),
        (8 / A, "{8 / a}", 4),
        (round(A / 60, 1), "{a / 60}", 2 / 60),
    ],
)
def test_arithmetic_keeps_the_names_and_the_value(
    number: NamedNumber, text: str, value: float
) -> None:
    """What is computed is written as the formula; the value decides where a value is needed."""
    assert (str(number), float(number)) == (text, value)


def test_however_it_is_formatted_the_name_is_written() -> None:
    """Thousands, decimals, signs and reprs are for numbers that are known."""
    assert f"{A:,} {A:.1f} {A:+d} {A} {A!r} {(A,)}" == "{a} {a} {a} {a} {a} ({a},)"


def test_it_can_count() -> None:
    """Where a whole number is needed, it is one."""
    assert list(range(A)) == [0, 1]
