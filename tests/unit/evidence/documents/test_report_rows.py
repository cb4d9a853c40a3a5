"""Every row of the evaluation stands in the report, the lost ones first, nothing as markup."""

import xml.etree.ElementTree as ET
from dataclasses import replace

from m43.evidence.documents.scores import every_row
from m43.records.evaluation_record import Prediction
from tests.unit.evidence.documents.written import as_html
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
    return ET.fromstring(f"<div>{as_html(*every_row(rows))}</div>")


def words(element: ET.Element | None) -> str:
    """Give all text of an element."""
    assert element is not None
    return " ".join("".join(element.itertext()).split())


def test_a_row_is_shown_whole() -> None:
    """Where it is from, prompt, expected answer, both answers with their verdicts."""
    page = read(ROW)
    cells = page.findall(".//td")

    assert (
        words(page.find(".//tbody//th")) == "row-1core, calendar, easyits template is in training"
    )
    assert words(cells[0]) == ROW.prompt
    assert [words(cell) for cell in cells[1:]] == ["7", "\u2717 wrong8", "\u2713 right7"]


def test_an_output_that_is_more_than_its_answer_is_shown_as_it_is() -> None:
    """Line ends and spaces too, beside the answer that was taken out of it."""
    (pages,) = (read(replace(ROW, tuned_output=" 7\nor 8 ")),)
    cell = pages.findall(".//td")[3]

    assert [each.text for each in cell.findall("pre")] == ["7", " 7\nor 8 "]
    assert words(cell) == "\u2713 right7whole output 7 or 8"


def test_the_worst_is_first_and_open() -> None:
    """Lost, wrong, gained, right; each group says how many rows it has."""
    lost = replace(ROW, base_correct=True, tuned_correct=False)
    both = replace(ROW, base_correct=True)

    groups = read(both, ROW, lost, ROW).findall(".//details")

    assert [words(group.find("summary")) for group in groups] == [
        "Lost: right before training, wrong after (1)",
        "Wrong before and after (0)",
        "Gained: wrong before training, right after (2)",
        "Right before and after (1)",
    ]
    assert [group.get("open") for group in groups] == ["", None, None, None]


def test_the_worst_rows_that_there_are_stand_open() -> None:
    """Nothing lost: the first group that has rows is the one that is read first."""
    groups = read(ROW).findall(".//details")

    assert [group.get("open") for group in groups] == [None, None, "", None]


def test_every_row_is_in_exactly_one_group() -> None:
    """A hundred rows in, a hundred rows out, each a link to itself."""
    links = read(*predictions()).findall(".//tbody//a")

    assert sorted(words(link) for link in links) == sorted(row.id for row in predictions())
    assert all(link.get("href") == f"#{link.get('id')}" for link in links)


def test_the_filter_finds_section_category_and_difficulty_where_it_looks() -> None:
    """The first three notes of a row, in this order; the script makes its choices of them."""
    notes = [words(each) for each in read(ROW).findall(".//tbody//th//span[@class='note']")]

    assert notes[:3] == [ROW.section, ROW.category, ROW.difficulty]


def test_prose_is_shown_as_no_answer_and_nothing_as_empty() -> None:
    """A wrong number, a sentence and an empty output are three different things."""
    prose = replace(ROW, base_output="Let me think.", base_answer="Let me think.")
    empty = replace(ROW, base_output="", base_answer="")

    assert words(read(prose).findall(".//td")[2]) == "\u2717 no answerLet me think."
    assert words(read(empty).findall(".//td")[2]) == "\u2717 no answerempty"


def test_a_long_output_is_cut_and_says_so() -> None:
    """The page stays small; the whole text is named with its place."""
    row = replace(ROW, tuned_output="&" * 100_000, tuned_answer="8")

    cell = read(row).findall(".//td")[3]

    assert 400 < words(cell).count("&") < 2500
    assert "cut here: 100,000 characters, all of them in predictions.jsonl" in words(cell)


def test_what_a_model_says_is_never_markup() -> None:
    """Tags, entities and characters that turn the writing direction are shown as text."""
    hostile = '"</pre></details><script>alert(1)</script>&lt;\u202e'
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
    assert len(page.findall(".//details")) == 4
    assert page.findall(".//td")[0].findtext("pre") == hostile.replace("\u202e", "\ufffd")
