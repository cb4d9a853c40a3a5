"""Plain text: words of others without what steers a terminal, turns lines round, or has no end."""

import re

# Controls; marks that turn the writing direction or have no width; halves of surrogate pairs,
# which no encoding can write.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Replace what steers instead of saying; keep tabs and line feeds."""
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


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
