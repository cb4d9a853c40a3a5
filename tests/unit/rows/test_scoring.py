"""Scores follow from the predictions and from nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.records.evaluation_record import Interval, Prediction
from m43.rows import scoring
from m43.rows.scoring import wilson_interval

ROW = Prediction(
    id="row-1",
    section="core",
    category="arithmetic",
    difficulty="easy",
    prompt="What is 3 + 4?",
    expected="7",
    base_output=" 8",
    tuned_output=" 7.0",
    base_answer="8",
    tuned_answer="7.0",
    base_correct=False,
    tuned_correct=True,
    in_training_text=False,
    in_training_template=False,
)


def test_counts_overall_and_by_every_group() -> None:
    """Two rows that differ in section and share the rest, counted by hand."""
    silent = replace(
        ROW,
        id="row-2",
        section="edge_case",
        base_answer="7",
        base_correct=True,
        tuned_answer="",
        tuned_correct=False,
        in_training_template=True,
    )

    results = scoring.tally((ROW, silent))

    counted = {
        tally.group: (tally.rows, tally.base_correct, tally.tuned_correct, tally.tuned_unanswered)
        for tally in (results.overall, *results.groups)
    }
    assert counted == {
        "overall": (2, 1, 1, 1),
        "section: core": (1, 0, 1, 0),
        "section: edge_case": (1, 1, 0, 1),
        "category: arithmetic": (2, 1, 1, 1),
        "difficulty: easy": (2, 1, 1, 1),
        "text: not in training": (2, 1, 1, 1),
        "template: in training": (1, 1, 0, 1),
        "template: not in training": (1, 0, 1, 0),
    }
    assert (results.gained, results.lost, results.mcnemar_p) == (1, 1, 1.0)
    assert (results.in_training_text, results.in_training_template) == (0, 1)
    assert results.overall.base_interval == Interval(low=0.094531, high=0.905469)


def test_prose_where_a_number_is_asked_for_is_counted_as_no_answer() -> None:
    """An answer of another kind is apart from a wrong one; both are not right."""
    rows = (
        replace(ROW, base_answer="It depends on what you mean by that."),
        replace(ROW, base_answer="8"),
        replace(ROW, base_answer=""),
    )

    tally = scoring.tally(rows).overall

    assert (tally.base_correct, tally.base_unanswered, tally.tuned_unanswered) == (0, 2, 0)


def test_the_statistics_are_those_of_the_counts() -> None:
    """Three rows gained, none lost: p is 2 of 8 throws, the intervals those of 0 and 3 of 3."""
    results = scoring.tally((ROW, ROW, ROW))

    assert (results.gained, results.lost, results.mcnemar_p) == (3, 0, 0.25)
    assert results.overall.base_interval == wilson_interval(0, 3)
    assert results.overall.tuned_interval == wilson_interval(3, 3)


@given(
    st.lists(
        st.builds(
            replace,
            st.just(ROW),
            section=st.sampled_from("abc"),
            base_correct=st.booleans(),
            tuned_correct=st.booleans(),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_the_sections_add_up_to_the_whole(rows: list[Prediction]) -> None:
    """Every row is in exactly one section, so their counts sum to the overall ones."""
    results = scoring.tally(rows)

    sections = [tally for tally in results.groups if tally.group.startswith("section")]
    assert sum(tally.rows for tally in sections) == results.overall.rows == len(rows)
    assert sum(tally.tuned_correct for tally in sections) == results.overall.tuned_correct
    assert sum(tally.base_correct for tally in sections) == results.overall.base_correct
    gained_more = results.overall.tuned_correct - results.overall.base_correct
    assert results.gained - results.lost == gained_more


def test_no_predictions_are_no_score() -> None:
    """Nothing out of nothing is refused rather than counted."""
    with pytest.raises(scoring.NoPredictionsError, match="no predictions"):
        scoring.tally(())


def test_a_row_that_follows_from_its_outputs_is_not_named() -> None:
    """An honest row passes."""
    assert scoring.disagreements((ROW,), "") == ()


@pytest.mark.parametrize(
    "lie",
    [
        {"base_correct": True},
        {"tuned_correct": False},
        {"base_answer": "7"},
        {"tuned_answer": "7"},
        {"tuned_output": " 8"},
        {"base_output": ""},
        {"expected": "8"},
    ],
)
def test_a_row_that_was_edited_is_named(lie: dict[str, object]) -> None:
    """Changing any one of outputs, answers, verdicts or the expected answer is noticed."""
    assert scoring.disagreements((replace(ROW, **lie), replace(ROW, id="row-2")), "") == ("row-1",)
