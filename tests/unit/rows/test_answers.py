"""What the comparison of answers forgives, and what it must never accept."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from m43.rows import answers, exact_number

UNIT_SPELLINGS = sorted(exact_number.UNITS)
numbers = st.one_of(
    st.integers(-(10**9), 10**9).map(Fraction),
    st.tuples(st.integers(-(10**7), 10**7), st.integers(0, 5)).map(
        lambda pair: Fraction(pair[0], 10 ** pair[1])
    ),
)
# What may stand before, around and after a number without another being meant.
CALCULATIONS = ("3 + 4 = ", "100*(7 - 2)=", "$9 ÷ 6 = ", "23 x 88 = ", "36%*305 = ")
WRAPPINGS = (("", ""), ("**", "**"), ("`", "`"), ('"', '"'), ("$\\boxed{", "}$"))
ENDS = ("", ".", " ", "!", "!!")


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
    if draw(st.booleans()):
        text = draw(st.sampled_from(CALCULATIONS)) + text.removeprefix("x = ").removeprefix("y=")
    text = draw(st.sampled_from([str, str.upper, str.title]))(text)
    # Not both: what "$5 $" is meant to be cannot be told.
    left, right = draw(st.sampled_from(WRAPPINGS[: -1 if "$" in text else None]))
    text = f"{left}{text}{draw(st.sampled_from(['', '.'] if left else ['']))}{right}"
    text = draw(st.sampled_from(["", "", "The answer is ", "it's ", "Answer: "])) + text
    return value, f"{draw(st.sampled_from(['', ' ']))}{text}{draw(st.sampled_from(ENDS))}"


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


# Sets and "100,200" have a direction; the tables show which.
undirected = st.text(st.characters(exclude_characters=",{\N{FULLWIDTH COMMA}｛"), max_size=20)


@given(undirected, undirected)
def test_agreement_has_no_direction(left: str, right: str) -> None:
    """It does not matter which of two answers is the expected one."""
    assert answers.agree(left, right) == answers.agree(right, left)


@given(st.text(max_size=20), numbers)
def test_text_that_is_not_the_number_is_never_accepted_for_it(text: str, value: Fraction) -> None:
    """Any text that is accepted for a number reads as exactly that number."""
    plain = written(value, commas=False, zeros=0)

    if answers.agree(plain, text):
        item = answers.parse(text)
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


@given(st.integers(0, 999), st.integers(1, 999), numbers)
def test_a_fraction_agrees_with_a_decimal_only_when_they_are_the_same_number(
    top: int, bottom: int, value: Fraction
) -> None:
    """An exact decimal is the fraction written otherwise, a rounded one is another number."""
    rounded = written(Fraction(round(10**5 * top / bottom), 10**5), commas=False, zeros=0)

    assert answers.agree(f"{top}/{bottom}", rounded) == (Fraction(rounded) == Fraction(top, bottom))
    assert answers.agree(
        f"{value.numerator}/{value.denominator}", written(value, commas=False, zeros=0)
    )


@given(numbers, numbers, st.sampled_from(["{} = {}", "{} + 1 = {} = 3", "{}! = {}", "{}; {}"]))
def test_a_text_with_two_numbers_is_neither(one: Fraction, other: Fraction, pattern: str) -> None:
    """Where it cannot be told which of two numbers is meant, none is taken."""
    plain = [written(value, commas=False, zeros=0) for value in (one, other)]
    text = pattern.format(*plain)

    assert not any(answers.agree(number, text) for number in plain)


@given(st.text(alphabet="0123456789.,=+-*/ $%!'\"xykm()", max_size=12), numbers)
def test_no_jumble_of_digits_and_signs_is_taken_for_a_number_it_does_not_show(
    text: str, value: Fraction
) -> None:
    """Whatever agrees with a number ends with it, up to what may stand behind a number."""
    plain = written(value, commas=False, zeros=0)
    shown = text.replace(",", "").rstrip(" .!'\"km$)").rstrip("0") + "0"

    if answers.agree(plain, text) and "/" not in text:
        digits = plain.lstrip("-").removeprefix("0")
        assert digits.rstrip("0").rstrip(".") in shown


@given(st.text(max_size=30), st.sampled_from(["", "Answer:"]))
def test_an_extracted_answer_stands_in_the_output(output: str, marker: str) -> None:
    """Nothing is put into a model's mouth, and taking the answer out of itself changes nothing."""
    answer = answers.extract(output, marker)

    assert answer in output
    assert answers.agree(answer, answers.extract(answer, "")) == (answers.parse(answer) is not None)


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_right_answer_is_an_answer(expected: str, given: str) -> None:
    """What agrees is always of the kind that was asked for: no right row counts as unanswered."""
    if answers.agree(expected, given):
        assert answers.is_answer(expected, given)


@given(st.sampled_from(UNIT_SPELLINGS), st.sampled_from(UNIT_SPELLINGS))
def test_a_number_with_another_unit_is_another_answer(left: str, right: str) -> None:
    """Five of one unit are never five of another."""
    same = exact_number.UNITS[left] == exact_number.UNITS[right]

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
        ("1/2", "0.5"),
        ("1.25", "5/4"),
        ("11/2", "5 1/2"),
        ("-1.5", "-1 1/2"),
        ("4", "4!"),
        ("Friday", "Friday!"),
        ("42", "15 + 27 = 42."),
        ("$31.5", "$189 ÷ 6 = $31.50"),
        ("2024", "23 x 88 = 2,024"),
        ("42", "**42**"),
        ("42", "$\\boxed{42}$"),
        ("42", "The answer is: **42.**"),
        ("nosaer", "'nosaer'"),
        ("Paris", "\N{LEFT DOUBLE QUOTATION MARK}Paris.\N{RIGHT DOUBLE QUOTATION MARK}"),
        ("Friday", "It is Friday."),
        ("It is raining", "it is raining"),
        ("it is", "It is."),
        ("true", "TRUE"),
        ("1,000", "1000"),
        ("15.0", "15"),
        ("$2.37", "2.37"),
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
    ("expected", "outputs"),
    [
        ("30", ["**Answer: 30**", "**Result:** $30$", "**The answer is 30.**", "### Answer:\n30"]),
        (
            "30",
            ["#### 30", "Final Answer: The final answer is $\\boxed{30}$", "= 30", "## Answer\n30"],
        ),
        (
            "30",
            ["\\boxed{30}", "$$30$$", "\\[ 30 \\]", "\\(30\\)", "(30)", "\\left(30\\right)", "30,"],
        ),
        (
            "30",
            [
                "3\u200b0",
                "\ufeff30",
                "３０",
                "3e1",
                "3 × 10^1",
                "$x = 30$",
                "12 + 18 = \\boxed{30}",
            ],
        ),
        ("30", ["$30$ km", "30\\text{ km}", "\\boxed{30}~\\mathrm{kg}", "\\boxed{30} km", "(30.)"]),
        (
            "$7.50",
            [
                "\\$7.50",
                "$ 7.5",
                "US$7.50",
                "USD 7.5",
                "$\\$7.50$",
                "**Answer: $7.50**",
                "$7.5 USD",
            ],
        ),
        ("-5", ["–5", "−5", "‑5", "$-5$", "**Answer:** –5", "-\\frac{10}{2}", "(-5)", "—5"]),
        (
            "3/4",
            [
                "\\frac{3}{4}",
                "\\dfrac34",
                "$\\tfrac{3}{4}$",
                "¾",
                "³⁄₄",
                "3⁄4",
                "\\boxed{\\frac{3}{4}}.",
            ],
        ),
        ("3/4", ["\\frac{6}{8}", "x = \\frac{3}{4}", "**¾**", "0.75", "75e-2", "３/４"]),
        ("2 1/4", ["2¼", "2 ¼", "2\\frac{1}{4}", "$2\\tfrac14$", "9/4", "2.25"]),
        ("25%", ["25\\%", "25 \\%", "$25\\%$", "25 percent", "２５％", "**25 %**"]),
        (
            "12000",
            ["12,000", "12 000", "12\u202f000", "12\\,000", "12{,}000", "12,\\!000", "1.2e4"],
        ),
        (
            "12000",
            ["(12,000)", "**12 000**.", "$12{,}000$", "\\$12,000", "1.2 \\times 10^{4}", "1.2×10⁴"],
        ),
        ("0.0012", ["1.2e-3", "1.2 × 10⁻³", "$1.2 \\times 10^{-3}$"]),
        ("60°", ["60^\\circ", "$60^{\\circ}$", "60 degrees", "60º", "60\\degree"]),
        ("20 °C", ["20℃", "20^\\circ\\text{C}", "20^{\\circ} \\mathrm{C}", "20 degrees Celsius"]),
        (
            "100, 200",
            ["100,200", "[100,200]", "(100, 200)", "100 and 200", "$100$, $200$", "100; 200"],
        ),
        (
            "4, 5, 6",
            ["[4, 5, 6]", "4,5,6", "4, 5, and 6", "4, 5 and 6", "**4**, **5**, **6**", "{4, 5, 6}"],
        ),
        ("4, 5, 6", ["\\{4, 5, 6\\}", "\\left(4, 5, 6\\right)", "Answer: [4, 5, 6].", "(4，5，6)"]),
        ("1234, 5678", ["1,234, 5,678", "[1,234, 5,678]", "1,234 and 5,678", "1 234; 5 678"]),
        ("{4, 5, 6}", ["6, 5, 4", "{5, 4, 6}", "\\{6,4,5\\}", "$\\left\\{4, 6, 5\\right\\}$"]),
        ("(1, 2), (3, 4)", ["(1,2),(3,4)", "(1, 2) and (3, 4)", "[(1, 2), (3, 4)]"]),
        ("(100,200)", ["(100, 200)", "100, 200", "(100,200)"]),
        ("[0, 1)", ["[0,1)", "$[0, 1)$"]),
        (
            "D",
            [
                "(D)",
                "D.",
                "D)",
                "[D]",
                "d",
                "Option D",
                "**(D)**",
                "\\text{(D)}",
                "The answer is (D).",
            ],
        ),
        ("isn't", ["isn’t", "'isn't'", "‘isn’t’", "isn´t", "“isn’t”", "**Isn’t.**"]),
        ("12:30 PM", ["12:30PM", "12:30 p.m.", "12:30 P.M", "12:30\u202fpm.", "(12:30pm)"]),
        ("3:00 AM", ["3 am", "3AM", "03:00 a.m."]),
        ("09:05", ["9:05"]),
        ("sixty-two", ["sixty two", "Sixty‑Two.", "sixty–two"]),
        ("one hundred five", ["one hundred and five"]),
        ("two-thirds", ["two thirds"]),
        ("√2", ["\\sqrt{2}", "$\\sqrt{2}$"]),
        (".", ["."]),
        (";", [";", "“;”"]),
        ("+", ["Answer: +"]),
    ],
)
def test_a_careful_reader_takes_it_for_right(expected: str, outputs: list[str]) -> None:
    """Spellings of models and of people, taken out and judged as in a run."""
    for output in outputs:
        answer = answers.extract(output, "")
        assert answers.agree(expected, answer), output
        assert answers.is_answer(expected, answer), output


@pytest.mark.parametrize(
    ("expected", "outputs"),
    [
        (
            "30",
            ["-30", "30%", "3 0", "3\u20620", "- 30", "~30", "≈ 30", "about 30", "30?", "~~30~~"],
        ),
        ("30", ["30 or 31", "30 and 31", "30, not 31", "30..", "[3, 0]", "3\\boxed{0}", "29 + 1"]),
        (
            "30",
            [
                "Between 29 and 31, so I take 30",
                "I think that 30 of the 40 are right",
                "30 thousand",
            ],
        ),
        (
            "4200",
            [
                "4 $200$",
                "4\\boxed{200}",
                "\\(4\\)\\(200\\)",
                "4\n200",
                "4  200",
                "4\t200",
                "4, 200",
            ],
        ),
        ("-5", ["5", "(5)", "- 5", "5-", "+5"]),
        ("1,000", ["1, 000", "1.000", "1,00", "[1, 0]"]),
        ("1, 000", ["1,000"]),
        ("100,200", ["100, 200", "[100, 200]"]),
        ("100200", ["100, 200", "100; 200"]),
        ("100, 200", ["200,100", "100200", "100 200"]),
        ("4, 5", ["5, 4", "{5, 4}", "4, 5, 6", "45", "4.5"]),
        ("[4, 5]", ["[5, 4]", "(4, 5)", "{4, 5}"]),
        ("{4, 5}", ["{4, 6}", "4, 5, 5", "[5, 4]", "4"]),
        ("[0, 1)", ["(0, 1]", "[0, 1]", "0, 1"]),
        ("$5, $6", ["€5, €6"]),
        ("€5, €6", ["$5 and $6"]),
        ("25%", ["0.25", "1/4", "25"]),
        ("3/2", ["1 3/2", "31/2"]),
        ("11/2", ["1½", "1 1/2"]),
        ("1/25", ["½5", "\\frac{1}{2}5"]),
        ("x^1/2", ["x^{\\frac{1}{2}}", "x^\\frac12"]),
        ("1000", ["10^3", "1e-3", "1 00", "10 00"]),
        ("12:30 PM", ["12:30 AM", "12:30", "12:31 PM", "1230 PM"]),
        ("D", ["(C)", "(D) or (C)", "D and C", "D) the last", "Option C"]),
        ("sixty-two", ["62", "sixty-three", "sixty"]),
        ("A*", ["A"]),
        ("__init__", ["init"]),
        ("fish and chips", ["fish", "chips and fish"]),
    ],
)
def test_a_careful_reader_takes_it_for_wrong(expected: str, outputs: list[str]) -> None:
    """What looks alike and says something else, or does not commit itself."""
    for output in outputs:
        assert not answers.agree(expected, answers.extract(output, "")), output


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
        ("1/3", "0.333"),
        ("11/2", "1 1/2"),
        ("5/2", "1 3/2"),
        ("24", "4!"),
        ("5", "5..."),
        ("31", "15 + 27"),
        ("5", "10 = 5 + 5"),
        ("3", "7 = 3"),
        ("3", "2 + 2 = 4 = 3"),
        ("14", "2x = 14"),
        ("58", "100% of 58 = 58"),
        ("42", "The answer is not 42"),
        ("42", "The answer is 42, not 43"),
        ("42", "42. The answer is 43"),
        ("42", "answers 42"),
        ("5", "'5' or '6'"),
        ("a' or 'b", "'a' or 'b'"),
        ("5", "5'"),
        ("5", '5"'),
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
        (" The answer is 42.", "", "42."),
        ("So the final answer is: **42**", "", "**42**"),
        ("It's Friday", "", "Friday"),
        ("The answer is", "", "The answer is"),
        ("I think the answer is 42", "", "I think the answer is 42"),
        ("42, so the answer is 43", "", "42, so the answer is 43"),
        ("There are 150 minutes in 2.5 hours.", "", "There are 150 minutes in 2.5 hours."),
        ("**Answer:** 7", "", "7"),
        ("**Final Answer: 7**.", "", "7"),
        ("__Answer:__ **7**", "", "**7**"),
        ("**Answer: 7", "", "7"),
        ("3 + 4 = 7 #### 7", "####", "7"),
        ("**Answer:** 7\nmore", "Answer:", "7"),
        ("**Answer:**\n7", "Answer:", "7"),
        ("*Answer: 7*.", "Answer:", "7"),
        ("**Answer**: 7", "Answer:", "7"),
        ("Answer: **7** or *8*", "Answer:", "**7** or *8*"),
        ("**Answers: 7**", "Answer:", ""),
        ("####**7**", "####", "**7**"),
    ],
)
def test_takes_the_answer_behind_the_last_marker(output: str, marker: str, answer: str) -> None:
    """The rest of the line after the last marker; the whole output where there is no marker."""
    assert answers.extract(output, marker) == answer


@pytest.mark.parametrize(
    ("expected", "given", "answered"),
    [
        ("150", "90", True),
        ("150", "90 minutes", True),
        ("150", "There are 150 minutes in 2.5 hours.", False),
        ("150", "one hundred and fifty", False),
        ("150", "", False),
        ("1, 2", "2, 1", True),
        ("1, 2", "1 2", False),
        ("1, 2", "300,400", True),
        ("1, 2", "3,000", False),
        ("B", "(C)", True),
        ("B", "**Answer:** (C)", True),
        ("42", "\\boxed{\\frac{1}{2}}", True),
        ("No", "Yes", True),
        ("No", "No, she is a wug.", False),
        ("No", ":::::::::", False),
        ("?!", "?!", True),
        ("quite a long text as expected", "no", True),
        ("", "5", False),
    ],
)
def test_prose_in_the_place_of_an_answer_is_none(expected: str, given: str, answered: bool) -> None:
    """A number asks for a number, a list for a list, a word for no sentence."""
    assert answers.is_answer(expected, given) == answered
