"""The evaluation rows that no training template asks: each answer worked out or looked up."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import count, permutations, product

from tests.unit.acceptance import facts
from tests.unit.acceptance.word_solvers import weekday


def _minutes_to_fill() -> str:
    litres = 0
    for minute in count(1):
        litres += 15 - 3
        if litres >= 240:
            return str(minute)
    raise AssertionError("the tank never fills")


def _cake_left() -> str:
    return str(1 - sum(map(Fraction, ("2/5", "1/4", "1/10"))))


def _nine_with_two_dice() -> str:
    throws = list(product(range(1, 7), repeat=2))
    return str(Fraction(sum(sum(throw) == 9 for throw in throws), len(throws)))


def _age_of_the_son() -> str:
    ages = [age for age in range(1, 100) if 4 * age + 20 == 2 * (age + 20)]
    return " or ".join(map(str, ages))


def _smallest_with_remainders() -> str:
    return str(next(n for n in count(1) if (n % 3, n % 4, n % 5) == (2, 3, 1)))


def _added_number() -> str:
    numbers = [15] * 6
    return str(next(n for n in count(0) if Fraction(sum(numbers) + n, 7) == 17))


def _colours_among_words() -> str:
    return str([facts.KIND.get(word) for word in ("red", "dog", "blue")].count("colour"))


SOLUTIONS: Mapping[str, Callable[[], str]] = {
    "eval-v2-056": lambda: "Iron",  # IUPAC, periodic table
    "eval-v2-057": lambda: "Mercury",  # International Astronomical Union, list of planets
    "eval-v2-058": lambda: "11",  # IFAB, Laws of the Game, law 3
    "eval-v2-059": lambda: "oxygen",  # biology at school
    "eval-v2-060": lambda: "100",  # definition of the centigrade scale at one atmosphere
    "eval-v2-079": _minutes_to_fill,
    "eval-v2-080": _cake_left,
    "eval-v2-081": _nine_with_two_dice,
    "eval-v2-082": _age_of_the_son,
    "eval-v2-083": _smallest_with_remainders,
    "eval-v2-084": _added_number,
    "eval-v2-085": lambda: str(len(set(permutations("LEVEL")))),
    "eval-v2-086": lambda: weekday("Friday", -1),
    "eval-v2-087": lambda: facts.CAPITAL["Norway"],
    "eval-v2-088": lambda: str(0 * 8451),
    "eval-v2-090": lambda: f"{999_999 + 1:,}",
    "eval-v2-095": lambda: str(float(max(Fraction("0.9"), Fraction("0.11")))),
    "eval-v2-098": lambda: facts.PLURAL["box"],
    "eval-v2-099": _colours_among_words,
    "eval-v2-100": lambda: str(Fraction("0.5") == Fraction(1, 2)).lower(),
}
