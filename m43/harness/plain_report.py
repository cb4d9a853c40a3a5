"""A report of pytest's as everybody may read it: without secrets, and without what steers."""

from collections.abc import Sequence

import pytest

from m43.evidence.redaction import redact
from m43.plain_text import visible, without_escapes


def make_plain(report: pytest.TestReport, secrets: Sequence[str]) -> None:
    """Clean what a report shows: the failure, and what was printed and logged meanwhile.

    A library's error may hold an address with the token in it, and a traceback the arguments of
    a function. A failure that has nothing to hide keeps its form.
    """
    report.sections = [(name, _plain(text, secrets)) for name, text in report.sections]
    text = str(report.longrepr) if report.longrepr is not None else ""
    plain = _plain(text, secrets)
    if plain != text:
        report.longrepr = plain


def _plain(text: str, secrets: Sequence[str]) -> str:
    return visible(redact(without_escapes(text), secrets))
