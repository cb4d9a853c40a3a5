"""What pytest reports of a run holds no secret and steers nothing."""

import pytest

from m43.harness.plugin.reporting import make_plain

SECRET = "a-very-secret-word"


def report(longrepr: object, *sections: tuple[str, str]) -> pytest.TestReport:
    """Make a report of a promise that failed."""
    return pytest.TestReport(
        "test_x", ("test_production.py", 1, "test_x"), {}, "failed", longrepr, "call", sections
    )


def test_what_was_printed_and_logged_is_clean() -> None:
    """Libraries log addresses with the token in them, in colours."""
    found = report(None, ("Captured log call", f"\x1b[31mGET https://u:{SECRET}@hub\x1b[0m"))

    make_plain(found, (SECRET,))

    assert found.sections == [("Captured log call", "GET https://[REDACTED]@hub")]


def test_a_traceback_with_a_secret_becomes_plain_text() -> None:
    """Without what it holds, and with all the rest."""
    found = report(f"world = World(environment={{'HF_TOKEN': '{SECRET}'}})\nE  \x1b[2JError")

    make_plain(found, (SECRET,))

    assert found.longrepr == "world = World(environment={'HF_TOKEN': '[REDACTED]'})\nE  Error"


def test_a_failure_with_nothing_to_hide_keeps_its_form() -> None:
    """The sentence of the assert is taken out of it."""

    class Form:
        def __str__(self) -> str:
            return "assert 1 == 2"

    form = Form()
    found = report(form)

    make_plain(found, (SECRET,))

    assert found.longrepr is form
