r"""Answers: extracted from a model's output, and compared with the expected one without guessing.

An output is read in two steps, both models' in the same way. `extract` takes the answer out: what
stands behind the template's marker, or all of it, without the words that only announce an answer.
`agree` then brings both answers into one spelling (`m43.rows.answer_spelling`) and reads each as a
number, a list or a text. It forgives how an answer is written and never what it says: numbers are
compared as exact fractions, and whatever is not understood is compared as text. So a sentence such
as "There are 150 minutes in 2.5 hours" is not searched for a number that might be meant: it is no
right answer, and by `is_answer` it is no wrong one either, but prose where a number was
asked for. Such outputs are counted apart.

What is forgiven, everywhere, each alone and all at once:
    - upper and lower case, and how a letter is composed in Unicode (casefold, NFC);
    - white space of every width at both ends, and how much of it stands between words; characters
      that cannot be seen; digits and letters in another width or font;
    - which hyphen, dash, minus, apostrophe or quotation mark is used;
    - one full stop, comma, colon or semicolon at the end, or exclamation marks, which are never
      read as a factorial;
    - words before it that announce it, in bold or not, an equals sign, the mark of a heading;
    - quotation marks, backticks, asterisks, brackets around all of it;
    - TeX: $, $$, \( \), \[ \], \boxed{}, \text{} and fonts, \left, \right and spaces, escaped
      signs, \frac for a fraction, the signs that have a name.

What is forgiven in a number:
    - commas or spaces between thousands, all of them (1,234,567) or none;
    - a plus sign, zeros at the end of decimals, a missing zero before the point (10.0 = 10);
    - a fraction, also a mixed one, for an equal number (2/4 = ½ = 0.5, 1½ = 1.5);
    - scientific notation (1e3 = 1 x 10^3 = 1000);
    - one letter and an equals sign before it (x = 7), unless the other side names another letter;
    - the arithmetic that it is the result of (15 + 27 = 42), whether or not that is true;
    - a currency or a unit from `UNITS`, unless the other side names another unit.

What is forgiven in a list:
    - spaces between its items, semicolons for commas, "and" before the last one;
    - the brackets around it, unless the other side has others. A half-open interval is never the
      same without its brackets;
    - the order, where the expected answer is a set, in braces.

What is forgiven in a text:
    - the bracket behind one letter (B);
    - the hyphen of number words, and the "and" within (one hundred and five);
    - how a time of day is written (3PM = 3:00 p.m., 09:05 = 9:05).

What is not:
    - a per cent sign is part of the number: 50% is neither 50 nor 0.5, which both are meant by it;
    - zeros at the front make a code, not a number: 007 equals only 007;
    - a comma that does not separate thousands separates the items of a list: 1,5 is not 1.5;
    - a space before a sign: "- 5" may be an item of a list as well as less than nothing;
    - a decimal that was rounded: 0.333 is not 1/3;
    - words that are not in `UNITS` stay (5 thousand is not 5).

What cannot be seen here is a question that asks for a form: where it wants capitals, lowest terms
or a decimal, the same word or number in another form is right too.

Because an unnamed unit agrees with any, agreement is not transitive. It has a direction only
where a comma is between three digits, and for sets: given to a list, "100,200" is a list of two,
given to a number, one number; expected, it is one number, unless brackets are around it.
"""

import functools
import re
from dataclasses import dataclass, replace
from typing import Literal, get_args

from m43.rows.answer_spelling import (
    LONGEST,
    spelled,
    unannounced,
    undressed,
    unwrapped,
    without_emphasis,
    worded,
)
from m43.rows.exact_number import Number, read_number

# A text that is longer than the expected one by more words than these is a sentence about it.
_MORE_WORDS = 3
# Lists in lists in lists; what is nested deeper is a text.
_DEEPEST = 4
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_HALF_OPEN = ("[)", "(]")

_OPERAND = r"[-+(]*[$€£¥₹]?[0-9][0-9.,]*%?\)*"
_ARITHMETIC = re.compile(rf"{_OPERAND}(?: ?[-+*/^x\u00d7\u00f7\u00b7] ?{_OPERAND})+")
_EMPHASIS_AT_END = re.compile(r"[*_]{1,3}\Z")


@dataclass(frozen=True, kw_only=True)
class Text:
    """An answer that is neither a number nor a list."""

    text: str


@dataclass(frozen=True, kw_only=True)
class List:
    """An answer of several items, in their order."""

    items: tuple["Answer", ...]
    brackets: str  # the opening and the closing one; empty when it has none


Answer = Number | Text | List


def extract(output: str, marker: str) -> str:
    r"""Extract the answer from a model's output; empty when there is none.

    With a marker it is the rest of the line after its last occurrence, because the reasoning
    before it may speak of answers too; the marks that put the marker in bold go with it. Without
    one it is the whole output, which decoding has ended at the template's stop text: where that
    is a line end, an output that begins with one is no answer. Words that announce the answer are
    left out; the rest stays as it is, so that whatever the model added ("42, or maybe 43") is
    still judged with it.

    Example:
        >>> extract("3 and 4 make 7.\n**Answer:** 7\n", "Answer:")
        '7'
        >>> extract(" The answer is 7.", ""), extract("The answer is not 7.", "")
        ('7.', 'not 7.')
    """
    return unannounced(_behind(marker, output) if marker else output)


def agree(expected: str, given: str) -> bool:
    """Return whether an answer equals the expected one; an empty one equals nothing.

    Example:
        >>> agree("1234", "x = 1,234.0 km."), agree("5 km", "5 m"), agree("1/3", "0.333")
        (True, False, False)
        >>> agree("100, 200", "100,200"), agree("100,200", "100, 200")
        (True, False)
    """
    wanted = parse(expected)
    return wanted is not None and any(_same(wanted, found) for found in _readings(given))


# A row is asked for in each of its groups, and again by each gate that reads the run.
@functools.lru_cache(maxsize=8192)
def is_answer(expected: str, given: str) -> bool:
    """Return whether an answer is of the kind that is asked for, be it right or wrong.

    For a number that is a number, for a list a list; for a text it is any word, and not many more
    than were expected. What is none was not answered, as far as m43 can read.

    Example:
        >>> is_answer("7", "8"), is_answer("7", "no idea"), is_answer("no", "No, I do not think so")
        (True, False, False)
    """
    wanted, found = parse(expected), _readings(given)
    if wanted is None or not found:
        return False
    if not isinstance(wanted, Text):
        return any(isinstance(each, type(wanted)) for each in found)
    text = spelled(given)
    words, most = len(text.split()), len(spelled(expected).split()) + _MORE_WORDS
    return wanted in found or (any(letter.isalnum() for letter in text) and words <= most)


def parse(answer: str) -> Answer | None:
    """Read an expected answer as a number, a list or a text; None when it is empty."""
    return next(iter(_readings(answer)), None)


def _behind(marker: str, output: str) -> str:
    """Return the line behind the last marker, whose emphasis may end in it or behind it."""
    words, colon = marker.removesuffix(":"), marker.endswith(":")
    behind = "([*_]{0,3}):" if colon else "()"  # "**Answer**:" for "Answer:"
    found = re.fullmatch(f"(.*){re.escape(words)}{behind}(.*)", output, re.DOTALL)
    if found is None:
        return ""
    opened = _EMPHASIS_AT_END.search(found[1])
    mark = opened[0] if opened and not found[2] else ""
    rest = found[3].strip()
    line = rest.removeprefix(mark).strip().split("\n")[0]
    return line if rest.startswith(mark) else without_emphasis(line, mark)


def _readings(answer: str) -> tuple[Answer, ...]:
    """Read an answer in every way in which it can be meant, the likeliest first."""
    text = spelled(answer)
    if not text or len(text) > LONGEST:
        return (Text(text=text),) if text else ()
    number, several = (_read(text, grouped=grouped, depth=0) for grouped in (True, False))
    if number == several or not _only_numbers(several):
        return (number,)
    return (several, number) if _bracketed(text) else (number, several)


def _only_numbers(answer: Answer) -> bool:
    """Return whether something is a list of numbers, or of such lists."""
    return isinstance(answer, List) and all(
        isinstance(item, Number) or _only_numbers(item) for item in answer.items
    )


def _read(text: str, *, grouped: bool, depth: int) -> Answer:
    """Read a text.

    Args:
        text: In its one spelling.
        grouped: Whether a comma between three digits separates thousands, where it can.
        depth: How many brackets are around it.
    """
    whole = read_number(text, grouped=grouped) or _result(text, grouped=grouped)
    if whole is not None:
        return whole
    if depth < _DEEPEST and (brackets := _bracketed(text)):
        return _unbracketed(text, brackets, grouped=grouped, depth=depth)
    parts = _parts(text)
    if len(parts) == 1:
        return Text(text=worded(text))
    items = (_item(part, grouped=grouped, depth=depth) for part in parts)
    return List(items=tuple(items), brackets="")


def _item(text: str, *, grouped: bool, depth: int) -> Answer:
    text = unwrapped(text)
    if depth < _DEEPEST and (brackets := _bracketed(text)):
        return _unbracketed(text, brackets, grouped=grouped, depth=depth)
    return read_number(text, grouped=grouped) or Text(text=worded(text))


def _unbracketed(text: str, brackets: str, *, grouped: bool, depth: int) -> Answer:
    """Read what is inside of brackets, which are kept where they are those of a list."""
    inner = _read(undressed(text[1:-1]), grouped=grouped, depth=depth + 1)
    if not isinstance(inner, List):
        return Text(text=text) if brackets in _HALF_OPEN else inner
    if inner.brackets:
        return List(items=(inner,), brackets=brackets)
    return replace(inner, brackets=brackets)


def _bracketed(text: str) -> str:
    """Return the brackets around all of a text; those of a half-open interval are two kinds."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if depth <= 0:
            around = text[0] + sign
            whole = 1 < place == len(text) - 1 and (
                around in _HALF_OPEN or _BRACKETS.get(text[0]) == sign
            )
            return around if whole else ""
    return ""


def _parts(text: str) -> list[str]:
    """Split a list at its separators; a text that is none stays whole."""
    # "1,234, 5" lists 1,234 and 5: where commas are followed by spaces, only those separate.
    several = _split(text, ";"), _split(text, ", "), _pair(text), _split(text, ",")
    parts = next((parts for parts in several if len(parts) > 1), [text])
    *front, last = parts
    if front:
        pair = _split(last.removeprefix("and "), " and ")
        parts = [*front, *pair] if len(pair) <= 2 else parts
    return parts if all(parts) else [text]


def _pair(text: str) -> list[str]:
    # "1 and 2" lists two; "fish and chips" is one.
    parts = [unwrapped(part) for part in _split(text, " and ")]
    clear = all(
        len(part) == 1 or _bracketed(part) or read_number(part, grouped=True) for part in parts
    )
    return parts if len(parts) == 2 and clear else [text]


def _split(text: str, separator: str) -> list[str]:
    """Split a text at a separator, wherever it is not inside of brackets."""
    parts, start, depth = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0 and text.startswith(separator, place):
            parts.append(text[start:place].strip())
            start = place + len(separator)
    return [*parts, text[start:].strip()]


def _result(text: str, *, grouped: bool) -> Number | None:
    """Read what stands behind the equals sign of one calculation."""
    calculation, _, result = text.rpartition("=")
    if not _ARITHMETIC.fullmatch(calculation.strip()):
        return None
    answer = unwrapped(result)
    if _bracketed(answer) not in ("", *_HALF_OPEN):
        answer = unwrapped(answer[1:-1])
    return read_number(answer, grouped=grouped)


def _same(wanted: Answer, found: Answer) -> bool:
    if isinstance(wanted, Number) and isinstance(found, Number):
        same = wanted.value == found.value and wanted.percent == found.percent
        return (
            same
            and _names_agree(wanted.unit, found.unit)
            and _names_agree(wanted.letter, found.letter)
        )
    if isinstance(wanted, List) and isinstance(found, List):
        return _same_list(wanted, found)
    return wanted == found


def _same_list(wanted: List, found: List) -> bool:
    if len(wanted.items) != len(found.items):
        return False
    if {wanted.brackets, found.brackets}.intersection(_HALF_OPEN):
        brackets_agree = wanted.brackets == found.brackets
    else:
        brackets_agree = _names_agree(wanted.brackets, found.brackets)
    pairs = zip(wanted.items, found.items, strict=True)
    if wanted.brackets == "{}":
        pairs = zip(*(sorted(each.items, key=repr) for each in (wanted, found)), strict=True)
    return brackets_agree and all(_same(*pair) for pair in pairs)


def _names_agree(left: str, right: str) -> bool:
    return left == right or not left or not right


Form = Literal["number", "fraction", "money", "percent", "number with unit", "list", "text"]
FORMS: tuple[Form, ...] = get_args(Form)

# Names of `m43.rows.exact_number.UNITS` that are amounts of money.
_MONEY = frozenset(("dollar", "euro", "pound sterling", "yen", "rupee", "cent"))


def form_of(answer: str) -> Form:
    """Return the form of an answer.

    Example:
        >>> [form_of(text) for text in ("7", "1/216", "$2.37", "472 km", "5, 7", "Friday")]
        ['number', 'fraction', 'money', 'number with unit', 'list', 'text']
    """
    item = parse(answer)
    if isinstance(item, List):
        return "list"
    if not isinstance(item, Number):
        return "text"
    if item.percent:
        return "percent"
    if item.unit:
        return "money" if item.unit in _MONEY else "number with unit"
    return "fraction" if "/" in spelled(answer) else "number"
