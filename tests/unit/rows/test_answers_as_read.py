"""Answers as people and Gemma write them, each as a careful reader takes it."""

import pytest

from m43.rows.answers import agree, extract, is_answer

READ = [
    ("18", "**Answer: $18**", "", True),
    ("42", "**Final Answer:** 42", "", True),
    ("18", "\\$18", "", True),
    ("18", "$ 18", "", True),
    ("1/2", "\\frac{1}{2}", "", True),
    ("1/2", "\\boxed{\\frac{1}{2}}", "", True),
    ("42", "\\(42\\)", "", True),
    ("50%", "50\\%", "", True),
    ("42", "#### 42", "", True),
    ("42", "(42)", "", True),
    ("1/2", "\u00bd", "", True),
    ("-5", "\u20135", "", True),
    ("1000", "1\u00a0000", "", True),
    ("42", "42\u200b", "", True),
    ("1000", "1e3", "", True),
    ("B", "(B)", "", True),
    ("don't", "don\u2019t", "", True),
    ("100, 200", "100,200", "", True),
    ("17, 48, 53, 63", "[17, 48, 53, 63]", "", True),
    ("1, 2", "(1, 2)", "", True),
    ("12:30 PM", "12:30PM", "", True),
    ("seventy-four", "seventy four", "", True),
]


@pytest.mark.parametrize(("expected", "output", "marker", "right"), READ)
def test_an_answer_is_taken_as_a_careful_reader_takes_it(
    expected: str, output: str, marker: str, right: bool
) -> None:
    """Marks around it, LaTeX, unicode spaces, lists, letters in brackets; and no false right."""
    given = extract(output, marker)
    assert (is_answer(expected, given) and agree(expected, given)) == right
