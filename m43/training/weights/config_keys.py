"""Typed values of a model folder's config.json, and what is wrong with them, all at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from m43.errors import FailureClass, Problem, ProblemsError
from m43.files import read_whole
from m43.text import NotTextError, brief, read_text
from m43.typed_json import read_json

MOST = 2**31 - 1
"""Sizes are int32 on the device."""
LEAST_NUMBER, MOST_NUMBER = 1e-30, 1e30
"""What float32 holds with room for a product; every number in a Gemma is far inside."""
_MOST_BYTES, _MOST_IDS = 1 << 24, 64
_AS_PUBLISHED = "use a Gemma 1, Gemma 2 or Gemma 3 model as it was published"


class ModelConfigError(ProblemsError):
    """A config.json that describes something which m43 does not compute."""

    failure_class = FailureClass.MODEL_INVALID


def read_config_table(path: Path) -> Mapping[str, object]:
    """Read the file's table.

    Raises: ModelConfigError, when it holds none.
    """
    reader = Keys(path=path)
    try:
        data = read_json(read_text(read_whole(path, _MOST_BYTES)))
    except NotTextError as error:
        reader.refuse("", str(error), "a readable JSON object", error.action)
        raise ModelConfigError(reader.problems) from error
    except (OSError, ValueError) as error:
        reader.refuse("", f"{type(error).__name__}: {error}", "a readable JSON object")
        raise ModelConfigError(reader.problems) from error
    if not isinstance(data, dict):
        reader.refuse("", type(data).__name__, "a JSON object")
        raise ModelConfigError(reader.problems)
    return data


@dataclass(kw_only=True)
class Keys:
    """Read typed values of config.json and collect what does not fit.

    After a problem a stand-in of the right type is returned, so that reading goes on.

    Attributes:
        within: what stands before every key in an error, of a table inside the file's.
    """

    path: Path
    data: Mapping[str, object] = field(default_factory=dict)
    within: str = ""
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, key: str, found: str, expected: str, action: str = _AS_PUBLISHED) -> None:
        """Note a problem with a key."""
        self.problems.append(
            Problem(
                found=found,
                expected=expected,
                where=f"{self.path}, {self.within}{key}" if key else str(self.path),
                action=action,
            )
        )

    def shown(self, key: str) -> str:
        """Return what an error says was found under a key."""
        return brief(self.data[key]) if key in self.data else "nothing"

    def integer(self, key: str, least: int, most: int = MOST) -> int:
        """Read a whole number within bounds."""
        value = self.data.get(key)
        if type(value) is not int or not least <= value <= most:
            self.refuse(key, self.shown(key), f"a whole number from {least} to {most}")
            return max(least, 1)
        return value

    def number(self, key: str) -> float:
        """Read a number above 0."""
        return self.positive(key, self.data.get(key), self.shown(key))

    def positive(self, key: str, value: object, shown: str) -> float:
        """Take a value that must be a number above 0."""
        number = cast("float", value)
        if type(value) not in (int, float) or not LEAST_NUMBER <= number <= MOST_NUMBER:
            self.refuse(key, shown, f"a number above 0, of {LEAST_NUMBER} to {MOST_NUMBER}")
            return 1.0
        return float(cast("float", value))

    def optional_number(self, key: str) -> float | None:
        """Read a number above 0, or None for null or no such key."""
        return None if self.data.get(key) is None else self.number(key)

    def only(self, key: str, allowed: tuple[object, ...], why: str) -> None:
        """Refuse a key that is there with another value; that it is absent is fine."""
        value = self.data.get(key)
        if value is not None and value not in allowed:
            # JSON's null is what its absence means: nothing else was ever asked for.
            words = " or ".join(map(repr, allowed)) or "null or no such key"
            self.refuse(key, brief(value), f"{words}, {why}")

    def ids(self, key: str) -> tuple[int, ...]:
        """Read a token id, or several."""
        value = self.data.get(key)
        ids = value if isinstance(value, list) else [value]
        sound = all(type(one) is int and 0 <= one <= MOST for one in ids)
        if not 0 < len(ids) <= _MOST_IDS or not sound:
            self.refuse(key, self.shown(key), f"a token id or a list of {_MOST_IDS} at most")
            return (0,)
        return tuple(ids)
