"""Golden texts: what a person is shown, kept beside the tests and compared word for word."""

import os
import re
from pathlib import Path

FOLDER = Path(__file__).with_name("goldens")
WRITE = "M43_WRITE_GOLDENS"
"""Written again by: M43_WRITE_GOLDENS=1 .venv/bin/python -m pytest tests/unit/harness"""


def agree(name: str, text: str, *replaced: tuple[str, str]) -> None:
    """Compare a text with the golden of this name, its changing parts taken out first.

    Args:
        name: The golden's file.
        text: What was shown.
        replaced: Pairs of a regular expression and the word that stands in its place.
    """
    for pattern, word in replaced:
        text = re.sub(pattern, word, text)
    path = FOLDER / f"{name}.txt"
    if WRITE in os.environ:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="ascii")
    assert text == path.read_text(encoding="ascii")
