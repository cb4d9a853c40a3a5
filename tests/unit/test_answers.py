"""What the comparison of answers forgives, and what it must never accept."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from m43 import answers

UNIT_SPELLINGS = sorted(answers.UNITS)
numbers = st.one_of(
    st.integers(-(10**9), 10**9).map(Fraction),
    st.tuples(st.integers(-(10**7), 10**7), st.integers(0, 5)).map(
        lambda pair: Fraction(pair[0], 10 ** pair[1])
    ),
)


def written(value: Fraction, *, commas: bool, zeros: int) -> str:
    """Write a decimal exactly, with commas between thousands and zeros at the end on demand."""
    scaled = value * 10**5
    assert scaled.denominator == 1, "the strategies make at most five decimals"
    whole, decimals = divmod(abs(scaled.numerator), 10**5)
    text = f"{whole:,}" if commas else str(whole)
    tail = f"{decimals:05d}".rstrip("0")
    if tail or zeros:
        text += f".{tail}{'0' * zeros}"
    return ("-" if value < 0 else "") + text


@st.composite
def decorations(
    draw: st.DrawFn, values: st.SearchStrategy[Fraction] = numbers
) -> tuple[Fraction, str]:
    """A number and one way of writing it among all that are forgiven."""
    value = draw(values)
    text = written(value, commas=draw(st.booleans()), zeros=draw(st.integers(0, 2)))
    unit = draw(st.sampled_from(["", *UNIT_SPELLINGS]))
    if unit and unit in "$€£¥₹" and draw(st.booleans()):
        text = f"-{unit}{text[1:]}" if text.startswith("-") else unit + text
    elif unit:
        text += draw(st.sampled_from([" "] if unit == "m" else ["", " "])) + unit
    text = draw(st.sampled_from(["", "", "x = ", "y="])) + text
    text = draw(st.sampled_from([str, str.upper, str.title]))(text)
    return value, f"{draw(st.sampled_from(['', ' ']))}{text}{draw(st.sampled_from(['', '.', ' ']))}"


@given(decorations(), decorations())
def test_different_numbers_never_agree_however_they_are_written(
    left: tuple[Fraction, str], right: tuple[Fraction, str]
) -> None:
    """Whatever surrounds two different numbers, neither is accepted for the other."""
    assume(left[0] != right[0])

    assert not answers.agree(left[1], right[1])


@given(decorations())
def test_a_number_agrees_with_itself_however_it_is_written(pair: tuple[Fraction, str]) -> None:
    """A decorated number agrees with the same number written plainly, in both directions."""
    value, text = pair
    plain = written(value, commas=False, zeros=0)

    assert answers.agree(plain, text)
    assert answers.agree(text, plain)


@given(st.text(max_size=20), st.text(max_size=20))
def test_agreement_has_no_direction(left: str, right: str) -> None:
    """It does not matter which of two answers is the expected one."""
    assert answers.agree(left, right) == answers.agree(right, left)


@given(st.text(max_size=20), numbers)
def test_text_that_is_not_the_number_is_never_accepted_for_it(text: str, value: Fraction) -> None:
    """Any text that is accepted for a number reads as exactly that number."""
    plain = written(value, commas=False, zeros=0)

    if answers.agree(plain, text):
        (item,) = answers.parse(text)
        assert isinstance(item, answers.Number)
        assert item.value == value


@given(st.lists(numbers, min_size=2, max_size=4), st.data())
def test_a_list_with_one_other_item_does_not_agree(
    values: list[Fraction], data: st.DataObject
) -> None:
    """Lists agree item by item; one that differs is enough."""
    other = list(values)
    place = data.draw(st.integers(0, len(values) - 1))
    other[place] = data.draw(numbers.filter(lambda value: value != values[place]))
    left, right = (
        ", ".join(written(value, commas=False, zeros=0) for value in items)
        for items in (values, other)
    )

    assert answers.agree(left, left)
    assert not answers.agree(left, right)


@given(st.integers(0, 999), st.integers(1, 999), st.integers(0, 999), st.integers(1, 999))
def test_fractions_agree_only_when_they_are_equal(
    top: int, bottom: int, other_top: int, other_bottom: int
) -> None:
    """A fraction agrees with an equal fraction and with no other."""
    equal = Fraction(top, bottom) == Fraction(other_top, other_bottom)

    assert answers.agree(f"{top}/{bottom}", f"{other_top}/{other_bottom}") == equal


@given(st.sampled_from(UNIT_SPELLINGS), st.sampled_from(UNIT_SPELLINGS))
def test_a_number_with_another_unit_is_another_answer(left: str, right: str) -> None:
    """Five of one unit are never five of another."""
    same = answers.UNITS[left] == answers.UNITS[right]

    assert answers.agree(f"5 {left}", f"5 {right}") == same


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("472", "472 km"),
        ("472 km", "472"),
        ("472 km", "472 Kilometres."),
        ("$31.5", "31.50"),
        ("$31.5", "31.50 dollars"),
        ("-$5", "$-5"),
        ("10.0", "10"),
        ("1234567", "1,234,567"),
        ("0.5", ".5"),
        ("-5", "\N{MINUS SIGN}5"),
        ("x = 7", "7"),
        ("7", "x=7."),
        ("1/216", "2/432"),
        ("Paris", "  paris. "),
        ("Yes", "YES"),
        ("a b", "a   b"),
        ("2, 4, 6", "2,4,6"),
        ("1,234, 5", "1234, 5"),
        ("24 cm²", "24 square centimeters"),
        ("50%", "50 percent"),
        ("é", "e\N{COMBINING ACUTE ACCENT}"),
    ],
)
def test_forgives_how_an_answer_is_written(expected: str, given: str) -> None:
    """Case, spaces, final stop, thousands, currency, units, zeros and an equal fraction."""
    assert answers.agree(expected, given)


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("72", "7.2"),
        ("72", "720"),
        ("5", "-5"),
        ("1.5", "1,5"),
        ("15", "1,5"),
        ("1234", "12,34"),
        ("1234", "1, 234"),
        ("1,234, 5", "1, 234, 5"),
        ("5 km", "5 m"),
        ("5 km", "5 km/h"),
        ("5 cm", "5 cm²"),
        ("$5", "5 cents"),
        ("$5", "€5"),
        ("5 km", "$5"),
        ("5", "$5 km"),
        ("5", "5m"),
        ("5", "5 thousand"),
        ("5", "5k"),
        ("50", "50%"),
        ("0.5", "50%"),
        ("1/216", "1/215"),
        ("1/2", "0.5"),
        ("11/2", "1 1/2"),
        ("7", "007"),
        ("52", "5²"),
        ("15", "1e5"),
        ("345", "3:45"),
        ("x = 7", "y = 7"),
        ("5", "5 5"),
        ("5", "5 or 6"),
        ("5", "\N{ARABIC-INDIC DIGIT FIVE}"),
        ("Paris", "Paris or London"),
        ("Paris", "Pari"),
        ("", ""),
        ("5", ""),
        (".", "."),
    ],
)
def test_refuses_what_is_another_answer(expected: str, given: str) -> None:
    """A different number, unit, list, order of magnitude or text is wrong."""
    assert not answers.agree(expected, given)
    assert not answers.agree(given, expected)


def test_a_number_of_thousands_of_digits_is_compared_as_text() -> None:
    """A runaway output of digits neither crashes the comparison nor is cut."""
    digits = "9" * 10_000

    assert answers.agree(digits, digits)
    assert not answers.agree(digits, digits[1:])


@pytest.mark.parametrize(
    ("output", "marker", "answer"),
    [
        ("  42 ", "", "42"),
        ("3 + 4\nAnswer: 7", "Answer:", "7"),
        ("The Answer: is near\nAnswer: 7\nmore", "Answer:", "7"),
        ("no such word 7", "Answer:", ""),
        ("Answer:", "Answer:", ""),
        ("", "", ""),
    ],
)
def test_takes_the_answer_behind_the_last_marker(output: str, marker: str, answer: str) -> None:
    """The rest of the line after the last marker; the whole output where there is no marker."""
    assert answers.extract(output, marker) == answer
