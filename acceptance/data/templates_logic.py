"""Questions with few possible answers: conclusions, truth values, turns, shapes, comparisons."""

from __future__ import annotations

from random import Random

from acceptance.data.template import (
    CLOSED_SET_ROWS,
    NAMES,
    Problem,
    Template,
    asked,
    closed_set,
    open_set,
)

# Invented kinds, so that nothing known about the world can replace the reasoning.
INVENTED_KINDS = ("wug", "blick", "mip", "tolk")
QUANTIFIERS = ("All", "No")
TRUTH_VALUES = ("true", "false")
DIRECTIONS = ("north", "east", "south", "west")
# Quarters of a circle, clockwise.
TURNS = {"right": 1, "half": 2, "left": 3}
POLYGONS = {
    "triangle": 3,
    "square": 4,
    "pentagon": 5,
    "hexagon": 6,
    "heptagon": 7,
    "octagon": 8,
    "nonagon": 9,
    "decagon": 10,
}
EVEN_WORDINGS = ("Is {number} an even number?", "Is {number} even, yes or no?")
SMALLER_WORDINGS = ("Which number is smaller, {a} or {b}?", "Name the smaller number: {a} or {b}.")
GREATER_WORDINGS = ("Is {a} greater than {b}?", "Is it true that {a} is more than {b}?")


def syllogism(*, name: str, kind: str, other: str, quantifier: str) -> Problem:
    """What holds for the whole kind holds for its member."""
    answer = "Yes" if quantifier == "All" else "No"
    verb = "is" if quantifier == "All" else "is not"
    return Problem(
        prompt=f"{name} is a {kind}. {quantifier} {kind}s are {other}s. Is {name} a {other}?",
        final_answer=answer,
        steps=(
            ("premise", f"{quantifier} {kind}s are {other}s"),
            ("premise", f"{name} is a {kind}"),
            ("deduction", f"So {name} {verb} a {other}: {answer}"),
        ),
    )


def truth_value(*, opening: str, name: str, left: str, operator: str, right: str) -> Problem:
    """'and' needs both, 'or' needs one."""
    values = (left == "true", right == "true")
    answer = "true" if (all(values) if operator == "and" else any(values)) else "false"
    needed = "both sides are" if operator == "and" else "at least one side is"
    return Problem(
        prompt=asked(opening, name, f"the truth value of {left} {operator} {right}"),
        final_answer=answer,
        steps=(
            ("rule", f"'{operator}' is true only if {needed} true"),
            ("answer", f"{left} {operator} {right} is {answer}"),
        ),
    )


def compass_turn(*, opening: str, name: str, turn: str, direction: str) -> Problem:
    """Clockwise the directions are north, east, south, west."""
    quarters = TURNS[turn]
    answer = DIRECTIONS[(DIRECTIONS.index(direction) + quarters) % len(DIRECTIONS)]
    return Problem(
        prompt=asked(opening, name, f"the new direction after a {turn} turn from {direction}"),
        final_answer=answer,
        steps=(
            ("setup", f"Clockwise: {', '.join(DIRECTIONS)}"),
            ("turn", f"A {turn} turn moves {quarters} of 4 places on from {direction}"),
            ("answer", answer),
        ),
    )


def polygon_sides(*, opening: str, name: str, polygon: str) -> Problem:
    """The Greek number in the name counts the sides."""
    answer = str(POLYGONS[polygon])
    return Problem(
        prompt=asked(opening, name, f"how many sides this shape has: {polygon}"),
        final_answer=answer,
        steps=(
            ("recall", f"Count the sides around a {polygon}"),
            ("answer", f"It has {answer} sides"),
        ),
    )


def _half_multiples_of_ten(random: Random) -> int:
    # One number in ten would be a multiple: always "No" would then be right nine times in ten.
    number = random.randrange(20, 1000)
    return number // 10 * 10 if random.random() < 1 / 2 else number


def multiple_of_ten(*, opening: str, name: str, number: int) -> Problem:
    """The last digit alone decides."""
    answer = "Yes" if number % 10 == 0 else "No"
    return Problem(
        prompt=asked(opening, name, f"whether this is a multiple of ten, Yes or No: {number}"),
        final_answer=answer,
        steps=(
            ("setup", "A number is divisible by 10 if its last digit is 0"),
            ("check", f"The last digit of {number} is {number % 10}"),
            ("answer", answer),
        ),
    )


def is_even(*, number: int, wording: int) -> Problem:
    """The last digit alone decides."""
    answer = "Yes" if number % 2 == 0 else "No"
    return Problem(
        prompt=EVEN_WORDINGS[wording].format(number=number),
        final_answer=answer,
        steps=(
            ("setup", f"The last digit of {number} is {number % 10}"),
            ("calculation", f"{number} / 2 leaves the remainder {number % 2}"),
            ("answer", answer),
        ),
    )


def smaller_digit(*, a: int, b: int, wording: int) -> Problem:
    """The one that comes first in counting."""
    answer = str(min(a, b))
    return Problem(
        prompt=SMALLER_WORDINGS[wording].format(a=a, b=b),
        final_answer=answer,
        steps=(("compare", f"{min(a, b)} < {max(a, b)}"), ("answer", answer)),
    )


def is_greater(*, a: int, b: int, wording: int) -> Problem:
    """The difference has a sign."""
    answer = "Yes" if a > b else "No"
    return Problem(
        prompt=GREATER_WORDINGS[wording].format(a=a, b=b),
        final_answer=answer,
        steps=(("compare", f"{a} - {b} = {a - b}"), ("answer", answer)),
    )


TEMPLATES = (
    Template(
        name="syllogism",
        category="logic",
        rows=CLOSED_SET_ROWS,
        choices={
            "name": NAMES,
            "kind": INVENTED_KINDS,
            "other": INVENTED_KINDS,
            "quantifier": QUANTIFIERS,
        },
        write=syllogism,
        allows=lambda name, kind, other, quantifier: kind != other,
    ),
    closed_set(
        name="truth_value",
        category="logic",
        choices={"left": TRUTH_VALUES, "operator": ("and", "or"), "right": TRUTH_VALUES},
        write=truth_value,
    ),
    closed_set(
        name="compass_turn",
        category="logic",
        choices={"turn": tuple(TURNS), "direction": DIRECTIONS},
        write=compass_turn,
    ),
    closed_set("polygon_sides", "geometry", {"polygon": tuple(POLYGONS)}, polygon_sides),
    closed_set(
        "multiple_of_ten", "number_theory", {"number": _half_multiples_of_ten}, multiple_of_ten
    ),
    open_set(
        name="is_even",
        category="number_theory",
        choices={"number": range(10, 1000), "wording": range(len(EVEN_WORDINGS))},
        write=is_even,
    ),
    open_set(
        name="smaller_digit",
        category="comparison",
        choices={"a": range(10), "b": range(10), "wording": range(len(SMALLER_WORDINGS))},
        write=smaller_digit,
        allows=lambda a, b, wording: a != b,
    ),
    open_set(
        name="is_greater",
        category="comparison",
        choices={"a": range(10), "b": range(10), "wording": range(len(GREATER_WORDINGS))},
        write=is_greater,
        allows=lambda a, b, wording: a != b,
    ),
)
