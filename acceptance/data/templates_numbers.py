"""Questions about the structure of numbers: sequences, divisors, fractions, bases, order."""

from __future__ import annotations

from acceptance.data.template import Problem, listed, open_set, several

NUMERALS = ((10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))
NUMBER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
TENS_WORDS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def sequence_step(*, start: int, step: int) -> Problem:
    """The same difference every time; it may go down, also below zero."""
    shown = [start + step * k for k in range(4)]
    answer = shown[-1] + step
    return Problem(
        prompt=f"Which number continues the sequence {listed(shown)}?",
        final_answer=str(answer),
        steps=(
            ("difference", f"{shown[1]} - {shown[0]} = {step}, and so on"),
            ("next", f"{shown[-1]} {'+' if step > 0 else '-'} {abs(step)} = {answer}"),
        ),
    )


def sequence_factor(*, start: int, factor: int) -> Problem:
    """The same factor every time, and the prompt says so: four numbers alone prove nothing."""
    shown = [start * factor**k for k in range(4)]
    answer = shown[-1] * factor
    return Problem(
        prompt=(
            f"In the sequence {listed(shown)} every number is the one before it times a fixed "
            "factor. Which number comes next?"
        ),
        final_answer=str(answer),
        steps=(
            ("factor", f"{shown[1]} / {shown[0]} = {factor}"),
            ("next", f"{shown[-1]} * {factor} = {answer}"),
        ),
    )


def number_order(*, numbers: list[int]) -> Problem:
    """From the smallest to the largest."""
    answer = listed(sorted(numbers))
    return Problem(
        prompt=f"Order these numbers from smallest to largest: {listed(numbers)}.",
        final_answer=answer,
        steps=(
            ("smallest", f"The smallest is {min(numbers)}, the largest {max(numbers)}"),
            ("answer", answer),
        ),
    )


def greatest_common_divisor(*, a: int, b: int) -> Problem:
    """Euclid: replace the pair by the smaller number and the remainder until nothing remains."""
    steps: list[tuple[str, str]] = []
    large, small = max(a, b), min(a, b)
    while small:
        steps.append(("divide", f"{large} = {large // small} * {small} + {large % small}"))
        large, small = small, large % small
    steps.append(("answer", f"The last divisor is {large}"))
    return Problem(
        prompt=f"Find the greatest common divisor of {a} and {b}.",
        final_answer=str(large),
        steps=tuple(steps),
    )


def _common_divisor(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


def _lowest_terms(numerator: int, denominator: int) -> str:
    divisor = _common_divisor(numerator, denominator)
    if denominator == divisor:
        return str(numerator // divisor)
    return f"{numerator // divisor}/{denominator // divisor}"


def fraction_sum(*, a: int, b: int, c: int, d: int) -> Problem:
    """Over the product of the denominators, then reduced."""
    numerator, denominator = a * d + c * b, b * d
    answer = _lowest_terms(numerator, denominator)
    return Problem(
        prompt=f"Add the fractions {a}/{b} and {c}/{d}. Give the sum in lowest terms.",
        final_answer=answer,
        steps=(
            ("common", f"{a}/{b} = {a * d}/{denominator} and {c}/{d} = {c * b}/{denominator}"),
            ("add", f"{a * d}/{denominator} + {c * b}/{denominator} = {numerator}/{denominator}"),
            ("reduce", f"In lowest terms: {answer}"),
        ),
    )


def _proper_and_reduced(a: int, b: int, c: int, d: int) -> bool:
    return a < b and c < d and _common_divisor(a, b) == _common_divisor(c, d) == 1


def marble_probability(*, red: int, blue: int, green: int, colour: str) -> Problem:
    """Favourable marbles over all marbles."""
    wanted = {"red": red, "blue": blue, "green": green}[colour]
    total = red + blue + green
    answer = _lowest_terms(wanted, total)
    return Problem(
        prompt=(
            f"A bag holds {red} red, {blue} blue and {green} green marbles. One is drawn without "
            f"looking. What is the probability that it is {colour}? Give a fraction in lowest "
            "terms."
        ),
        final_answer=answer,
        steps=(
            ("total", f"{red} + {blue} + {green} = {total} marbles"),
            ("favourable", f"{wanted} of them are {colour}"),
            ("answer", f"{wanted}/{total} in lowest terms is {answer}"),
        ),
    )


def binary(*, number: int) -> Problem:
    """Halve and keep the remainders; the last one is the first digit."""
    steps: list[tuple[str, str]] = []
    rest, digits = number, ""
    while rest:
        steps.append(("halve", f"{rest} / 2 = {rest // 2} remainder {rest % 2}"))
        rest, digits = rest // 2, str(rest % 2) + digits
    steps.append(("answer", f"The remainders from last to first: {digits}"))
    return Problem(
        prompt=f"Write the decimal number {number} in binary.",
        final_answer=digits,
        steps=tuple(steps),
    )


def roman_numeral(*, number: int) -> Problem:
    """Take the largest sign that still fits, again and again."""
    rest = number
    signs: list[str] = []
    for value, sign in NUMERALS:
        while rest >= value:
            rest -= value
            signs.append(sign)
    answer = "".join(signs)
    return Problem(
        prompt=f"Write {number} as a Roman numeral.",
        final_answer=answer,
        steps=(
            ("decompose", f"{number} is made of the signs {' + '.join(signs)}"),
            ("answer", f"Written together: {answer}"),
        ),
    )


def number_word(*, number: int) -> Problem:
    """Up to nineteen every number has a word of its own; then tens and ones take a hyphen."""
    tens, ones = divmod(number, 10)
    if number < len(NUMBER_WORDS):
        answer = NUMBER_WORDS[number]
    else:
        answer = TENS_WORDS[tens - 2] + (f"-{NUMBER_WORDS[ones]}" if ones else "")
    return Problem(
        prompt=f"Write the number {number} in words.",
        final_answer=answer,
        steps=(("split", f"{number} = {tens} tens + {ones} ones"), ("answer", answer)),
    )


TEMPLATES = (
    open_set(
        name="sequence_step",
        category="sequence",
        choices={"start": range(2, 60), "step": (*range(-9, -1), *range(2, 16))},
        write=sequence_step,
    ),
    open_set(
        name="sequence_factor",
        category="sequence",
        choices={"start": range(1, 20), "factor": range(2, 6)},
        write=sequence_factor,
    ),
    open_set(
        name="number_order",
        category="comparison",
        choices={"numbers": several(range(1, 100), 4)},
        write=number_order,
        allows=lambda numbers: numbers != sorted(numbers),
    ),
    open_set(
        name="greatest_common_divisor",
        category="number_theory",
        choices={"a": range(12, 120, 2), "b": range(12, 120, 3)},
        write=greatest_common_divisor,
        allows=lambda a, b: a != b,
    ),
    open_set(
        name="fraction_sum",
        category="fractions",
        choices={"a": range(1, 9), "b": range(2, 10), "c": range(1, 9), "d": range(2, 10)},
        write=fraction_sum,
        allows=_proper_and_reduced,
    ),
    open_set(
        name="marble_probability",
        category="probability",
        choices={
            "red": range(1, 10),
            "blue": range(1, 10),
            "green": range(1, 10),
            "colour": ("red", "blue", "green"),
        },
        write=marble_probability,
    ),
    open_set(
        name="binary",
        category="conversion",
        choices={"number": range(5, 128)},
        write=binary,
    ),
    open_set("roman_numeral", "conversion", {"number": range(1, 40)}, roman_numeral),
    open_set("number_word", "conversion", {"number": range(100)}, number_word),
)
