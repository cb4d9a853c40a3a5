"""A template: one kind of question, the arguments it can be asked with, and how it is solved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

# Two sizes that add up to 2,400 rows. A question whose answers form a small closed set gets more
# rows: a rehearsal's small model sees every row once and must meet each answer several times.
CLOSED_SET_ROWS = 80
OPEN_SET_ROWS = 25

# People and openings make prompts distinct without changing what is asked.
NAMES = ("Ana", "Ben", "Carla", "Dan", "Eva", "Finn", "Gita", "Hugo", "Ines", "Omar")
OPENINGS = ("Tell {name}", "{name} wants to know")

Choice = Sequence[Any] | Callable[[Random], Any]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What one template makes of one set of arguments; each step is its type and its content."""

    prompt: str
    final_answer: str
    steps: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Template:
    """A kind of question; `write` takes exactly the names in `choices` as its keywords."""

    name: str
    category: str
    rows: int
    choices: Mapping[str, Choice]
    write: Callable[..., Problem]
    allows: Callable[..., bool] | None = None

    def draw(self, random: Random) -> dict[str, Any]:
        """Draw one value for every argument, in the order in which `choices` names them."""
        return {
            name: choice(random) if callable(choice) else random.choice(choice)
            for name, choice in self.choices.items()
        }

    def accepts(self, arguments: Mapping[str, Any]) -> bool:
        """Tell whether the arguments make a question with one clear answer."""
        return self.allows is None or self.allows(**arguments)


def closed_set(
    name: str, category: str, choices: Mapping[str, Choice], write: Callable[..., Problem]
) -> Template:
    """Make a template with few answers; who asks, and how, is added to its choices."""
    return Template(
        name=name,
        category=category,
        rows=CLOSED_SET_ROWS,
        choices={"opening": OPENINGS, "name": NAMES, **choices},
        write=write,
    )


def open_set(
    name: str,
    category: str,
    choices: Mapping[str, Choice],
    write: Callable[..., Problem],
    allows: Callable[..., bool] | None = None,
) -> Template:
    """Make a template whose answer has to be worked out anew every time."""
    return Template(
        name=name,
        category=category,
        rows=OPEN_SET_ROWS,
        choices=choices,
        write=write,
        allows=allows,
    )


def asked(opening: str, name: str, question: str) -> str:
    """Put a question into somebody's mouth.

    Example:
        >>> asked("Tell {name}", "Ana", "the capital of Peru")
        'Tell Ana the capital of Peru.'
    """
    return f"{opening.format(name=name)} {question}."


def several(values: Sequence[Any], count: int) -> Callable[[Random], list[Any]]:
    """Make a choice of `count` different values, in random order."""
    return lambda random: random.sample(values, count)


def trimmed(numerator: int, denominator: int) -> str:
    """Write a quotient as a decimal without trailing zeros, exactly.

    Example:
        >>> trimmed(7700, 100), trimmed(9548, 100), trimmed(-5, 10)
        ('77', '95.48', '-0.5')

    Raises:
        ValueError: The quotient has more than four decimals, or never ends.
    """
    scaled, rest = divmod(abs(numerator) * 10_000, denominator)
    if rest:
        raise ValueError(
            f"{numerator}/{denominator} does not end within four decimals; "
            "choose arguments whose answer can be written exactly"
        )
    whole, decimals = divmod(scaled, 10_000)
    sign = "-" if numerator < 0 else ""
    return f"{sign}{whole}.{decimals:04d}".rstrip("0").rstrip(".")


def dollars(cents: int) -> str:
    """Write an amount of money; whole dollars go without cents.

    Example:
        >>> dollars(237), dollars(6800), dollars(3150)
        ('$2.37', '$68', '$31.50')
    """
    whole, rest = divmod(cents, 100)
    return f"${whole}.{rest:02d}" if rest else f"${whole}"


def listed(values: Sequence[Any]) -> str:
    """Join values with commas, as a sentence lists them."""
    return ", ".join(str(value) for value in values)
