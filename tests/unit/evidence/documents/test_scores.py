"""The scores in words say what the numbers say, and nothing that they do not."""

from dataclasses import replace

from m43.evidence.documents import scores
from m43.evidence.documents.nodes import Fields
from m43.records.evaluation_record import EvaluationResults, Prediction, Tally
from m43.rows import scoring
from tests.unit.evidence.documents.written import line
from tests.unit.evidence.good_records import predictions


def results_of(*right: tuple[bool, bool]) -> EvaluationResults:
    """Score rows of which base and tuned model have right what is said."""
    rows = predictions()[: len(right)]
    return scoring.tally(
        [
            replace(row, base_correct=base, tuned_correct=tuned)
            for row, (base, tuned) in zip(rows, right, strict=True)
        ]
    )


def test_a_change_is_told_with_both_counts_and_p() -> None:
    """Six rows gained and one lost: p is 2 (1 + 7) of 128 throws, 0.125."""
    text = scores.change_words(
        Fields(results_of(*[(False, True)] * 6, (True, False), (True, True)))
    )

    assert text == (
        "The tuned model has 6 rows right that the base model has wrong, and 1 row wrong that the "
        "base model has right; exact McNemar p = 0.125 (evaluation_results.json)."
    )


def test_luck_is_named_where_it_cannot_be_excluded() -> None:
    """Five rows gained are not below the bar, six are."""
    five, six = (Fields(results_of(*[(False, True)] * count)) for count in (5, 6))

    assert "not significant at 0.05" in scores.luck_words(five)
    assert ": significant at 0.05" in scores.luck_words(six)


def test_models_that_do_not_differ_have_nothing_to_test() -> None:
    """No row is right in one model only."""
    text = scores.change_words(Fields(results_of((True, True), (False, False))))

    assert "the same rows right" in text
    assert "p = 1" in text


def test_groups_are_read_from_overall_to_category() -> None:
    """Overall, sections, difficulties from easy on, categories; the overlap apart."""
    results = scoring.tally(predictions())

    kinds = [tally.group.split(":")[0] for tally in scores.by_kind(results)]
    assert list(dict.fromkeys(kinds)) == ["overall", "section", "difficulty", "category"]
    difficulties = [tally.group for tally in scores.by_kind(results) if "difficulty" in tally.group]
    assert difficulties == ["difficulty: easy", "difficulty: medium", "difficulty: hard"]
    assert {tally.group.split(":")[0] for tally in scores.by_overlap(results)} == {
        "text",
        "template",
    }
    shown = (*scores.by_kind(results), *scores.by_overlap(results))
    assert len(shown) == 1 + len(results.groups)


def test_scores_that_were_not_written_by_m43_are_shown_too() -> None:
    """A group of another name and one without rows neither vanish nor break the page."""
    results = results_of((True, True))
    strange = replace(results.overall, group="strange", rows=0)

    shown = scores.by_kind(replace(results, groups=(strange, *results.groups)))

    assert shown[-1] == strange
    assert scores.cells(Fields(strange))[1:3] == ("0", "1")


def test_every_column_has_its_cell() -> None:
    """A cell that went missing would move all numbers under another head."""
    tally: Tally = results_of((True, False), (False, False), (False, True)).overall

    cells = dict(zip(scores.HEAD, map(line, scores.cells(Fields(tally))), strict=True))

    assert cells["base right"] == "1 (33 %)"
    assert cells["base, 95 %"] == "6.1 to 79.2 %"
    assert cells["change"] == "+0"


def test_what_training_had_is_counted_in_words() -> None:
    """By text and by template."""
    rows: list[Prediction] = [
        replace(row, in_training_text=index < 1, in_training_template=index < 3)
        for index, row in enumerate(predictions()[:4])
    ]

    text = scores.overlap_words(Fields(scoring.tally(rows)))

    assert "1 of 4 prompts occur in the training file" in text
    assert "; 3 share a template with it" in text
