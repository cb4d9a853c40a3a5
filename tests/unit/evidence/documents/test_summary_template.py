"""The template is what the real document looks like, with names where a run puts values."""

import itertools
import re
from pathlib import Path

import pytest

from m43.evidence.contract.contract import read_contract
from m43.evidence.documents.summary import summary_template
from tests.unit.evidence.good_records import CONTRACT, profile_of
from tests.unit.evidence.good_run import write_good_run

MEASURED = re.compile(r"^\| .* \| (?:auth|venv|train|eval|lint|opening)\.json \|$")


@pytest.fixture(scope="module")
def template() -> str:
    """The template of a rehearsal's summary."""
    return summary_template(profile_of(), read_contract(CONTRACT))


def outline(text: str) -> list[str]:
    """Give the headings, the heads of the tables and the promises."""
    lines = text.splitlines()
    heads = [line for line, after in itertools.pairwise(lines) if after.startswith("| --")]
    promises = re.findall(r"<br>`(test_\w+)` \|", text)
    return [line for line in lines if line.startswith("#")] + heads + promises


def test_it_has_the_sections_of_the_real_document(template: str, tmp_path: Path) -> None:
    """The same renderer wrote both, so neither can have what the other has not."""
    real = write_good_run(tmp_path).summary.read_text(encoding="utf-8")
    wanted = outline(real)
    # The template discloses an earlier attempt, to show how that looks.
    assert [line for line in outline(template) if line != "| run | kind | began |"] == wanted
    assert len(wanted) > 50


def test_every_measured_value_is_a_name(template: str) -> None:
    """In each row of a table that names a record's file, something stands in braces."""
    rows = [line for line in template.splitlines() if MEASURED.match(line)]
    assert len(rows) > 25
    # The run's name stands in the profile, which is known beforehand.
    assert [line for line in rows if "{" not in line] == [
        "| run | `rehearsal-@time` | opening.json |"
    ]


def test_it_is_a_template_from_its_first_line_on(template: str) -> None:
    """Nobody can take it for the summary of a run; it never says that something changed."""
    assert template.startswith("<!-- A template: no run made it.")
    assert "**changed**" not in template
    assert not re.search(r"\bNone\b(?! of them)(?!\. Every other file)", template)
