"""Each kind of answer has a form."""

import pytest

from m43.rows.answers import FORMS, form_of


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("42", "number"),
        ("15.0", "number"),
        ("1,000", "number"),
        ("x = 7", "number"),
        ("1/216", "fraction"),
        ("1 1/2", "fraction"),
        ("$2.37", "money"),
        ("3 euros", "money"),
        ("50%", "percent"),
        ("472 km", "number with unit"),
        ("60 km/h", "number with unit"),
        ("1, 2, 3", "list"),
        ("red, blue", "list"),
        ("Friday", "text"),
        ("true", "text"),
        ("and/or", "text"),
        (".", "text"),
    ],
)
def test_each_answer_has_its_form(answer: str, form: str) -> None:
    """The samples' answers and their relatives."""
    assert form_of(answer) == form
    assert form in FORMS
