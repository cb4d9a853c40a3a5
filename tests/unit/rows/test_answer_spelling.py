"""Every spelling of an answer is brought to one, however many are put together."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from m43.rows import answers
from m43.rows.answer_spelling import spelled
from tests.unit.dressings import (
    DRESSINGS,
    LIST,
    SET,
    TIME,
    Meaning,
    dressed,
    meanings,
    outputs,
    pairs_of_dressings,
)
from tests.unit.fuzzing import hostile


@hostile(500)
@given(st.data(), meanings)
def test_what_is_forgiven_alone_is_forgiven_together(data: st.DataObject, meaning: Meaning) -> None:
    """One, two, three, four dressings at once, around every way of writing every kind."""
    output = data.draw(outputs(meaning))

    answer = answers.extract(output, "")

    assert answers.agree(meaning.plain, answer)
    assert answers.is_answer(meaning.plain, answer)


@hostile(500)
@given(st.data(), meanings, meanings)
def test_no_dress_makes_one_answer_another(
    data: st.DataObject, meaning: Meaning, other: Meaning
) -> None:
    """Whatever two different answers wear, neither is right for the other."""
    # A set's items in another order are another list, but the same set.
    assume(meaning.says != other.says and {meaning.kind, other.kind} != {LIST, SET})
    output = data.draw(outputs(other))

    assert not answers.agree(meaning.plain, answers.extract(output, ""))
    assert not answers.agree(output, meaning.plain)


@hostile(200)
@given(st.data(), meanings)
def test_the_one_spelling_of_a_spelling_is_itself(data: st.DataObject, meaning: Meaning) -> None:
    """Nothing is left to take away, neither from the spelling nor from what was extracted."""
    output = data.draw(outputs(meaning))
    # Of \$5 the bare sign is left, which begins mathematics as well; the stop of "p.m." is its own.
    assume("$" not in spelled(output) and meaning.kind != TIME)

    assert spelled(spelled(output)) == spelled(output)
    assert spelled(answers.extract(output, "")) == spelled(output)


SAMPLES = (
    *(("number", "-1234.5", "-1,234.5", "1234.5"), ("fraction", "3/2", r"1\frac{1}{2}", "11/2")),
    *(("percent", "50%", r"50\%", "0.5"), ("money", "$18", r"\$18", "$1.8")),
    *(("list", "17, 48", "17,48", "48, 17"), ("set", "{1, 2}", r"\{2, 1\}", "{1, 3}")),
    *(("letter", "B", "b", "C"), ("time", "9:30 PM", "9:30 p.m.", "9:30 AM")),
    *(("words", "sixty-two", "sixty two", "sixty-three"), ("text", "can't", "can\u2019t", "can")),
)


@pytest.mark.parametrize(("kind", "plain", "output", "other"), SAMPLES)
def test_any_two_dressings_go_together(kind: str, plain: str, output: str, other: str) -> None:
    """All pairs of all dressings, in both orders; and in none is it another answer."""
    meaning = Meaning(kind=kind, says=plain, plain=plain)
    missed = []
    for pair in [*pairs_of_dressings(), *((each, each) for each in DRESSINGS)]:
        text = dressed(meaning, output, pair)
        if not answers.agree(plain, answers.extract(text, "")):
            missed.append(text)
        assert not answers.agree(other, answers.extract(text, "")), text

    assert missed == []
