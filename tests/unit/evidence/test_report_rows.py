"""Every row of the evaluation stands in the report, the lost ones first, nothing as markup."""

import xml.etree.ElementTree as ET
from dataclasses import replace

from m43.evidence.report_rows import rows_html
from m43.records import Prediction
from tests.unit.evidence.good_records import predictions

ROW = replace(
    predictions()[0],
    id="row-1",
    expected="7",
    base_output=" 8 ",
    base_answer="8",
    base_correct=False,
    tuned_output=" 7\n",
    tuned_answer="7",
    tuned_correct=True,
    in_training_text=False,
    in_training_template=True,
)


def read(*rows: Prediction) -> ET.Element:
    """Parse what is written; it is well formed or the test fails."""
    return ET.fromstring(f"<div>{rows_html(rows)}</div>".replace("<br>", "<br/>"))


def words(element: ET.Element) -> str:
    """Give all text of an element."""
    return " ".join("".join(element.itertext()).split())


def test_a_row_is_shown_whole() -> None:
    """Prompt, expected answer, both outputs as they are, both answers, both verdicts."""
    cells = read(ROW).findall(".//td")

    assert words(cells[0]) == "row-1core, calendar, easytemplate in training"
    assert words(cells[1]) == ROW.prompt
    assert [cell.findtext("pre") for cell in cells[2:]] == ["7", " 8 ", "8", " 7\n", "7"]
    assert words(cells[4]) == "8wrong"
    assert words(cells[6]) == "7right"


def test_what_was_lost_is_first_and_open() -> None:
    """Then what was gained, then what did not change; each group says how many rows it has."""
    lost = replace(ROW, base_correct=True, tuned_correct=False)
    both = replace(ROW, base_correct=True)

    groups = read(both, ROW, lost, ROW).findall("details")

    assert [words(group.find("summary")) for group in groups] == [
        "Lost: right before training, wrong after (1)",
        "Gained: wrong before training, right after (2)",
        "Wrong before and after (0)",
        "Right before and after (1)",
    ]
    assert ["open" in ET.tostring(group, "unicode").split(">")[0] for group in groups] == [
        True,
        False,
        False,
        False,
    ]


def test_every_row_is_in_exactly_one_group() -> None:
    """A hundred rows in, a hundred rows out."""
    page = read(*predictions())

    ids = [cell.text for cell in page.findall(".//td/code")]
    assert sorted(ids) == sorted(row.id for row in predictions())


def test_prose_is_shown_as_no_answer_and_nothing_as_empty() -> None:
    """A wrong number, a sentence and an empty output are three different things."""
    prose = replace(ROW, base_output="Let me think about it.", base_answer="Let me think about it.")
    empty = replace(ROW, base_output="", base_answer="")

    assert words(read(prose).findall(".//td")[4]) == "Let me think about it.no answer"
    assert words(read(empty).findall(".//td")[3]) == "empty"
    assert words(read(empty).findall(".//td")[4]) == "emptyno answer"


def test_what_a_model_says_is_never_markup() -> None:
    """Tags, entities and characters that turn the writing direction are shown as text."""
    hostile = "</pre></details><script>alert(1)</script>&lt;\u202e"
    row = replace(
        ROW,
        id=hostile,
        section=hostile,
        prompt=hostile,
        base_output=hostile,
        base_answer=hostile,
        tuned_output=hostile,
    )

    page = read(row)

    assert page.findall(".//script") == []
    assert len(page.findall("details")) == 4
    assert page.findall(".//td")[1].findtext("pre") == hostile.replace("\u202e", "\ufffd")
