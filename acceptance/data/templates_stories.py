"""Word problems: money, travel, sharing, measuring."""

from __future__ import annotations

from acceptance.data.template import (
    NAMES,
    Problem,
    dollars,
    open_set,
    several,
    trimmed,
)

# Each unit with the smaller one that it is counted in, and how many of those it holds.
CONVERSIONS = {
    "kilometres": ("metres", 1000),
    "metres": ("centimetres", 100),
    "kilograms": ("grams", 1000),
    "litres": ("millilitres", 1000),
    "hours": ("minutes", 60),
    "minutes": ("seconds", 60),
    "days": ("hours", 24),
    "feet": ("inches", 12),
}
NOTES_DOLLARS = (5, 10, 20, 50)
GOODS = ("pens", "notebooks", "stamps", "candles", "postcards")
VEHICLES = ("bus", "car", "lorry", "tram", "van")
ARTICLES = ("coat", "lamp", "chair", "radio", "bag")


def discount(*, article: str, price_dollars: int, percent: int) -> Problem:
    """Dollars times percent are cents, so nothing is rounded."""
    off_cents = price_dollars * percent
    now_cents = price_dollars * 100 - off_cents
    return Problem(
        prompt=(
            f"A {article} costs ${price_dollars}. Its price is cut by {percent}%. "
            "What does it cost now?"
        ),
        final_answer=dollars(now_cents),
        steps=(
            ("reduction", f"{percent}% of ${price_dollars} is {dollars(off_cents)}"),
            ("subtract", f"${price_dollars} - {dollars(off_cents)} = {dollars(now_cents)}"),
        ),
    )


def change_due(*, name: str, count: int, goods: str, price_cents: int) -> Problem:
    """Paid with the smallest note that is more than the cost."""
    cost = count * price_cents
    note = next(note for note in NOTES_DOLLARS if note * 100 > cost)
    change = dollars(note * 100 - cost)
    return Problem(
        prompt=(
            f"{name} buys {count} {goods} at {dollars(price_cents)} each and pays with a ${note} "
            "note. How much change is due?"
        ),
        final_answer=change,
        steps=(
            ("cost", f"{count} * {dollars(price_cents)} = {dollars(cost)}"),
            ("change", f"${note} - {dollars(cost)} = {change}"),
        ),
    )


def ratio_share(*, people: list[str], first: int, second: int, part_dollars: int) -> Problem:
    """Find what one part is worth, then count the parts."""
    parts = first + second
    total = parts * part_dollars
    part = total // parts
    return Problem(
        prompt=(
            f"{people[0]} and {people[1]} share ${total} in the ratio {first}:{second}. "
            f"How much does {people[0]} get?"
        ),
        final_answer=dollars(first * part * 100),
        steps=(
            ("parts", f"{first} + {second} = {parts} parts"),
            ("one_part", f"${total} / {parts} = ${part}"),
            ("answer", f"{first} * ${part} = ${first * part}"),
        ),
    )


def travel_distance(*, vehicle: str, speed_kmh: int, half_hours: int) -> Problem:
    """Distance is speed times time."""
    hours = trimmed(half_hours, 2)
    answer = trimmed(speed_kmh * half_hours, 2)
    return Problem(
        prompt=(
            f"A {vehicle} keeps a speed of {speed_kmh} km/h for {hours} hours. "
            "What distance is covered?"
        ),
        final_answer=f"{answer} km",
        steps=(
            ("rule", "In each hour the distance grows by the speed"),
            ("calculation", f"{speed_kmh} km/h * {hours} h = {answer} km"),
        ),
    )


def unit_conversion(*, unit: str, tenths: int) -> Problem:
    """Into the smaller unit, so the number grows."""
    smaller, factor = CONVERSIONS[unit]
    amount = trimmed(tenths, 10)
    answer = trimmed(tenths * factor, 10)
    return Problem(
        prompt=f"Convert {amount} {unit} to {smaller}. Give only the number.",
        final_answer=answer,
        steps=(
            ("factor", f"{unit} to {smaller}: multiply by {factor}"),
            ("calculation", f"{amount} * {factor} = {answer}"),
        ),
    )


def rectangle_length(*, width_cm: int, length_cm: int, given: str) -> Problem:
    """Backwards from the area or from the perimeter."""
    if given == "area":
        measure = f"an area of {width_cm * length_cm} cm²"
        area = width_cm * length_cm
        answer = area // width_cm
        working: tuple[tuple[str, str], ...] = (("divide", f"{area} / {width_cm} = {answer}"),)
    else:
        perimeter = 2 * (width_cm + length_cm)
        measure = f"a perimeter of {perimeter} cm"
        answer = perimeter // 2 - width_cm
        working = (
            ("halve", f"{perimeter} / 2 = {perimeter // 2} is width plus length"),
            ("subtract", f"{perimeter // 2} - {width_cm} = {answer}"),
        )
    return Problem(
        prompt=f"A rectangle is {width_cm} cm wide and has {measure}. How long is it?",
        final_answer=f"{answer} cm",
        steps=(*working, ("answer", f"{answer} cm")),
    )


TEMPLATES = (
    open_set(
        name="discount",
        category="money",
        choices={
            "article": ARTICLES,
            "price_dollars": range(12, 240, 2),
            "percent": range(5, 80, 5),
        },
        write=discount,
    ),
    open_set(
        name="change_due",
        category="money",
        choices={
            "name": NAMES,
            "count": range(2, 7),
            "goods": GOODS,
            "price_cents": range(35, 480, 5),
        },
        write=change_due,
    ),
    open_set(
        name="ratio_share",
        category="money",
        choices={
            "people": several(NAMES, 2),
            "first": range(1, 8),
            "second": range(1, 8),
            "part_dollars": range(3, 25),
        },
        write=ratio_share,
        allows=lambda people, first, second, part_dollars: first != second,
    ),
    open_set(
        name="travel_distance",
        category="travel",
        choices={"vehicle": VEHICLES, "speed_kmh": range(20, 96), "half_hours": range(3, 16)},
        write=travel_distance,
    ),
    open_set(
        name="unit_conversion",
        category="conversion",
        choices={"unit": tuple(CONVERSIONS), "tenths": range(11, 100)},
        write=unit_conversion,
    ),
    open_set(
        name="rectangle_length",
        category="geometry",
        choices={
            "width_cm": range(3, 20),
            "length_cm": range(3, 40),
            "given": ("area", "perimeter"),
        },
        write=rectangle_length,
        allows=lambda width_cm, length_cm, given: length_cm > width_cm,
    ),
)
