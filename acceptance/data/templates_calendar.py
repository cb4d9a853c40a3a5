"""Questions about days, months, seasons and the clock."""

from __future__ import annotations

from acceptance.data.template import Problem, asked, closed_set, open_set

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
# By whole months, December first; the prompt says so, because calendars differ.
SEASONS = ("winter", "spring", "summer", "autumn")
EVENTS = ("film", "concert", "lesson", "match", "meeting")


def weekday_after(*, opening: str, name: str, day: str) -> Problem:
    """One step forward in the circle of seven days."""
    answer = DAYS[(DAYS.index(day) + 1) % len(DAYS)]
    return Problem(
        prompt=asked(opening, name, f"which day comes after {day}"),
        final_answer=answer,
        steps=(
            ("given", f"The starting day is {day}"),
            ("answer", f"One day forward from {day} is {answer}"),
        ),
    )


def weekday_before(*, opening: str, name: str, day: str) -> Problem:
    """One step back in the circle of seven days."""
    answer = DAYS[(DAYS.index(day) - 1) % len(DAYS)]
    return Problem(
        prompt=asked(opening, name, f"which day comes before {day}"),
        final_answer=answer,
        steps=(
            ("given", f"The starting day is {day}"),
            ("answer", f"One day back from {day} is {answer}"),
        ),
    )


def weekday_or_weekend(*, opening: str, name: str, day: str) -> Problem:
    """The last two days of the week are its end."""
    position = DAYS.index(day) + 1
    answer = "weekend" if position > 5 else "weekday"
    return Problem(
        prompt=asked(opening, name, f"whether this is a weekday or the weekend: {day}"),
        final_answer=answer,
        steps=(
            ("recall", "Monday to Friday are weekdays, Saturday and Sunday the weekend"),
            ("answer", f"{day} is day {position} of the week: {answer}"),
        ),
    )


def month_after(*, opening: str, name: str, month: str) -> Problem:
    """One step forward in the circle of twelve months."""
    position = MONTHS.index(month) + 1
    answer = MONTHS[position % len(MONTHS)]
    return Problem(
        prompt=asked(opening, name, f"which month comes after {month}"),
        final_answer=answer,
        steps=(
            ("given", f"{month} is month number {position} of the year"),
            ("answer", f"One month forward from {month} is {answer}"),
        ),
    )


def season_of_month(*, opening: str, name: str, month: str) -> Problem:
    """Whole months in threes, starting with December."""
    answer = SEASONS[(MONTHS.index(month) + 1) % 12 // 3]
    first = (SEASONS.index(answer) * 3 - 1) % 12
    months = ", ".join(MONTHS[(first + k) % 12] for k in range(3))
    question = f"which season Europe has, with winter from December to February, in {month}"
    return Problem(
        prompt=asked(opening, name, question),
        final_answer=answer,
        steps=(
            ("recall", f"The months of {answer} are {months}"),
            ("answer", f"{month} is one of them, so it is {answer}"),
        ),
    )


def weekday_later(*, day: str, days: int) -> Problem:
    """Whole weeks change nothing, so only the remainder by seven is counted."""
    weeks, rest = divmod(days, 7)
    answer = DAYS[(DAYS.index(day) + rest) % 7]
    return Problem(
        prompt=f"Today is {day}. Which day of the week will it be in {days} days?",
        final_answer=answer,
        steps=(
            ("setup", "After every 7 days the same weekday returns"),
            ("calculation", f"{days} = {weeks} * 7 + {rest}"),
            ("answer", f"Counting {rest} days on from {day} gives {answer}"),
        ),
    )


def ending_time(*, event: str, hour: int, minute: int, minutes: int) -> Problem:
    """Minutes since midnight make a clock into one number."""
    start = hour * 60 + minute
    end = start + minutes
    answer = f"{end // 60:02d}:{end % 60:02d}"
    return Problem(
        prompt=(
            f"A {event} begins at {hour:02d}:{minute:02d} and lasts {minutes} minutes. "
            "At what time does it end, on a 24-hour clock?"
        ),
        final_answer=answer,
        steps=(
            ("setup", f"{hour:02d}:{minute:02d} is {start} minutes after midnight"),
            ("calculation", f"{start} + {minutes} = {end} minutes after midnight"),
            ("answer", f"{end} minutes = {end // 60} hours {end % 60} minutes, so {answer}"),
        ),
    )


TEMPLATES = (
    closed_set("weekday_after", "calendar", {"day": DAYS}, weekday_after),
    closed_set("weekday_before", "calendar", {"day": DAYS}, weekday_before),
    closed_set("weekday_or_weekend", "calendar", {"day": DAYS}, weekday_or_weekend),
    closed_set("month_after", "calendar", {"month": MONTHS}, month_after),
    closed_set("season_of_month", "calendar", {"month": MONTHS}, season_of_month),
    open_set("weekday_later", "calendar", {"day": DAYS, "days": range(8, 121)}, weekday_later),
    open_set(
        name="ending_time",
        category="calendar",
        choices={
            "event": EVENTS,
            "hour": range(7, 20),
            "minute": range(0, 60, 5),
            "minutes": range(25, 200, 5),
        },
        write=ending_time,
    ),
)
