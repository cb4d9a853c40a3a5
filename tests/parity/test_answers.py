"""The comparison of answers beside math-verify's, which reads numbers with SymPy.

m43 compares exact fractions of the standard library, because `m43 verify` must judge every answer
again on machines that have nothing else. Here a library of the field judges the same pairs.
"""

import re
from fractions import Fraction

import math_verify
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m43.rows import answers

values = st.one_of(
    st.integers(-3000, 3000).map(Fraction),
    st.fractions(-50, 50, max_denominator=12),
    st.tuples(st.integers(-99999, 99999), st.integers(0, 4)).map(
        lambda pair: Fraction(pair[0], 10 ** pair[1])
    ),
)
FORMS = ("{}", "{} km", "x = {}", "{} dollars", "{}%")
# Without commas: math-verify reads a list in $x = 1,000$, m43 one number where one is expected.
TEX = ("$x = {}$", r"\boxed{{{}}}", r"\({}\)", "${}$.")
# math-verify reads neither a sign before a currency, nor a fraction after one or before a stop.
DECIMALS_ONLY = ("${}", "{}.")


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """One number, written in one of the ways in which models write numbers."""
    value = draw(values)
    scaled = value * 10**4
    if scaled.denominator == 1 and draw(st.booleans()):
        text = f"{float(value):,.4f}".rstrip("0").rstrip(".")
    else:
        text = str(value)
    readable = value >= 0 and "/" not in text
    # Of 1/2% math-verify makes another number than half a percent.
    plain = [form for form in FORMS if "/" not in text or "%" not in form]
    forms = (*plain, *(DECIMALS_ONLY if readable else ()), *(() if "," in text else TEX))
    form = draw(st.sampled_from(forms))
    if form in TEX and "/" in text and draw(st.booleans()):
        text = re.sub(r"(\d+)/(\d+)", r"\\frac{\1}{\2}", text)
    return form.format(text)


def same_for_math_verify(expected: str, given: str) -> bool:
    """Ask the other judge; without its alarm, which pytest-timeout needs."""
    gold, answer = (
        math_verify.parse(text, parsing_timeout=None, raise_on_error=True)
        for text in (expected, given)
    )
    assert gold, f"math-verify reads nothing in {expected!r}"
    return bool(math_verify.verify(gold, answer, timeout_seconds=None, raise_on_error=True))


@settings(max_examples=400, deadline=None)
@given(spellings(), spellings())
def test_what_m43_accepts_math_verify_accepts(expected: str, given: str) -> None:
    """No number is taken for another one: wherever m43 agrees, so does the other judge."""
    if answers.agree(expected, given):
        assert same_for_math_verify(expected, given)


@settings(max_examples=400, deadline=None)
@given(values, st.sampled_from(FORMS[:3]), st.sampled_from(FORMS[:3]))
def test_both_accept_one_number_written_in_two_ways(value: Fraction, one: str, two: str) -> None:
    """The property above is no empty one."""
    left, right = one.format(value), two.format(value)
    assert answers.agree(left, right)
    assert same_for_math_verify(left, right)


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        *(("2.37", "$2.37"), ("472", "472 km"), ("1/216", "1/216"), ("1000", "1,000")),
        *(("7", "x = 7"), ("15", "15.0"), ("1/2", "0.5")),
        *(("1/2", r"$\frac{1}{2}$"), ("1/2", r"\boxed{\dfrac{1}{2}}"), ("42", r"\(42\)")),
        *(("1000", r"\boxed{1{,}000}"), ("50%", r"$50\%$"), (r"$\{1, 2\}$", r"$\{2, 1\}$")),
    ],
)
def test_the_forms_of_the_samples(expected: str, given: str) -> None:
    """Both judges forgive what the evaluation's rows and their relatives show."""
    assert answers.agree(expected, given)
    assert same_for_math_verify(expected, given)
