"""The form of an answer: what kind of thing it is, as m43 reads answers."""

from typing import Literal, get_args

from m43.answer_spelling import spelled
from m43.answers import List, Number, parse

Form = Literal["number", "fraction", "money", "percent", "number with unit", "list", "text"]
FORMS: tuple[Form, ...] = get_args(Form)

# Names of `m43.answers.UNITS` that are amounts of money.
_MONEY = frozenset(("dollar", "euro", "pound sterling", "yen", "rupee", "cent"))


def form_of(answer: str) -> Form:
    """Tell the form of an answer.

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
