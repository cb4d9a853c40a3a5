r"""Normalise answers: what people and models write in many ways gets one spelling.

`spelled` takes these steps, in this order, of which each forgives one kind of writing:
    1. characters: the same sign in another width, script or shape, and what cannot be seen;
    2. wrappings, announcements and a final stop, which stand around an answer and say nothing;
    3. TeX: commands that only lay out, fractions, powers and the signs that have a name there;
    4. the second step again, for what was inside.
`worded` does the rest for an answer that turned out to be no number: times of day, number words.

Nothing here knows what an answer means. A step may join what belongs together; it never brings
two numbers together that stood apart.
"""

import re
import string
import unicodedata
from collections.abc import Mapping
from itertools import accumulate

# What is longer is no answer that anybody dressed up: of it only case and spaces are forgiven.
LONGEST = 1000

# Soft hyphen, zero-width spaces and joiners, marks of direction, variation selectors. Not all of
# Unicode's format characters: the invisible times stands between two numbers.
_INVISIBLE = dict.fromkeys([0xAD, *range(0x200B, 0x2010), 0x2060, 0xFE0E, 0xFE0F, 0xFEFF])
_SAME_SIGN: Mapping[int, str] = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63", "-"),
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u00b4", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2044\u2215", "/"),
        **dict.fromkeys("\u00ba\u02da", "°"),
        "\u2103": "°c",
        "\u2109": "°f",
        "\u3002": ".",
    }
)
_BETWEEN_NUMBERS = re.compile(r"(?<=[0-9])(?:\s{2,}|[\t-\r\x1c-\x1f\x85\u2028\u2029])(?=[0-9])")
# One half as one sign, or with small digits on both sides of a slash; NFKC writes them out.
_SMALL_FRACTION = re.compile(
    "[\u00bc-\u00be\u2150-\u215e\u2189]|[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+\u2044[\u2080-\u2089]+"
)
# TeX's escaped signs. They wait in their wide form, which step 1 leaves nowhere else, until the
# bare $ and braces, which mean something else, have been read.
_ESCAPED = {r"\$": "\uff04", r"\{": "\uff5b", r"\}": "\uff5d"}
_UNESCAPED = str.maketrans({"\uff04": "$", "\uff5b": "{", "\uff5d": "}"})

_FONTS = (
    "text|textbf|textit|textrm|texttt|emph|mathrm|mathbf|mathit|mathsf|mathtt|mbox|operatorname"
)
# What may stand around a whole answer without meaning.
_WRAPPINGS = (
    *((mark, mark) for mark in ("***", "**", "*", "```", "`", '"', "'", "$$", "$")),
    *((r"\(", r"\)"), (r"\[", r"\]")),
    *((f"\\{command}{{", "}") for command in ("boxed", "fbox", *_FONTS.split("|"))),
)
_APOSTROPHE = re.compile(r"(?<=\w)'(?=\w)")
# Words that announce an answer and say nothing about it. Only at the very beginning: later in a
# text there is always something before them that may say otherwise.
_LEAD_IN = re.compile(
    r"""
    \s* [*_]{0,4} (?:(?:so|thus|hence|therefore),?\s+)?
    (?: [*_]{0,4} (?:(?:the|my|our)\s+)?
        [*_]{0,4} (?:(?:final|correct|right)\s+){0,2} (?:answer|solution|result|option|choice)
        (?:\s+to\s+(?:the|this|your)\s+(?:question|problem))? [*_]{0,4}
        (?: \s+is\b\s*:? | \s*[:=] | \s*\n | \s+(?=\(?[a-z]\)?[.!*]*\s*$) )
      | it\s+(?:is|was|will\s+be|would\s+be)\b | it['\u2019]s\b
      | =(?!=)
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)
# "Final answer: so the answer is: = 7" has as many as anybody writes.
_MOST_LEAD_INS = 3
_EMPHASIS = re.compile(r"\*+|_+")
_ENDING = f".,;:!\u3002{string.whitespace}\N{NO-BREAK SPACE}\u2009\u202f\u3000"
_HEADING = re.compile(r"#{1,6} |[*\u2022] ")

_LAYOUT = re.compile(r"\\(?:left|right|displaystyle|textstyle|bigg?[lr]?)(?![a-z])|\\!")
_SPACE = re.compile(r"\\[,;: ]|(?<=[0-9{}])~(?=[\\a-z])")
_QUAD = re.compile(r"\\q?quad(?![a-z])")
_SIGNS: Mapping[str, str] = {
    **{"%": "%", "#": "#", "&": "&", "_": "_", "textdollar": "\uff04"},
    **{"times": "\u00d7", "cdot": "·", "div": "÷", "pm": "±", "pi": "π", "infty": "∞"},
    **{"degree": "°", "circ": "°", "euro": "€", "pounds": "£"},
}
_SIGN = re.compile(r"\\([%#&_]|[a-z]+)")
_DEGREE = re.compile(r"\^(?:°|\{°\})")
_GROUP = re.compile(rf"\\(?:{_FONTS}) ?\{{([^{{}}]*)\}}")
_ROOT = re.compile(r"\\sqrt ?\{([^{}]*)\}")
_POWER = re.compile(r"\^\{(?:([+-]?[0-9]+)\}(?![0-9])|([a-z])\}(?![0-9a-z]))")
_FRACTION = re.compile(r"\\[dtc]?frac ?(\{[^{}]*\}|[0-9]) ?(\{[^{}]*\}|[0-9])")
_OPERAND = re.compile(r"[+-]?[0-9][0-9.,]*|[a-z]")
# What parts a number from the one before and behind it stays, lest they become one. A dollar opens
# mathematics where a space does not follow, and closes it where none is before it: "$5, $6" and
# "$5-$10" are amounts of money.
_DELIMITED = re.compile(
    r"""(?<![0-9a-z])(?<![0-9][., ])
    (?: \$\$([^$]+)\$\$ | \$(?![ $])([^$]+)(?<![ ])\$(?!\$)
      | \\\((.+?)\\\) | \\\[(.+?)\\\] | \\(?:boxed|fbox)\ ?\{([^{}]*)\}
    )(?![., ]?[0-9])""",
    re.VERBOSE | re.DOTALL,
)

_ONES = "one|two|three|four|five|six|seven|eight|nine"
_ORDINALS = "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth"
_PARTS = "half|halves|thirds?|quarters?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?"
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_TEENS = "ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen"
_SCALES = "hundred|thousand|million|billion"
_HYPHEN = re.compile(
    rf"\b(?:(?:{_TENS})(?=-(?:{_ONES}|{_ORDINALS})\b)|(?:{_ONES})(?=-(?:{_PARTS}|{_SCALES})\b))-"
)
_AND = re.compile(rf"\b({_SCALES}) and (?=(?:{_ONES}|{_TENS}|{_TEENS})\b)")
_CLOCK = re.compile(
    r"(?P<hour>[0-9]{1,2})(?P<rest>(?::[0-9]{2}){0,2})(?:\ ?(?P<half>[ap])\.?\ ?m\.?)?"
)
_LETTER = re.compile(r"([a-z])\)")


def spelled(answer: str) -> str:
    r"""Return an answer in its one spelling; empty when nothing of it is visible.

    Example:
        >>> spelled("**Answer:** $\\dfrac{1}{2}$."), spelled("\uff11½"), spelled("\\$18")
        ('1/2', '1 1/2', '$18')
    """
    if len(answer.strip()) > LONGEST:
        return _joined(_in_one_case(answer))
    outside = undressed(_characters(answer))
    inside = _read_tex(outside)
    text = outside if inside == outside else undressed(_joined(inside))
    return _joined(text.translate(_UNESCAPED))


def undressed(text: str) -> str:
    """Strip what stands around an answer, layer by layer, with one final stop for each."""
    text = _without_stop(text)
    while (inner := _without_layer(text)) != text:
        text = _without_stop(inner)
    return text


def unwrapped(text: str) -> str:
    """Strip the marks that stand around all of a text."""
    text = text.strip()
    while (inner := _without_marks(text)) != text:
        text = inner
    return text


def unannounced(text: str) -> str:
    """Strip the words that announce an answer, with their emphasis.

    Example:
        >>> unannounced("**Final answer:** 42"), unannounced("**The answer is 42**")
        ('42', '42')
    """
    text = text.strip()
    for _ in range(_MOST_LEAD_INS):
        text = _without_lead_in(text)
    return text


def worded(text: str) -> str:
    """Return a text that is no number in its one spelling.

    Example:
        >>> worded("12:30p.m."), worded("seventy-four"), worded("b)")
        ('12:30 pm', 'seventy four', 'b')
    """
    clock = _CLOCK.fullmatch(text)
    if clock and (clock["rest"] or clock["half"]):
        half = f" {clock['half']}m" if clock["half"] else ""
        return f"{int(clock['hour'])}{clock['rest'] or ':00'}{half}"
    text = _HYPHEN.sub(lambda found: found[0][:-1] + " ", _LETTER.sub(r"\1", text))
    return _AND.sub(r"\1 ", text)


def _joined(text: str) -> str:
    # Of two numbers in two lines or columns, the second is not the thousands of the first.
    return "\n".join(" ".join(part.split()) for part in _BETWEEN_NUMBERS.split(text))


def _characters(answer: str) -> str:
    text = answer.translate(_INVISIBLE)
    text = _SMALL_FRACTION.sub(_written_out, text).translate(_SAME_SIGN)
    # NFC, not NFKC: the latter would make 52 of 5². Only another width or font is the same sign.
    text = "".join(map(_in_one_width, text))
    for escaped, waiting in _ESCAPED.items():
        text = text.replace(escaped, waiting)
    # The line behind a heading ("Answer\n42") is still told from a word behind a word.
    lines = text.strip().splitlines()
    text = "\n".join(filter(None, map(_joined, lines)))
    return _in_one_case(text)


def _in_one_case(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())


def _written_out(found: re.Match[str]) -> str:
    # Spaces, because 1½ is not 11/2 and ½5 is nothing.
    before = " " if found.string[: found.start()][-1:].isalnum() else ""
    return f"{before}{unicodedata.normalize('NFKC', found[0])} "


def _in_one_width(sign: str) -> str:
    if sign.isascii() or not unicodedata.decomposition(sign).startswith(
        ("<wide>", "<narrow>", "<font>")
    ):
        return sign
    return unicodedata.normalize("NFKC", sign)


def _without_layer(text: str) -> str:
    inner = unannounced(unwrapped(text))
    heading = _HEADING.match(inner)
    return inner[heading.end() :] if heading else inner


def _without_marks(text: str) -> str:
    for left, right in _WRAPPINGS:
        if text.startswith(left) and text.endswith(right):
            inner = text[len(left) : -len(right)].strip()
            # Not "'a' or 'b'", nor a lone mark: what is inside must be whole.
            if inner and _is_whole(inner, left, right):
                return inner
    return text


def _is_whole(inner: str, left: str, right: str) -> bool:
    if left == "'":
        inner = _APOSTROPHE.sub("", inner)
    if right != "}":
        return left not in inner and right not in inner
    depths = list(accumulate((sign == "{") - (sign == "}") for sign in inner))
    return min(depths) >= 0 and depths[-1] == 0


def _without_lead_in(text: str) -> str:
    found = _LEAD_IN.match(text)
    rest = text[found.end() :].strip() if found else ""
    # Where nothing follows, nothing was announced: "it is" can be an answer itself.
    if found is None or not any(map(_says_something, rest)):
        return text
    for mark in reversed(_unclosed(found[0])):
        rest = without_emphasis(rest, mark)
    return rest


def _unclosed(text: str) -> list[str]:
    """Return the marks of emphasis that a text opens and does not close, the innermost last."""
    opened: list[str] = []
    for mark in _EMPHASIS.findall(text):
        if opened and opened[-1] == mark:
            opened.pop()
        else:
            opened.append(mark)
    return opened


def _says_something(sign: str) -> bool:
    return sign.isalnum() or unicodedata.category(sign) == "Sm"


def without_emphasis(text: str, mark: str) -> str:
    """Strip a mark that was opened before a text, and is closed at its start or its end."""
    if text.startswith(mark):
        return text.removeprefix(mark).strip()
    end = text.rstrip(_ENDING)
    return end.removesuffix(mark).strip() if end.endswith(mark) else text


def _without_stop(text: str) -> str:
    text = text.strip()
    rest = text[:-1] if text.endswith((".", ",", ";", ":")) else text.rstrip("!")
    return rest.rstrip() or text


def _read_tex(text: str) -> str:
    text = _QUAD.sub("  ", _LAYOUT.sub("", text))
    text = _SPACE.sub(" ", text).replace("{,}", ",")
    text = _DEGREE.sub("°", _SIGN.sub(lambda found: _SIGNS.get(found[1], found[0]), text))
    while (inner := _without_groups(text)) != text:
        text = inner
    # One at a time: what was taken out of the one before touches the next.
    while (inner := _DELIMITED.sub(_content, text, count=1)) != text:
        text = inner
    return text


def _without_groups(text: str) -> str:
    """Read the innermost commands that take arguments."""
    text = _POWER.sub(r"^\1\2", _GROUP.sub(r"\1", text))
    text = _ROOT.sub(lambda found: f"√{_operand(found[1])}", text)
    return _FRACTION.sub(_quotient, text)


def _quotient(found: re.Match[str]) -> str:
    quotient = f"{_operand(found[1])}/{_operand(found[2])}"
    before = found.string[: found.start()]
    if before.rstrip().endswith(("^", "_", "/", "÷", "√")):
        return f"({quotient})"
    # Spaces, because 1½ is not 11/2 and ½5 is nothing.
    return f"{' ' if before[-1:].isalnum() else ''}{quotient} "


def _operand(text: str) -> str:
    text = text.strip("{} ")
    return text if _OPERAND.fullmatch(text) else f"({text})"


def _content(found: re.Match[str]) -> str:
    return next(filter(None, found.groups()), "").strip()
