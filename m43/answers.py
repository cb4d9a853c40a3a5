"""Answers: taken out of a model's text, and held against the expected one without any guess.

Two answers agree when they are the same number, the same list or the same text after the
normalisation below. It forgives how an answer is written and never what it says: numbers are
compared as exact fractions, and whatever is not understood is compared as text.

What is forgiven, everywhere:
    - upper and lower case, and how a letter is composed in Unicode (casefold, NFC);
    - white space at both ends, and how much of it stands between words;
    - one full stop at the end.

What is forgiven in a number:
    - commas between thousands, all of them (1,234,567) or none;
    - a plus sign, zeros at the end of decimals, a missing zero before the point (10.0 = 10);
    - one letter and an equals sign before it (x = 7), unless the other side names another letter;
    - a currency sign or a unit from `UNITS`, unless the other side names another unit.

What is not:
    - a fraction is equal to an equal fraction (2/4 = 1/2), never to a decimal;
    - a per cent sign is part of the number: 50% is neither 50 nor 0.5;
    - zeros at the front make a code, not a number: 007 equals only 007;
    - a comma that does not separate thousands separates the items of a list: 1,5 is not 1.5;
    - words that are not in `UNITS` stay (5 thousand is not 5).

Because an unnamed unit agrees with any, agreement is symmetric but not transitive.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

# Each unit with all its spellings. What is written one way in two units ("pounds", "in", "m"
# glued to a number, which may be a million) is left out or handled apart, so that no unit is
# ever guessed.
_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "dollar": ("$", "dollar", "dollars", "usd"),
    "euro": ("€", "euro", "euros", "eur"),
    "pound sterling": ("£", "gbp"),
    "yen": ("¥", "yen", "jpy"),
    "rupee": ("₹", "rupee", "rupees", "inr"),
    "cent": ("¢", "cent", "cents"),
    "millimetre": ("mm", "millimeter", "millimeters", "millimetre", "millimetres"),
    "centimetre": ("cm", "centimeter", "centimeters", "centimetre", "centimetres"),
    "metre": ("m", "meter", "meters", "metre", "metres"),
    "kilometre": ("km", "kilometer", "kilometers", "kilometre", "kilometres"),
    "inch": ("inch", "inches"),
    "foot": ("ft", "foot", "feet"),
    "yard": ("yd", "yard", "yards"),
    "mile": ("mi", "mile", "miles"),
    "square centimetre": (
        "cm²",
        "cm^2",
        "cm2",
        "sq cm",
        "square centimeters",
        "square centimetres",
    ),
    "square metre": ("m²", "m^2", "m2", "sq m", "square meters", "square metres"),
    "square kilometre": ("km²", "km^2", "km2", "sq km", "square kilometers", "square kilometres"),
    "cubic centimetre": ("cm³", "cm^3", "cm3", "cubic centimeters", "cubic centimetres"),
    "cubic metre": ("m³", "m^3", "m3", "cubic meters", "cubic metres"),
    "milligram": ("mg", "milligram", "milligrams"),
    "gram": ("g", "gram", "grams"),
    "kilogram": ("kg", "kilogram", "kilograms"),
    "ounce": ("oz", "ounce", "ounces"),
    "pound": ("lb", "lbs"),
    "millilitre": ("ml", "milliliter", "milliliters", "millilitre", "millilitres"),
    "litre": ("l", "liter", "liters", "litre", "litres"),
    "second": ("s", "sec", "secs", "second", "seconds"),
    "minute": ("min", "mins", "minute", "minutes"),
    "hour": ("h", "hr", "hrs", "hour", "hours"),
    "day": ("day", "days"),
    "week": ("week", "weeks"),
    "month": ("month", "months"),
    "year": ("year", "years"),
    "kilometre per hour": ("km/h", "kph", "kilometers per hour", "kilometres per hour"),
    "mile per hour": ("mph", "miles per hour"),
    "metre per second": ("m/s", "meters per second", "metres per second"),
    "degree": ("°", "degree", "degrees"),
    "degree Celsius": ("°c", "degrees celsius"),
    "degree Fahrenheit": ("°f", "degrees fahrenheit"),
}
UNITS: Mapping[str, str] = {
    spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings
}
_PERCENT = ("%", "percent", "per cent")
# What is longer is compared as text: Python refuses to read integers of some thousand digits.
_LONGEST_NUMBER = 200

# ASCII digits only: Python's \d also takes superscripts of other scripts' digits.
_NUMBER = re.compile(
    r"""
    (?:(?P<letter>[a-z])\ ?=\ ?)?
    (?P<front>[+-]?[$€£¥₹]?|[$€£¥₹][+-])              # -$5 and $-5
    (?P<digits>
        (?:0|[1-9][0-9]*)/[1-9][0-9]*                 # a fraction
      | [1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]+)?    # commas between all thousands
      | (?:0|[1-9][0-9]*)(?:\.[0-9]+)?                # plain; no zeros at the front
      | \.[0-9]+
    )
    (?P<gap>\ ?)
    (?P<unit>[^0-9 .,=+-][^0-9,=+-]*[23]?)?
    """,
    re.VERBOSE,
)

Kind = Literal["decimal", "fraction", "percent"]


@dataclass(frozen=True, kw_only=True)
class Number:
    """An exact number as an answer gives it, with the unit and the letter that it names."""

    value: Fraction
    kind: Kind
    unit: str  # empty when none is named
    letter: str  # of "x = 7"; empty when none is named


@dataclass(frozen=True, kw_only=True)
class Text:
    """An answer that is not a number."""

    text: str


Item = Number | Text
Answer = tuple[Item, ...]  # more than one item: a list


def extract(output: str, marker: str) -> str:
    r"""Take the answer out of a model's output; empty when there is none.

    With a marker the answer is the rest of the line after its last occurrence, because the
    reasoning before it may speak of answers too. Without one the whole output is the answer.

    Example:
        >>> extract("3 and 4 make 7.\nAnswer: 7\n", "Answer:")
        '7'
        >>> extract(" 7 ", "")
        '7'
    """
    if not marker:
        return output.strip()
    _, found, rest = output.rpartition(marker)
    return rest.strip().split("\n")[0].strip() if found else ""


def agree(expected: str, given: str) -> bool:
    """Tell whether two answers say the same; an empty answer agrees with nothing.

    Example:
        >>> agree("1234", "x = 1,234.0 km."), agree("5 km", "5 m"), agree("1/2", "0.5")
        (True, False, False)
    """
    left, right = parse(expected), parse(given)
    if not left or len(left) != len(right):
        return False
    return all(_items_agree(*pair) for pair in zip(left, right, strict=True))


def parse(answer: str) -> Answer:
    """Read an answer as a number, a list or a text; nothing when it is empty."""
    text = _plain(answer)
    if not text:
        return ()
    whole = _number(text)
    if whole is not None:
        return (whole,)
    # "1,234, 5" lists 1,234 and 5: where commas are followed by spaces, only those separate.
    items = text.split(", ") if ", " in text else text.split(",")
    if len(items) == 1 or not all(item.strip() for item in items):
        return (Text(text=text),)
    return tuple(_number(item.strip()) or Text(text=item.strip()) for item in items)


def _plain(answer: str) -> str:
    # NFC, not NFKC: the latter would make 52 of 5².
    text = unicodedata.normalize("NFC", answer.casefold()).replace("\N{MINUS SIGN}", "-")
    text = " ".join(text.split())
    return text.removesuffix(".").rstrip()


def _number(text: str) -> Number | None:
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
    if match is None:
        return None
    word, currency = match["unit"] or "", match["front"].strip("+-")
    # "5m" may be five metres or five million; only "5 m" is a length.
    if (word == "m" and not match["gap"]) or (word and currency):
        return None
    percent, name = word in _PERCENT, word or currency
    if name and not percent and name not in UNITS:
        return None
    sign = -1 if "-" in match["front"] else 1
    kind: Kind = "fraction" if "/" in match["digits"] else "decimal"
    return Number(
        value=sign * Fraction(match["digits"].replace(",", "")),
        kind="percent" if percent else kind,
        unit=UNITS.get(name, ""),
        letter=match["letter"] or "",
    )


def _items_agree(left: Item, right: Item) -> bool:
    if not isinstance(left, Number) or not isinstance(right, Number):
        return left == right
    same = left.value == right.value and left.kind == right.kind
    return same and _names_agree(left.unit, right.unit) and _names_agree(left.letter, right.letter)


def _names_agree(left: str, right: str) -> bool:
    return left == right or not left or not right
