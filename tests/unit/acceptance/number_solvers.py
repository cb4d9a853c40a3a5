"""Solvers of the questions about numbers, money and measures."""

from decimal import Decimal
from fractions import Fraction
from itertools import accumulate, pairwise, permutations, repeat

from tests.unit.acceptance.solver import Solver, asked, form

# Every unit in one that all of its family share: metres, grams, litres, seconds.
IN_COMMON_UNIT = {
    "kilometres": Decimal(1000),
    "metres": Decimal(1),
    "centimetres": Decimal("0.01"),
    "kilograms": Decimal(1000),
    "grams": Decimal(1),
    "litres": Decimal(1),
    "millilitres": Decimal("0.001"),
    "days": Decimal(86400),
    "hours": Decimal(3600),
    "minutes": Decimal(60),
    "seconds": Decimal(1),
    # The international foot and inch, 1959.
    "feet": Decimal("0.3048"),
    "inches": Decimal("0.0254"),
}
ROMAN_TENS = ("", "X", "XX", "XXX")
ROMAN_ONES = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEENS = (
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"),
    *("seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
IN_WORDS = [*ONES, *TEENS, *(f"{ten}-{one}".removesuffix("-zero") for ten in TENS for one in ONES)]


def plain(number: Decimal) -> str:
    """Write a number without an exponent and without zeros that say nothing."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def money(amount: Decimal) -> str:
    """Write dollars, with two decimals unless they are whole."""
    return f"${amount:.0f}" if amount == amount.to_integral_value() else f"${amount:.2f}"


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(", ")]


def _yes(holds: bool) -> str:
    return "Yes" if holds else "No"


def _product(a: str, b: str) -> str:
    return str(sum(repeat(int(a), int(b))))


def _division(dividend: str, divisor: str) -> str:
    rest = int(dividend)
    quotient = 0
    while rest >= int(divisor):
        rest -= int(divisor)
        quotient += 1
    return f"{quotient} remainder {rest}"


def _percent(percent: str, whole: str) -> str:
    return plain(Decimal(percent) / 100 * Decimal(whole))


def _mean(numbers: str) -> str:
    return plain(Decimal(sum(_integers(numbers))) / len(_integers(numbers)))


def _rounded(number: str) -> str:
    # Python rounds a half to the even side; no question asks for a half.
    hundreds = Fraction(int(number.replace(",", "")), 100)
    return f"{round(hundreds) * 100:,}"


def _root(factor: str, addend: str, total: str) -> str:
    roots = [x for x in range(-200, 201) if int(factor) * x + int(addend) == int(total)]
    return " or ".join(map(str, roots))


def _next_by_step(numbers: str) -> str:
    shown = _integers(numbers)
    steps = {later - earlier for earlier, later in pairwise(shown)}
    return " or ".join(str(shown[-1] + step) for step in steps)


def _next_by_factor(numbers: str) -> str:
    shown = _integers(numbers)
    factors = {Fraction(later, earlier) for earlier, later in pairwise(shown)}
    return " or ".join(str(shown[-1] * factor) for factor in factors)


def _in_order(numbers: str) -> str:
    orders = permutations(_integers(numbers))
    found = next(order for order in orders if all(a < b for a, b in pairwise(order)))
    return ", ".join(map(str, found))


def _common_divisor(a: str, b: str) -> str:
    both = [d for d in range(1, int(a) + 1) if int(a) % d == 0 and int(b) % d == 0]
    return str(both[-1])


def _marble(red: str, blue: str, green: str, colour: str) -> str:
    bag = ["red"] * int(red) + ["blue"] * int(blue) + ["green"] * int(green)
    return str(Fraction(bag.count(colour), len(bag)))


def _change(number: str, price: str, note: str) -> str:
    cost = list(accumulate(repeat(Decimal(price), int(number))))[-1]
    if cost > int(note):
        return "not enough"
    return money(Decimal(note) - cost)


def _share(total: str, first: str, second: str) -> str:
    share = Fraction(int(total)) * Fraction(int(first), int(first) + int(second))
    return f"${share}"


def _converted(amount: str, unit: str, other: str) -> str:
    return plain(Decimal(amount) * IN_COMMON_UNIT[unit] / IN_COMMON_UNIT[other])


def _length_from_area(width: str, area: str) -> str:
    lengths = [n for n in range(1, int(area) + 1) if n * int(width) == int(area)]
    return f"{' or '.join(map(str, lengths))} cm"


def _length_from_perimeter(width: str, perimeter: str) -> str:
    around = int(perimeter)
    lengths = [n for n in range(1, around) if n + int(width) + n + int(width) == around]
    return f"{' or '.join(map(str, lengths))} cm"


NUMBER_SOLVERS: tuple[Solver, ...] = (
    form(r"Work out (?P<a>\d+) \+ (?P<b>\d+)\.", lambda a, b: plain(Decimal(a) + Decimal(b))),
    form(r"Work out (?P<a>\d+) - (?P<b>\d+)\.", lambda a, b: plain(Decimal(a) - Decimal(b))),
    form(r"What is the product of (?P<a>\d+) and (?P<b>\d+)\?", _product),
    form(
        r"Divide (?P<dividend>\d+) by (?P<divisor>\d+)\. Answer with quotient and remainder, in "
        r"the form '4 remainder 1'\.",
        _division,
    ),
    form(
        r"Evaluate (?P<a>\d+) \+ (?P<b>\d+) \* (?P<c>\d+)\.",
        lambda a, b, c: str(sum(repeat(int(b), int(c)), start=int(a))),
    ),
    form(
        r"Evaluate \((?P<a>\d+) \+ (?P<b>\d+)\) \* (?P<c>\d+)\.",
        lambda a, b, c: str(int(a) * int(c) + int(b) * int(c)),
    ),
    form(
        r"Evaluate (?P<a>\d+) \* (?P<b>\d+) - (?P<c>\d+)\.",
        lambda a, b, c: str(sum(repeat(int(a), int(b)), start=-int(c))),
    ),
    form(r"How much is (?P<percent>\d+)% of (?P<whole>\d+)\?", _percent),
    form(r"What is the mean of (?P<numbers>[\d, ]+)\?", _mean),
    form(
        r"Round (?P<number>[\d,]+) to the nearest hundred, with a comma for the thousands\.",
        _rounded,
    ),
    form(r"Solve (?P<factor>\d+)x \+ (?P<addend>\d+) = (?P<total>-?\d+) for x\.", _root),
    asked(
        r"whether this is a multiple of ten, Yes or No: (?P<number>\d+)",
        lambda number: _yes(number.endswith("0")),
    ),
    form(r"Is (?P<number>\d+) an even number\?", lambda number: _yes(number[-1] in "02468")),
    form(r"Is (?P<number>\d+) even, yes or no\?", lambda number: _yes(number[-1] in "02468")),
    form(r"Which number is smaller, (?P<a>\d) or (?P<b>\d)\?", lambda a, b: sorted((a, b))[0]),
    form(r"Name the smaller number: (?P<a>\d) or (?P<b>\d)\.", lambda a, b: sorted((a, b))[0]),
    form(
        r"Is (?P<a>\d) greater than (?P<b>\d)\?", lambda a, b: _yes(int(a) not in range(int(b) + 1))
    ),
    form(
        r"Is it true that (?P<a>\d) is more than (?P<b>\d)\?",
        lambda a, b: _yes(int(a) not in range(int(b) + 1)),
    ),
    form(r"Which number continues the sequence (?P<numbers>[-\d, ]+)\?", _next_by_step),
    form(
        r"In the sequence (?P<numbers>[\d, ]+) every number is the one before it times a fixed "
        r"factor\. Which number comes next\?",
        _next_by_factor,
    ),
    form(r"Order these numbers from smallest to largest: (?P<numbers>[\d, ]+)\.", _in_order),
    form(
        r"Find the greatest common divisor of (?P<a>\d+) and (?P<b>\d+)\.",
        _common_divisor,
    ),
    form(
        r"Add the fractions (?P<a>\d+/\d+) and (?P<b>\d+/\d+)\. Give the sum in lowest terms\.",
        lambda a, b: str(Fraction(a) + Fraction(b)),
    ),
    form(
        r"A bag holds (?P<red>\d+) red, (?P<blue>\d+) blue and (?P<green>\d+) green marbles\. One "
        r"is drawn without looking\. What is the probability that it is (?P<colour>\w+)\? Give a "
        r"fraction in lowest terms\.",
        _marble,
    ),
    form(
        r"Write the decimal number (?P<number>\d+) in binary\.",
        lambda number: f"{int(number):b}",
    ),
    form(
        r"Write (?P<tens>[1-3]?)(?P<ones>\d) as a Roman numeral\.",
        lambda tens, ones: ROMAN_TENS[int(tens or 0)] + ROMAN_ONES[int(ones)],
    ),
    form(r"Write the number (?P<number>\d+) in words\.", lambda number: IN_WORDS[int(number)]),
    form(
        r"A \w+ costs \$(?P<price>\d+)\. Its price is cut by (?P<percent>\d+)%\. What does it cost "
        r"now\?",
        lambda price, percent: money(Decimal(price) * (1 - Decimal(percent) / 100)),
    ),
    form(
        r"[A-Z]\w+ buys (?P<number>\d+) \w+ at \$(?P<price>[\d.]+) each and pays with a "
        r"\$(?P<note>\d+) note\. How much change is due\?",
        _change,
    ),
    form(
        r"(?P<_first>[A-Z]\w+) and [A-Z]\w+ share \$(?P<total>\d+) in the ratio "
        r"(?P<first>\d+):(?P<second>\d+)\. How much does (?P=_first) get\?",
        lambda _first, total, first, second: _share(total, first, second),
    ),
    form(
        r"A \w+ keeps a speed of (?P<speed>\d+) km/h for (?P<hours>[\d.]+) hours\. What distance "
        r"is covered\?",
        lambda speed, hours: f"{plain(Decimal(speed) * Decimal(hours))} km",
    ),
    form(
        r"Convert (?P<amount>[\d.]+) (?P<unit>\w+) to (?P<other>\w+)\. Give only the number\.",
        _converted,
    ),
    form(
        r"A rectangle is (?P<width>\d+) cm wide and has an area of (?P<area>\d+) cm²\. How long "
        r"is it\?",
        _length_from_area,
    ),
    form(
        r"A rectangle is (?P<width>\d+) cm wide and has a perimeter of (?P<perimeter>\d+) cm\. "
        r"How long is it\?",
        _length_from_perimeter,
    ),
)
