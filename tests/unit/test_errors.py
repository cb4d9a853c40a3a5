"""A problem is one whole sentence, whatever its four parts quote."""

from dataclasses import replace

import pytest

from m43.errors import Problem, differences

WHOLE = Problem(found="a", expected="b", where="file", action="do c")


def test_a_problem_says_where_what_and_what_to_do() -> None:
    """All four parts, on one line."""
    assert str(WHOLE) == "file: found a, expected b; do c"
    assert str(replace(WHOLE, found="a\n  b")) == "file: found a b, expected b; do c"


@pytest.mark.parametrize(
    ("part", "value", "expected"),
    [
        ("found", "", "file: found nothing, expected b; do c"),
        ("found", " \n", "file: found nothing, expected b; do c"),
        ("found", "MemoryError: ", "file: found MemoryError, expected b; do c"),
        ("expected", "", "file: found a, expected nothing; do c"),
        ("where", "", "m43: found a, expected b; do c"),
        ("action", "", "file: found a, expected b"),
    ],
)
def test_no_part_leaves_a_comma_before_nothing(part: str, value: str, expected: str) -> None:
    """What is quoted may be empty: an error without a message, a line without a word."""
    assert str(replace(WHOLE, **{part: value})) == expected


def test_differences_are_those_that_are_there() -> None:
    """Equal values are no problem, text is quoted and cut, and the source is named."""
    pairs = {"steps": (3, 3), "name": ("a" * 100, "b"), "rows": (1, 2)}

    found = list(differences(pairs, "train.json", "look", ", as in plan.json"))

    assert [each.where for each in found] == ["train.json, name", "train.json, rows"]
    assert found[0].found == repr("a" * 80)
    assert (found[1].found, found[1].expected) == ("1", "2, as in plan.json")
