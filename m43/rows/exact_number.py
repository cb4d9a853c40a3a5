"""Exact numbers: read from an answer's one spelling, as fractions and with the unit they name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

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
    "degree Celsius": ("°c", "degree celsius", "degrees celsius"),
    "degree Fahrenheit": ("°f", "degree fahrenheit", "degrees fahrenheit"),
}
UNITS: Mapping[str, str] = {
    spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings
}
_PERCENT = ("%", "percent", "per cent")
# What is longer is no number: Python refuses to read integers of some thousand digits.
_LONGEST = 200

_WHOLE = "(?:0|[1-9][0-9]*)"  # no zeros at the front
_COMMAS = "[1-9][0-9]{0,2}(?:,[0-9]{3})+"  # between all thousands
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
# ASCII digits only: Python's \d also takes superscripts of other scripts' digits.
_NUMBER = re.compile(
    rf"""
    (?:(?P<letter>[a-z])\ ?=\ ?)?
    (?P<sign>[+-]?)
    (?:(?P<currency>(?:us)?\$|[€£¥₹]|usd|eur|gbp|jpy|inr)\ ?(?P<second_sign>[+-]?))?
    (?:(?P<mixed>{_COMMAS}|[1-9][0-9]*)\ (?=[0-9,]+/))?
    (?P<digits>
        (?:{_COMMAS}|{_WHOLE})/(?:{_COMMAS}|[1-9][0-9]*)
      | {_COMMAS}(?:\.[0-9]+)?
      | [1-9][0-9]{{0,2}}(?:\ [0-9]{{3}})+(?:\.[0-9]+)?
      | {_WHOLE}(?:\.[0-9]+)?
      | \.[0-9]+
    )
    (?: \ ?[x\u00d7*\u00b7]\ ?10\^\(?(?P<power>[+-]?[0-9]{{1,3}})\)?
      | \ ?[x\u00d7*\u00b7]\ ?10(?P<raised>⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]{{1,3}})
      | e(?P<exponent>[+-]?[0-9]{{1,3}})
    )?
    (?P<gap>\ ?)
    (?P<unit>[^0-9 .,=+-][^0-9,=+-]*[23]?)?
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True)
class Number:
    """An exact number as an answer gives it, with the unit and the letter that it names."""

    value: Fraction
    percent: bool
    unit: str  # empty when none is named
    letter: str  # of "x = 7"; empty when none is named


def read_number(text: str, *, grouped: bool) -> Number | None:
    """Read a text that is nothing but one number.

    Args:
        text: In the one spelling of `m43.rows.answer_spelling`.
        grouped: Whether a comma may stand between thousands; otherwise none may occur.

    Example:
        >>> read_number("-$1,000.50", grouped=True).value, read_number("1,000", grouped=False)
        (Fraction(-2001, 2), None)
    """
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or not (grouped or "," not in text):
        return None
    named = _name(match)
    value = _value(match)
    if named is None or value is None or (match["sign"] and match["second_sign"]):
        return None
    percent = named in _PERCENT
    return Number(
        value=-value if "-" in (match["sign"], match["second_sign"]) else value,
        percent=percent,
        unit="" if percent else UNITS.get(named, ""),
        letter=match["letter"] or "",
    )


def _name(match: re.Match[str]) -> str | None:
    """Return the one unit or per cent sign; empty when there is none, None when it is not known."""
    word = (match["unit"] or "").replace("° ", "°").replace(" / ", "/")
    currency = (match["currency"] or "").removeprefix("us" if match["currency"] == "us$" else "")
    # "5m" may be five metres or five million; only "5 m" is a length.
    if word == "m" and not match["gap"]:
        return None
    if currency and word and UNITS[currency] != UNITS.get(word):
        return None
    name = word or currency
    return name if not name or name in _PERCENT or name in UNITS else None


def _value(match: re.Match[str]) -> Fraction | None:
    digits = match["digits"].replace(",", "").replace(" ", "")
    power = match["power"] or match["exponent"]
    power = power or (match["raised"] or "0").translate(_SUPERSCRIPTS)
    value = Fraction(digits)
    if match["mixed"] and value >= 1:  # 1 3/2 is no mixed number
        return None
    value += int((match["mixed"] or "0").replace(",", ""))
    scaled = any(match[name] for name in ("power", "exponent", "raised"))
    if scaled and "/" in digits:
        return None
    return value * Fraction(10) ** int(power)
