r"""Answers: taken out of a model's text, and held against the expected one without any guess.

An output is read in two steps, both models' in the same way. `extract` takes the answer out: what
stands behind the template's marker, or all of it, without the words that only announce an answer
(`_LEAD_IN`). `agree` then reads both answers as a number, a list or a text. It forgives how an
answer is written and never what it says: numbers are compared as exact fractions, and whatever is
not understood is compared as text. So a sentence such as "There are 150 minutes in 2.5 hours" is
not searched for a number that might be meant: it is no right answer, and `is_answer` tells that it
is no wrong one either, but prose where a number was asked for. Such outputs are counted apart.

What is forgiven, everywhere:
    - upper and lower case, and how a letter is composed in Unicode (casefold, NFC);
    - white space at both ends, and how much of it stands between words;
    - one full stop at the end, or exclamation marks, which are never read as a factorial;
    - words before it that announce it (`_LEAD_IN`);
    - quotation marks, backticks, asterisks, TeX's $ and \boxed{} around all of it.

What is forgiven in a number:
    - commas between thousands, all of them (1,234,567) or none;
    - a plus sign, zeros at the end of decimals, a missing zero before the point (10.0 = 10);
    - a fraction, also a mixed one, for an equal number (2/4 = 1/2 = 0.5, 1 1/2 = 1.5);
    - one letter and an equals sign before it (x = 7), unless the other side names another letter;
    - the arithmetic that it is the result of (15 + 27 = 42), whether or not that is true;
    - a currency sign or a unit from `UNITS`, unless the other side names another unit.

What is not:
    - a per cent sign is part of the number: 50% is neither 50 nor 0.5, which both are meant by it;
    - zeros at the front make a code, not a number: 007 equals only 007;
    - a comma that does not separate thousands separates the items of a list: 1,5 is not 1.5;
    - a decimal that was rounded: 0.333 is not 1/3;
    - words that are not in `UNITS` stay (5 thousand is not 5).

What cannot be seen here is a question that asks for a form: where it wants capitals, lowest terms
or a decimal, the same word or number in another form is right too.

Because an unnamed unit agrees with any, agreement is symmetric but not transitive.
"""

import re
import unicodedata
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
    "degree Celsius": ("°c", "degrees celsius"),
    "degree Fahrenheit": ("°f", "degrees fahrenheit"),
}
UNITS: Mapping[str, str] = {
    spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings
}
_PERCENT = ("%", "percent", "per cent")
# What may stand around a whole answer; nothing of it says anything.
_WRAPPINGS = (
    *(("**", "**"), ("*", "*"), ("`", "`"), ('"', '"'), ("'", "'")),
    *(("\N{LEFT DOUBLE QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}"),),
    *(("\N{LEFT SINGLE QUOTATION MARK}", "\N{RIGHT SINGLE QUOTATION MARK}"),),
    *(("$", "$"), ("\\boxed{", "}")),
)
# A text that is longer than the expected one by more words than these is a sentence about it.
_MORE_WORDS = 3
# What is longer is compared as text: Python refuses to read integers of some thousand digits.
_LONGEST_NUMBER = 200

# ASCII digits only: Python's \d also takes superscripts of other scripts' digits.
_NUMBER = re.compile(
    r"""
    (?:(?P<letter>[a-z])\ ?=\ ?)?
    (?P<front>[+-]?[$€£¥₹]?|[$€£¥₹][+-])              # -$5 and $-5
    (?:(?P<whole>[1-9][0-9]*)\ (?=[0-9]+/))?          # of a mixed number
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

_OPERAND = r"[-+(]*[$€£¥₹]?[0-9][0-9.,]*%?\)*"
_ARITHMETIC = re.compile(rf"{_OPERAND}(?: ?[-+*/^x\u00d7\u00f7\u00b7] ?{_OPERAND})+")
# Words that announce an answer and say nothing about it. Only at the very beginning: later in a
# text there is always something before them that may say otherwise.
_LEAD_IN = re.compile(
    r"""
    \s* (?:(?:so|thus|hence|therefore),?\s+)?
    (?: (?:(?:the|my|our)\s+)? (?:(?:final|correct|right)\s+)? answer (?:\s+is\b\s*:?|\s*[:=])
      | it\s+(?:is|was|will\s+be|would\s+be)\b | it['\u2019]s\b
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Number:
    """An exact number as an answer gives it, with the unit and the letter that it names."""

    value: Fraction
    percent: bool
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

    With a marker it is the rest of the line after its last occurrence, because the reasoning
    before it may speak of answers too. Without one it is the whole output, which decoding has
    ended at the template's stop text: where that is a line end, an output that begins with one is
    no answer. Words that announce the answer are left out; the rest stays as it is, so that
    whatever the model added ("42, or maybe 43") is still judged with it.

    Example:
        >>> extract("3 and 4 make 7.\nAnswer: 7\n", "Answer:")
        '7'
        >>> extract(" The answer is 7.", ""), extract("The answer is not 7.", "")
        ('7.', 'not 7.')
    """
    if marker:
        _, found, rest = output.rpartition(marker)
        output = rest.strip().split("\n")[0] if found else ""
    return _unannounced(output)


def agree(expected: str, given: str) -> bool:
    """Tell whether two answers say the same; an empty answer agrees with nothing.

    Example:
        >>> agree("1234", "x = 1,234.0 km."), agree("5 km", "5 m"), agree("1/3", "0.333")
        (True, False, False)
    """
    left, right = parse(expected), parse(given)
    if not left or len(left) != len(right):
        return False
    return all(_items_agree(*pair) for pair in zip(left, right, strict=True))


def is_answer(expected: str, given: str) -> bool:
    """Tell whether an answer is of the kind that is asked for, be it right or wrong.

    For a number that is a number, for a list a list; for a text it is any word, and not many more
    than were expected. What is none was not answered, as far as m43 can read.

    Example:
        >>> is_answer("7", "8"), is_answer("7", "no idea"), is_answer("no", "No, I do not think so")
        (True, False, False)
    """
    wanted, found = parse(expected), parse(given)
    if not wanted or not found:
        return False
    if len(wanted) > 1:
        return len(found) > 1
    if isinstance(wanted[0], Number):
        return len(found) == 1 and isinstance(found[0], Number)
    says_something = found == wanted or any(letter.isalnum() for letter in given)
    return says_something and len(given.split()) <= len(expected.split()) + _MORE_WORDS


def parse(answer: str) -> Answer:
    """Read an answer as a number, a list or a text; nothing when it is empty."""
    text = _plain(answer)
    if not text:
        return ()
    whole = _number(text) or _result(text)
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
    # Of the expected answer too: "It is raining" must agree with itself.
    text = _without_stop(_unannounced(" ".join(text.split())))
    while (inner := _unwrapped(text)) != text:
        text = _without_stop(inner)
    return text


def _unannounced(text: str) -> str:
    announced = _LEAD_IN.match(text)
    rest = text[announced.end() :].strip() if announced else ""
    # Where no word follows, nothing was announced: "it is" can be an answer itself.
    return rest if any(letter.isalnum() for letter in rest) else text.strip()


def _unwrapped(text: str) -> str:
    for left, right in _WRAPPINGS:
        inner = text.removeprefix(left).removesuffix(right)
        wrapped = len(text) - len(inner) == len(left + right)
        # Not "'a' or 'b'", nor a lone mark: what is inside must be whole.
        if wrapped and left not in inner and right not in inner:
            return inner.strip()
    return text


def _without_stop(text: str) -> str:
    text = text.removesuffix(".") if text.endswith(".") else text.rstrip("!")
    return text.rstrip()


def _result(text: str) -> Number | None:
    """Read what stands behind the equals sign of one calculation."""
    calculation, _, result = text.rpartition("=")
    return _number(result.strip()) if _ARITHMETIC.fullmatch(calculation.strip()) else None


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
    value = Fraction(match["digits"].replace(",", ""))
    if match["whole"] and value >= 1:  # 1 3/2 is no mixed number
        return None
    sign = -1 if "-" in match["front"] else 1
    return Number(
        value=sign * (int(match["whole"] or 0) + value),
        percent=percent,
        unit=UNITS.get(name, ""),
        letter=match["letter"] or "",
    )


def _items_agree(left: Item, right: Item) -> bool:
    if not isinstance(left, Number) or not isinstance(right, Number):
        return left == right
    same = left.value == right.value and left.percent == right.percent
    return same and _names_agree(left.unit, right.unit) and _names_agree(left.letter, right.letter)


def _names_agree(left: str, right: str) -> bool:
    return left == right or not left or not right
