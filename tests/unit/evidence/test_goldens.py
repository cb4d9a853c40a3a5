"""The two documents say of known runs what they said before, word for word."""

from pathlib import Path

import pytest

from m43.errors import FailureClass
from tests.unit.evidence import goldens
from tests.unit.evidence.failed_runs import FAILURES

DOCUMENTS = goldens.documents()


def test_every_failure_class_has_a_golden_and_every_golden_a_document() -> None:
    """A class added later is shown before it can be met."""
    assert set(FAILURES) == set(FailureClass)
    assert {path.stem for path in goldens.FOLDER.glob("*.md")} == set(DOCUMENTS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_as_it_was_read_last(tmp_path: Path, name: str) -> None:
    """Words change on purpose: write the goldens again and read what git shows."""
    text = DOCUMENTS[name](tmp_path)

    expected = goldens.golden(name).read_text(encoding="utf-8")
    assert text == expected, f"if that is meant: {goldens.COMMAND}"


@pytest.mark.parametrize("failure_class", FAILURES)
def test_a_golden_names_its_class_in_its_first_lines(failure_class: FailureClass) -> None:
    """The example of a class is one of that class."""
    text = goldens.golden(f"failure_analysis.{failure_class.name.lower()}").read_text()

    assert f": **{failure_class}**." in "".join(text.splitlines(keepends=True)[:6])
