"""Plain text: words of others without what steers a terminal, turns lines round, or has no end."""

import re
import reprlib

_LONGEST_VALUE = 80

# Controls; marks that turn the writing direction or have no width; halves of surrogate pairs,
# which no encoding can write.
STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)

# Source: ECMA-48: control sequences, operating system commands, and the escapes of two letters.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")


def visible(text: str) -> str:
    """Replace what steers instead of saying; keep tabs and line feeds."""
    return STEERING.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def without_escapes(text: str) -> str:
    r"""Take out the sequences by which a terminal is told to colour, move and name things.

    Example:
        >>> without_escapes("\x1b[1;31mred\x1b[0m")
        'red'
    """
    return _ESCAPES.sub("", text)


def clipped(text: str, most: int) -> str:
    """Cut a text that is longer, and say by how much.

    Example:
        >>> clipped("abcdef", 4)
        'abcd [and 2 more characters]'
    """
    more = len(text) - most
    return f"{text[:most]} [and {more} more characters]" if more > 0 else text


def one_line(text: str, most: int) -> str:
    """Write a text on one line that is not longer than can be read."""
    return " ".join(visible(clipped(text, most)).split())


def brief(value: object) -> str:
    """Show the beginning of a value as Python writes it, however large or deep it is.

    Example:
        >>> brief([1, "a"])
        "[1, 'a']"
    """
    text = _Brief().repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


class _Brief(reprlib.Repr):
    """Stops in time: Python's own repr writes all of it, or fails."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 200
        self.maxlist = self.maxtuple = self.maxdict = 20

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write a number of thousands of digits.
        return repr(x) if x.bit_length() <= 200 else f"a number of {x.bit_length()} bits"
