r"""Answers in every dress that is forgiven: what is said once, and written in many ways.

An answer is drawn with its meaning and its plain form. `written` puts it down in one of the ways
in which people and models write its kind, `DRESSINGS` are what may stand around any of them. Of
each group one dressing is worn, in any order: two of the same are one thing said twice ("42..").
"""

import itertools
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import strategies as st

NUMBER, FRACTION, PERCENT, MONEY, LIST, SET, LETTER, TIME, WORDS, TEXT = (
    *("number", "fraction", "percent", "money", "list", "set", "letter", "time", "words", "text"),
)
# What may separate thousands beside a comma: spaces of every width, and TeX's.
THOUSANDS = (",", " ", "\N{NO-BREAK SPACE}", "\N{THIN SPACE}", "\u202f", r"\,", "{,}", r",\!")
MINUS = ("-", "\N{MINUS SIGN}", "\N{EN DASH}", "\N{FULLWIDTH HYPHEN-MINUS}", "\u2011")
SMALL = {Fraction(1, 2): "½", Fraction(1, 4): "¼", Fraction(3, 4): "¾", Fraction(2, 3): "⅔"}
TENS = ("twenty", "thirty", "seventy", "ninety")
ONES = ("one", "two", "four", "nine")
TEXTS = ("don't know", "the dog's leg", "paris", "rock 'n' roll", "no", "north west", "well-known")


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What an answer says, and its plain form, as a file of questions expects it."""

    kind: str
    says: object  # equal only where two answers are the same
    plain: str


@dataclass(frozen=True, kw_only=True)
class Dressing:
    """Something that may stand around an answer, or change how all of it looks."""

    group: str
    wear: Callable[[str], str]
    suits: Callable[[Meaning, str], bool] = lambda meaning, text: True


def decimal(value: Fraction, separator: str = "") -> str:
    """Write a decimal exactly."""
    scaled = abs(value) * 10**8
    assert scaled.denominator == 1
    whole, decimals = divmod(scaled.numerator, 10**8)
    tail = f"{decimals:08d}".rstrip("0")
    sign = "-" if value < 0 else ""
    return f"{sign}{whole:,}".replace(",", separator) + (f".{tail}" if tail else "")


whole_numbers = st.one_of(st.integers(-999, 9999), st.integers(-(10**7), 10**7)).map(Fraction)
decimals = st.one_of(
    whole_numbers,
    st.tuples(st.integers(-(10**6), 10**6), st.integers(1, 3)).map(
        lambda pair: Fraction(pair[0], 10 ** pair[1])
    ),
)
fractions = st.one_of(
    st.sampled_from(sorted(SMALL)), st.fractions(Fraction(1, 50), 50, max_denominator=50)
).filter(lambda value: value.denominator > 1)


def _meaning(kind: str, says: object, plain: str) -> Meaning:
    return Meaning(kind=kind, says=says, plain=plain)


def _several(kind: str, values: Sequence[Fraction]) -> Meaning:
    inside = ", ".join(map(decimal, values))
    if kind == SET:
        return _meaning(SET, tuple(sorted(values)), f"{{{inside}}}")
    return _meaning(LIST, tuple(values), inside)


meanings: st.SearchStrategy[Meaning] = st.one_of(
    decimals.map(lambda value: _meaning(NUMBER, value, decimal(value))),
    fractions.map(lambda value: _meaning(FRACTION, value, str(value))),
    decimals.map(lambda value: _meaning(PERCENT, (PERCENT, value), f"{decimal(value)}%")),
    decimals.filter(lambda value: value > 0).map(
        lambda value: _meaning(MONEY, value, f"${decimal(value)}")
    ),
    st.builds(_several, st.sampled_from([LIST, SET]), st.lists(decimals, min_size=2, max_size=4)),
    st.sampled_from("ABCDE").map(lambda letter: _meaning(LETTER, letter, letter)),
    st.builds(
        lambda hour, minute, half: _meaning(
            TIME, (hour, minute, half), f"{hour}:{minute:02d} {half.upper()}M"
        ),
        st.integers(1, 12),
        st.sampled_from([0, 5, 30]),
        st.sampled_from("ap"),
    ),
    st.builds(
        lambda ten, one: _meaning(WORDS, (ten, one), f"{ten}-{one}"),
        st.sampled_from(TENS),
        st.sampled_from(ONES),
    ),
    st.sampled_from(TEXTS).map(lambda text: _meaning(TEXT, text, text)),
)


@st.composite
def written(draw: st.DrawFn, meaning: Meaning) -> str:
    """Write an answer in one of the ways of its kind."""
    return draw(_WAYS[meaning.kind](meaning))


@st.composite
def _decimal(draw: st.DrawFn, value: Fraction) -> str:
    way = draw(st.sampled_from(["grouped", "plain", "zeros", "scientific", "equation", "sum"]))
    minus, separator = draw(st.sampled_from(MINUS)), draw(st.sampled_from(THOUSANDS))
    text = decimal(value, separator if way != "plain" else "").replace("-", minus)
    if way == "zeros":
        text += "0" if "." in text else ".00"
    elif way == "scientific":
        power = draw(st.integers(-2, 5))
        times = draw(
            st.sampled_from(
                ["e{}", " \N{MULTIPLICATION SIGN} 10^{}", r" \times 10^{{{}}}", "x10^{}"]
            )
        )
        text = decimal(value / Fraction(10) ** power).replace("-", minus) + times.format(power)
    elif way == "equation":
        text = draw(st.sampled_from(["x = ", "y="])) + text
    elif way == "sum":
        text = draw(st.sampled_from(["15 + 27 = ", r"3 \times 4 = ", "9 ÷ 6 = "])) + text
    return text


@st.composite
def _number(draw: st.DrawFn, meaning: Meaning) -> str:
    assert isinstance(meaning.says, Fraction)
    unit = draw(st.sampled_from(["", "", " km", r"\text{ km}", "km", r"~\mathrm{kg}", "°"]))
    return draw(_decimal(meaning.says)) + unit


@st.composite
def _fraction(draw: st.DrawFn, meaning: Meaning) -> str:
    value = meaning.says
    assert isinstance(value, Fraction)
    whole, rest = divmod(value, 1)
    mixed = draw(st.booleans()) and whole > 0
    top, bottom = (rest if mixed else value).as_integer_ratio()
    forms = [f"{top}/{bottom}", f"{top}\N{FRACTION SLASH}{bottom}"]
    forms += [rf"\{name}{{{top}}}{{{bottom}}}" for name in ("frac", "dfrac", "tfrac")]
    if Fraction(top, bottom) in SMALL:
        forms.append(SMALL[Fraction(top, bottom)])
    if top < 10 and bottom < 10:
        forms.append(rf"\frac{top}{bottom}")
    form = draw(st.sampled_from(forms))
    if not mixed:
        return form
    # What is drawn as a fraction needs no space behind the whole.
    return f"{whole}{'' if form.startswith((chr(92), *SMALL.values())) else ' '}{form}"


@st.composite
def _percent(draw: st.DrawFn, meaning: Meaning) -> str:
    assert isinstance(meaning.says, tuple)
    sign = draw(st.sampled_from(["%", " %", r"\%", r" \%", r"\,\%", " percent"]))
    return draw(_decimal(meaning.says[1])) + sign


@st.composite
def _money(draw: st.DrawFn, meaning: Meaning) -> str:
    assert isinstance(meaning.says, Fraction)
    text = decimal(meaning.says, draw(st.sampled_from(["", ",", " ", "{,}"])))
    around = [r"\${}", "$ {}", "${}", "US${}", "USD {}", "{} USD", "{} dollars", r"\${} dollars"]
    return draw(st.sampled_from(around)).format(text)


@st.composite
def _list(draw: st.DrawFn, meaning: Meaning) -> str:
    values = meaning.says
    assert isinstance(values, tuple)
    if meaning.kind == SET:
        values = draw(st.permutations(values))
    items = [decimal(value) for value in values]
    if draw(st.booleans()):
        items = [draw(st.sampled_from(["{}", "**{}**", "${}$", "`{}`"])).format(i) for i in items]
    separator = draw(st.sampled_from([", ", ",", "; ", ", \N{NO-BREAK SPACE}"]))
    text = separator.join(items)
    if draw(st.booleans()) and separator != ",":
        text = f"{separator.join(items[:-1])} and {items[-1]}"
    braces = [("", ""), ("{", "}"), (r"\{", r"\}"), (r"\left\{", r"\right\}")]
    left, right = draw(st.sampled_from(braces)) if meaning.kind == SET else ("", "")
    return f"{left}{text}{right}"


@st.composite
def _time(draw: st.DrawFn, meaning: Meaning) -> str:
    hour, minute, half = meaning.says
    front = f"{hour:02d}" if draw(st.booleans()) else str(hour)
    if minute or draw(st.booleans()):
        front += f":{minute:02d}"
    return front + draw(st.sampled_from(["{}m", " {}m", " {}.m.", "{}.m", " {}. m."])).format(half)


def _words(meaning: Meaning) -> st.SearchStrategy[str]:
    hyphens = st.sampled_from(["-", " ", "\N{NON-BREAKING HYPHEN}", "\N{HYPHEN}", "\N{EN DASH}"])
    return hyphens.map(lambda hyphen: meaning.plain.replace("-", hyphen))


def _text(meaning: Meaning) -> st.SearchStrategy[str]:
    quotes = st.sampled_from(["'", "\N{RIGHT SINGLE QUOTATION MARK}", "\N{ACUTE ACCENT}"])
    cases = st.sampled_from([str, str.upper, str.title])
    return st.builds(lambda quote, case: case(meaning.plain).replace("'", quote), quotes, cases)


def _letter(meaning: Meaning) -> st.SearchStrategy[str]:
    return st.sampled_from(["{}", "Option {}", "({})", "[{}]", r"\text{{({})}}", "{})"]).map(
        lambda form: form.format(meaning.plain)
    )


_WAYS: dict[str, Callable[[Meaning], st.SearchStrategy[str]]] = {
    **{NUMBER: _number, FRACTION: _fraction, PERCENT: _percent, MONEY: _money, LIST: _list},
    **{SET: _list, LETTER: _letter, TIME: _time, WORDS: _words, TEXT: _text},
}


def _around(group: str, left: str, right: str, **how: Callable[[Meaning, str], bool]) -> Dressing:
    return Dressing(group=group, wear=lambda text: f"{left}{text}{right}", **how)


def _no_dollar(_: Meaning, text: str) -> bool:
    # What "$$5$" is meant to be cannot be told; TeX's own dollar is escaped.
    return not re.search(r"(?<!\\)\$|\uff04", text)


def _no_brackets(meaning: Meaning, text: str) -> bool:
    # Brackets within brackets are a list in a list, "B))" is nothing, a heading has its own line.
    return meaning.kind not in (SET, LETTER) and not re.search(r"[()\[\]\n]", text)


def _wide(text: str) -> str:
    return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text)


def _without(signs: str) -> Callable[[Meaning, str], bool]:
    return lambda _, text: not any(sign in unicodedata.normalize("NFKC", text) for sign in signs)


DRESSINGS: tuple[Dressing, ...] = (
    _around("bold", "**", "**", suits=_without("*")),
    _around("emphasis", "*", "*", suits=_without("*")),
    _around("code", "`", "`", suits=_without("`")),
    _around("code", "```\n", "\n```", suits=_without("`")),
    _around("quotes", '"', '"'),
    _around("quotes", "\N{LEFT DOUBLE QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}"),
    _around("quotes", "\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}", "\u00bb"),
    _around("quotes", "'", "'", suits=lambda meaning, _: "'n'" not in meaning.plain),
    _around("brackets", "(", ")", suits=_no_brackets),
    _around("brackets", "[", "]", suits=_no_brackets),
    _around("brackets", r"\left( ", r" \right)", suits=_no_brackets),
    _around("mathematics", "$", "$", suits=_no_dollar),
    _around("mathematics", "$$", "$$", suits=_no_dollar),
    _around("mathematics", r"\(", r"\)"),
    _around("mathematics", "\\[\n", "\n\\]"),
    _around("box", r"\boxed{", "}"),
    _around("font", r"\text{", "}"),
    _around("font", r"\mathbf{", "}"),
    *(_around("stop", "", stop) for stop in (".", ",", ";", ":", "!", "!!", " .", "\u3002")),
    *(_around("equals", left, "") for left in ("= ", "=")),
    *(_around("heading", left, "") for left in ("#### ", "# ", "* ", "\N{BULLET} ")),
    *(
        _around("lead-in", left, right)
        for left, right in (
            *(("Answer: ", ""), ("**Answer:** ", ""), ("**Final Answer**: ", "")),
            *(("The answer is ", ""), ("So the correct answer is: ", ""), ("It's ", "")),
            *(("*Answer:*\n", ""), ("Result = ", "")),
            *(("__Answer:__ ", ""), ("## Answer\n", ""), ("The solution is ", "")),
        )
    ),
    _around("lead-in", "**The final answer is ", "**", suits=_without("*")),
    *(_around("space", "\N{NO-BREAK SPACE} ", space) for space in (" ", "\u202f\n", "\u3000")),
    *(
        Dressing(group="unseen", wear=lambda text, mark=mark: mark.join(text))
        for mark in ("\N{ZERO WIDTH SPACE}", "\N{WORD JOINER}", "\N{SOFT HYPHEN}")
    ),
    _around("unseen", "\ufeff\N{LEFT-TO-RIGHT MARK}", "\N{ZERO WIDTH JOINER}"),
    Dressing(group="width", wear=_wide),
)


def dressed(meaning: Meaning, text: str, dressings: Sequence[Dressing]) -> str:
    """Put on what suits, from the inside to the outside, of each group the first."""
    worn: set[str] = set()
    for dressing in dressings:
        if dressing.group not in worn and dressing.suits(meaning, text):
            text = dressing.wear(text)
            worn.add(dressing.group)
    return text


def pairs_of_dressings() -> list[tuple[Dressing, Dressing]]:
    """Two dressings in both orders, of two groups each."""
    pairs = itertools.permutations(DRESSINGS, 2)
    return [(inner, outer) for inner, outer in pairs if inner.group != outer.group]


@st.composite
def outputs(draw: st.DrawFn, meaning: Meaning, *, most: int = 4) -> str:
    """What a model may write to say an answer, in so many dressings at once."""
    dressings = draw(st.lists(st.sampled_from(DRESSINGS), max_size=most))
    return dressed(meaning, draw(written(meaning)), dressings)
