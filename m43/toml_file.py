"""A TOML file that a person wrote by hand, or why it cannot be read."""

import tomllib
from pathlib import Path

from m43.errors import Problem
from m43.text_bytes import NotTextError, read_text, without_mark
from m43.whole_file import read_whole

_MOST_BYTES = 1 << 20


def read_toml(path: Path) -> tuple[object, tuple[Problem, ...]]:
    """Read a file as TOML; return its table, or None with what is wrong."""
    try:
        # A byte order mark, as Notepad writes it, says nothing.
        text = read_text(without_mark(read_whole(path, _MOST_BYTES)))
        return tomllib.loads(text.replace("\r\n", "\n")), ()
    except FileNotFoundError:
        found, expected = "no file", "a profile in TOML"
        action = "give the path of a profile, such as acceptance/production.toml"
    except NotTextError as error:
        found, expected, action = str(error), "readable TOML", error.action
    # ValueError: no TOML, or a number of thousands of digits; RecursionError: nested
    # deeper than Python goes.
    except (OSError, ValueError, RecursionError) as error:
        found, expected = f"{type(error).__name__}: {error}", "readable TOML"
        action = "correct the file"
    return None, (Problem(found=found, expected=expected, where=str(path), action=action),)
