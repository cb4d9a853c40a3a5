"""Questions that one rule of arithmetic answers, with the working as it is done on paper."""

from __future__ import annotations

from acceptance.data.template import Problem, listed, open_set, several, trimmed

OPERATION_FORMS = ("a + b * c", "(a + b) * c", "a * b - c")


def _tens_and_ones(number: int) -> tuple[int, int]:
    return number // 10 * 10, number % 10


def addition(*, a: int, b: int) -> Problem:
    """Tens and ones apart, then together."""
    a_tens, a_ones = _tens_and_ones(a)
    b_tens, b_ones = _tens_and_ones(b)
    return Problem(
        prompt=f"Work out {a} + {b}.",
        final_answer=str(a + b),
        steps=(
            ("tens", f"{a_tens} + {b_tens} = {a_tens + b_tens}"),
            ("ones", f"{a_ones} + {b_ones} = {a_ones + b_ones}"),
            ("sum", f"{a_tens + b_tens} + {a_ones + b_ones} = {a + b}"),
        ),
    )


def subtraction(*, a: int, b: int) -> Problem:
    """Tens first, then ones; the result may be negative."""
    b_tens, b_ones = _tens_and_ones(b)
    return Problem(
        prompt=f"Work out {a} - {b}.",
        final_answer=str(a - b),
        steps=(
            ("tens", f"{a} - {b_tens} = {a - b_tens}"),
            ("ones", f"{a - b_tens} - {b_ones} = {a - b}"),
            ("answer", str(a - b)),
        ),
    )


def multiplication(*, a: int, b: int) -> Problem:
    """Partial products by the digits of the second factor."""
    b_tens, b_ones = _tens_and_ones(b)
    return Problem(
        prompt=f"What is the product of {a} and {b}?",
        final_answer=str(a * b),
        steps=(
            ("partial", f"{a} * {b_tens} = {a * b_tens}"),
            ("partial", f"{a} * {b_ones} = {a * b_ones}"),
            ("sum", f"{a * b_tens} + {a * b_ones} = {a * b}"),
        ),
    )


def division(*, dividend: int, divisor: int) -> Problem:
    """Quotient and remainder, also where the remainder is zero."""
    quotient, remainder = divmod(dividend, divisor)
    product = quotient * divisor
    return Problem(
        prompt=(
            f"Divide {dividend} by {divisor}. Answer with quotient and remainder, in the form "
            "'4 remainder 1'."
        ),
        final_answer=f"{quotient} remainder {remainder}",
        steps=(
            ("quotient", f"{quotient} * {divisor} = {product} is the largest multiple that fits"),
            ("remainder", f"{dividend} - {product} = {remainder}"),
            ("answer", f"{quotient} remainder {remainder}"),
        ),
    )


def order_of_operations(*, a: int, b: int, c: int, form: str) -> Problem:
    """Brackets before products before sums."""
    expression = form.replace("a", str(a)).replace("b", str(b)).replace("c", str(c))
    if form == "a + b * c":
        first, result = f"{b} * {c} = {b * c}", a + b * c
        second = f"{a} + {b * c} = {result}"
    elif form == "(a + b) * c":
        first, result = f"{a} + {b} = {a + b}", (a + b) * c
        second = f"{a + b} * {c} = {result}"
    else:
        first, result = f"{a} * {b} = {a * b}", a * b - c
        second = f"{a * b} - {c} = {result}"
    return Problem(
        prompt=f"Evaluate {expression}.",
        final_answer=str(result),
        steps=(("first", first), ("then", second), ("answer", str(result))),
    )


def percent_of(*, percent: int, whole: int) -> Problem:
    """One percent is a hundredth; the answer is exact, never rounded."""
    answer = trimmed(percent * whole, 100)
    return Problem(
        prompt=f"How much is {percent}% of {whole}?",
        final_answer=answer,
        steps=(
            ("one_percent", f"1% of {whole} is {trimmed(whole, 100)}"),
            ("calculation", f"{percent} * {trimmed(whole, 100)} = {answer}"),
        ),
    )


def average(*, numbers: list[int]) -> Problem:
    """The sum shared equally; four numbers, so that the decimals end."""
    total = sum(numbers)
    answer = trimmed(total, len(numbers))
    return Problem(
        prompt=f"What is the mean of {listed(numbers)}?",
        final_answer=answer,
        steps=(
            ("sum", f"{' + '.join(str(number) for number in numbers)} = {total}"),
            ("divide", f"{total} / {len(numbers)} = {answer}"),
        ),
    )


def rounding(*, number: int) -> Problem:
    """To the nearest hundred; a number half-way between two never occurs."""
    lower = number // 100 * 100
    answer = lower if number - lower < lower + 100 - number else lower + 100
    return Problem(
        prompt=f"Round {number:,} to the nearest hundred, with a comma for the thousands.",
        final_answer=f"{answer:,}",
        steps=(
            ("between", f"{number:,} lies between {lower:,} and {lower + 100:,}"),
            ("compare", f"{lower:,} is {number - lower} away, the other {lower + 100 - number}"),
            ("answer", f"{answer:,} is nearer"),
        ),
    )


def linear_equation(*, factor: int, addend: int, x: int) -> Problem:
    """Undo the sum, then the product."""
    total = factor * x + addend
    return Problem(
        prompt=f"Solve {factor}x + {addend} = {total} for x.",
        final_answer=str((total - addend) // factor),
        steps=(
            ("subtract", f"{factor}x = {total} - {addend} = {total - addend}"),
            ("divide", f"x = {total - addend} / {factor} = {(total - addend) // factor}"),
        ),
    )


TEMPLATES = (
    open_set(
        name="addition",
        category="arithmetic",
        choices={"a": range(12, 500), "b": range(12, 500)},
        write=addition,
    ),
    open_set(
        name="subtraction",
        category="arithmetic",
        choices={"a": range(40, 600), "b": range(12, 400)},
        write=subtraction,
    ),
    open_set(
        name="multiplication",
        category="arithmetic",
        choices={"a": range(3, 100), "b": range(12, 100)},
        write=multiplication,
    ),
    open_set(
        name="division",
        category="arithmetic",
        choices={"dividend": range(30, 500), "divisor": range(3, 15)},
        write=division,
    ),
    open_set(
        name="order_of_operations",
        category="arithmetic",
        choices={
            "a": range(2, 20),
            "b": range(2, 20),
            "c": range(2, 20),
            "form": OPERATION_FORMS,
        },
        write=order_of_operations,
    ),
    open_set(
        name="percent_of",
        category="percent",
        choices={"percent": range(2, 100), "whole": range(20, 500)},
        write=percent_of,
    ),
    open_set(
        name="average",
        category="arithmetic",
        choices={"numbers": several(range(2, 60), 4)},
        write=average,
    ),
    open_set(
        name="rounding",
        category="arithmetic",
        choices={"number": range(1010, 9890)},
        write=rounding,
        allows=lambda number: number % 100 not in (0, 50),
    ),
    open_set(
        name="linear_equation",
        category="algebra",
        choices={"factor": range(2, 13), "addend": range(1, 40), "x": range(-9, 20)},
        write=linear_equation,
    ),
)
