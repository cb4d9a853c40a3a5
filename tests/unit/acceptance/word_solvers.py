"""Solvers of the questions about words, letters, the calendar and plain logic."""

from collections import Counter
from datetime import date, timedelta
from string import ascii_uppercase

from tests.unit.acceptance import facts
from tests.unit.acceptance.solver import Solver, asked, form

# A Monday, and the first day of a year.
MONDAY = date(2024, 1, 1)
COMPASS = {"north": 1j, "east": 1 + 0j, "south": -1j, "west": -1 + 0j}
# Multiplying by -i turns a quarter clockwise.
TURN = {"right": -1j, "half": -1 + 0j, "left": 1j}
TRUTH = {"false": 0, "true": 1}


def _date_of(day: str) -> date:
    week = (MONDAY + timedelta(days=k) for k in range(7))
    return next(found for found in week if found.strftime("%A") == day)


def weekday(day: str, days: int) -> str:
    """Count real days of a calendar."""
    return (_date_of(day) + timedelta(days=days)).strftime("%A")


def _weekday_later(day: str, days: str) -> str:
    return weekday(day, int(days))


def _weekday_or_weekend(day: str) -> str:
    return "weekday" if _date_of(day).isoweekday() in range(1, 6) else "weekend"


def _month_after(month: str) -> str:
    months = (date(2023, number, 1) for number in range(1, 13))
    first = next(found for found in months if found.strftime("%B") == month)
    # 31 days after the first of a month lie in the next month, however long this one is.
    return (first + timedelta(days=31)).strftime("%B")


def _ending_time(hour: str, minute: str, minutes: str) -> str:
    end = timedelta(hours=int(hour), minutes=int(minute)) + timedelta(minutes=int(minutes))
    # str() of a timedelta under a day is h:mm:ss.
    return str(end).removesuffix(":00").rjust(5, "0")


def _first_letter(word: str) -> str:
    return next(iter(word))


def _letter_count(word: str) -> str:
    return str(Counter(word).total())


def _vowel_or_consonant(letter: str) -> str:
    return {"a": "vowel", "e": "vowel", "i": "vowel", "o": "vowel", "u": "vowel"}.get(
        letter, "consonant"
    )


def backwards(word: str) -> str:
    """Move every letter to the front."""
    answer = ""
    for letter in word:
        answer = letter + answer
    return answer


def _letter_order(letters: str) -> str:
    counts = Counter(letters)
    return "".join(letter * counts[letter] for letter in ascii_uppercase)


def _letter_tally(letter: str, word: str) -> str:
    return str(len(word.split(letter)) - 1)


def _syllogism(quantifier: str, kind: str, other: str) -> str:
    if quantifier == "All":
        members = {kind: {"somebody"}, other: {"somebody"}}
    else:
        members = {kind: {"somebody"}, other: set()}
    return "Yes" if members[kind] & members[other] else "No"


def _truth_value(left: str, operator: str, right: str) -> str:
    choose = {"and": min, "or": max}[operator]
    return ("false", "true")[choose(TRUTH[left], TRUTH[right])]


def _compass_turn(turn: str, direction: str) -> str:
    faced = COMPASS[direction] * TURN[turn]
    return next(name for name, vector in COMPASS.items() if vector == faced)


WORD_SOLVERS: tuple[Solver, ...] = (
    asked(r"which day comes after (?P<day>\w+)", lambda day: weekday(day, 1)),
    asked(r"which day comes before (?P<day>\w+)", lambda day: weekday(day, -1)),
    asked(r"whether this is a weekday or the weekend: (?P<day>\w+)", _weekday_or_weekend),
    asked(r"which month comes after (?P<month>\w+)", _month_after),
    asked(
        r"which season Europe has, with winter from December to February, in (?P<month>\w+)",
        lambda month: facts.SEASON[month],
    ),
    form(
        r"Today is (?P<day>\w+)\. Which day of the week will it be in (?P<days>\d+) days\?",
        _weekday_later,
    ),
    form(
        r"A \w+ begins at (?P<hour>\d\d):(?P<minute>\d\d) and lasts (?P<minutes>\d+) minutes\. "
        r"At what time does it end, on a 24-hour clock\?",
        _ending_time,
    ),
    asked(r"the opposite of (?P<word>\w+)", lambda word: facts.OPPOSITE[word]),
    asked(r"the plural of (?P<noun>\w+)", lambda noun: facts.PLURAL[noun]),
    asked(r"the past tense of (?P<verb>\w+)", lambda verb: facts.PAST[verb]),
    asked(
        r"whether this is an animal, a fruit, a colour or a tool: (?P<word>\w+)",
        lambda word: facts.KIND[word],
    ),
    asked(r"the capital of (?P<country>\w+)", lambda country: facts.CAPITAL[country]),
    asked(r"the continent of (?P<country>\w+)", lambda country: facts.CONTINENT[country]),
    asked(r"how many legs this animal has: (?P<animal>\w+)", lambda animal: facts.LEGS[animal]),
    asked(
        r"how many sides this shape has: (?P<shape>\w+)",
        lambda shape: facts.SIDES_BY_PREFIX[shape[:3]],
    ),
    asked(r"the first letter of (?P<word>\w+)", _first_letter),
    asked(r"how many letters this word has: (?P<word>\w+)", _letter_count),
    asked(r"whether this letter is a vowel or a consonant: (?P<letter>[a-z])", _vowel_or_consonant),
    form(r"Spell '(?P<word>\w+)' backwards\.", backwards),
    form(r"Write the word '(?P<word>\w+)' from its last letter to its first\.", backwards),
    form(r"Put the letters (?P<letters>[A-Z]+) into alphabetical order\.", _letter_order),
    form(
        r"Count the letter '(?P<letter>\w)' in the word '(?P<word>\w+)'\. How many are there\?",
        _letter_tally,
    ),
    form(
        r"(?:[A-Z]\w+) is a (?P<kind>\w+)\. (?P<quantifier>All|No) (?P=kind)s are "
        r"(?P<other>\w+)s\. Is [A-Z]\w+ a (?P=other)\?",
        _syllogism,
    ),
    asked(
        r"the truth value of (?P<left>true|false) (?P<operator>and|or) (?P<right>true|false)",
        _truth_value,
    ),
    asked(
        r"the new direction after a (?P<turn>right|half|left) turn from (?P<direction>\w+)",
        _compass_turn,
    ),
)
