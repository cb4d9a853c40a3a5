"""Whatever a model writes, it is judged within bounded time, and never by chance."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.rows import answers
from m43.rows.answer_spelling import LONGEST, spelled
from tests.unit.fuzzing import hostile

# What the steps look for, torn out of its place; none of it is whole, and some of it nests.
FRAGMENTS = (
    *(
        "\\frac{",
        "\\frac12",
        "\\text{",
        "\\boxed{",
        "\\left(",
        "\\sqrt{",
        "^{2}",
        "\\$",
        "\\{",
        "$",
    ),
    *("**", "*", "`", '"', "'", "_", "(", ")", "[", "]", "{", "}", "\\(", "\\)", "\\[", "$$"),
    *(
        "answer:",
        "**Answer:** ",
        "the answer is ",
        "it is ",
        "= ",
        "#### ",
        "1,",
        "1,000",
        ", ",
        ";",
    ),
    *(" and ", "1 000", "½", "1e9", "1e999", "-", "1+", "3:", " pm", "twenty-", "x = ", "% ", "."),
    *("\u200b", "\u00a0", "\n", "\r\n", "１", "\ud800", "\u202e", "\u0301", "0", "7", "km", "\x00"),
)
outputs = st.lists(st.sampled_from(FRAGMENTS) | st.characters(), max_size=30).map("".join)


def judged(expected: str, output: str, marker: str) -> tuple[str, bool, bool]:
    """Do all that a row's output goes through."""
    answer = answers.extract(output, marker)
    return answer, answers.agree(expected, answer), answers.is_answer(expected, answer)


@hostile(600)
@given(outputs, outputs, st.sampled_from(["", "Answer:", "####", "*"]))
def test_any_output_is_judged(expected: str, output: str, marker: str) -> None:
    """No torn piece of a dressing breaks the judge, and what is right is always an answer."""
    answer, right, answered = judged(expected, output, marker)

    assert answer in output
    assert answered or not right


@hostile(600)
@given(outputs)
def test_any_answer_agrees_with_itself(answer: str) -> None:
    """Whatever is understood of it, as long as something can be seen."""
    assert answers.agree(answer, answer) == (spelled(answer) != "")


# Two numbers of which the second has three digits, as thousands have.
APART = (
    *("{} and {}", "{}; {}", "{}, {}", "{}\n{}", "{}\r\n{}", "{}\t{}", "{}  {}", "{}\u2028{}"),
    *(
        r"{}\quad {}",
        r"\({}\)\({}\)",
        r"\({}\) \({}\)",
        "${}$ ${}$",
        "${}$${}$",
        "${}$ {}",
        "{} ${}$",
    ),
    *(r"{}\boxed{{{}}}", r"{} \boxed{{{}}}", r"\boxed{{{}}} {}", r"\boxed{{{}}}\boxed{{{}}}"),
    *(
        "**{}** **{}**",
        "**{}****{}**",
        "`{}` {}",
        "({}) ({})",
        "{} ({})",
        "[{}] {}",
        "{{{}}}{{{}}}",
    ),
    *(r"\[{}\]\[{}\]", "{}\N{INVISIBLE TIMES}{}", "{}\N{INVISIBLE SEPARATOR}{}", "{}·{}", "{}:{}"),
    *(
        r"\frac{{{}}}{{1}}{}",
        "{}.{}",
        "'{}' {}",
        "{}-{}",
        "{}\N{EN DASH}{}",
        "{}\N{NO-BREAK SPACE} {}",
    ),
)


@hostile(300)
@given(
    st.sampled_from(APART), st.integers(1, 999), st.integers(100, 999), st.sampled_from(FRAGMENTS)
)
def test_two_numbers_that_stand_apart_are_never_one(
    pattern: str, one: int, two: int, fragment: str
) -> None:
    """Nothing that parts them is forgiven but what stands between thousands."""
    pair = pattern.format(one, two)

    for output in (pair, f"{fragment}{pair}", f"{pair}{fragment}"):
        assert not answers.agree(f"{one}{two}", answers.extract(output, ""))


@pytest.mark.parametrize("fragment", FRAGMENTS)
@pytest.mark.parametrize("times", [LONGEST // 4, 100_000])
def test_no_output_keeps_its_judge_busy(fragment: str, times: int) -> None:
    """As much as is still read in full, and a megabyte of it, alone and around a number."""
    output = fragment * min(times, 1_000_000 // len(fragment))
    start = time.process_time()

    for text in (output, output + "42", "42" + output, f"Answer: {output}"):
        judged("42", text, "")
        judged("1, 2", text, "Answer:")
        judged(text, text, "")

    assert time.process_time() - start < 20
