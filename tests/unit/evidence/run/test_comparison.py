"""Two run folders side by side: every difference is told, and what is alike is not."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from m43 import typed_json
from m43.__main__ import main
from m43.evidence.documents.comparison import NOTHING, comparison_html, comparison_markdown
from m43.evidence.run.comparison import ABSENT, compare
from m43.evidence.run.loaded_run import LoadedRun, load_run
from m43.records.evaluation_record import Prediction
from m43.records.run_dir import RunDir, write_record
from m43.rows import scoring
from tests.unit.evidence.good_records import (
    predictions,
    probe_record,
    profile_of,
    step_metrics,
    venv_record,
)
from tests.unit.evidence.good_run import stop_at, write_good_run


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    """A run that nobody changes."""
    return load_run(write_good_run(tmp_path_factory.mktemp("one")))


def with_rows(run: RunDir, rows: tuple[Prediction, ...]) -> LoadedRun:
    """Give a run other predictions."""
    run.predictions.write_text("".join(typed_json.dump_line(row) for row in rows))
    write_record(run.results, scoring.tally(rows))
    return load_run(run)


def test_a_run_does_not_differ_from_itself(good: LoadedRun) -> None:
    """Nothing is lost, nothing gained, nothing listed."""
    found = compare(good, good)

    assert all(pair.same for pair in found.overview)
    assert found.promises == found.measured == found.settings == found.environment == ()
    assert found.promises_alike == len(good.contract.promises if good.contract else ())
    assert found.answers.rows == 100
    assert found.answers.gained == found.answers.lost == ()
    assert found.answers.p == 1
    assert comparison_markdown(found).count(NOTHING) == 3


def test_answers_gained_and_lost_are_named_with_both_answers(
    good: LoadedRun, tmp_path: Path
) -> None:
    """By hand: one row turns wrong, two turn right; 3 changes give p = 1."""
    rows = list(predictions())
    rows[0] = replace(rows[0], tuned_answer="no idea", tuned_correct=False)
    for place in (70, 71):
        right = rows[place].expected
        rows[place] = replace(rows[place], tuned_answer=right, tuned_correct=True)

    found = compare(good, with_rows(write_good_run(tmp_path), tuple(rows)))

    assert [row.id for row in found.answers.lost] == [rows[0].id]
    assert (found.answers.lost[0].one, found.answers.lost[0].other) == (rows[0].expected, "no idea")
    assert [row.id for row in found.answers.gained] == [rows[70].id, rows[71].id]
    assert found.answers.p == 1
    text = comparison_markdown(found)
    assert "B has 2 right that A has wrong, and 1 wrong that A has right" in text
    assert "### Gained: wrong in A, right in B (2)" in text


def test_only_the_same_question_is_compared(good: LoadedRun, tmp_path: Path) -> None:
    """A row of the same id with another prompt is another question."""
    rows = list(predictions())
    rows[0] = replace(rows[0], prompt="Something else?", tuned_correct=False)

    found = compare(good, with_rows(write_good_run(tmp_path), tuple(rows)))

    assert found.answers.rows == 99
    assert found.answers.lost == ()


def test_what_one_run_did_not_reach_is_absent(good: LoadedRun, tmp_path: Path) -> None:
    """A run that stopped at the first gate has no curve, no answers, no environment."""
    other = load_run(stop_at(tmp_path, "auth", lambda run: None, failure_class="no token"))

    found = compare(good, other)

    overview = {pair.what: pair.other for pair in found.overview}
    assert overview["verdict"] == "NOT ACCEPTED (rehearsal)"
    assert overview["recorded steps"] == ABSENT
    assert {pair.other for pair in found.promises} == {"not judged"}
    assert [point.step for point in found.points][::10] == [1, 300]
    assert {point.loss.other for point in found.points} == {ABSENT}
    assert "did not answer one question in common" in comparison_markdown(found)


def test_settings_and_packages_that_differ_are_listed(good: LoadedRun, tmp_path: Path) -> None:
    """The learning rate and a package, and not what is alike."""
    run = write_good_run(tmp_path)
    profile = profile_of()
    write_record(
        run.profile, replace(profile, training=replace(profile.training, learning_rate=0.5))
    )
    packages = tuple(
        replace(each, version="0.10.3") if each.name == "jax" else each
        for each in probe_record().packages
    )
    write_record(run.venv, venv_record(probe_record(packages=packages)))

    found = compare(good, load_run(run))

    assert [(pair.what, pair.one, pair.other) for pair in found.settings] == [
        ("training.learning_rate", "0.002", "0.5")
    ]
    assert [(pair.what, pair.one, pair.other) for pair in found.environment] == [
        ("package jax", "0.10.2", "0.10.3")
    ]


def test_the_page_draws_both_curves_and_escapes_both_models(
    good: LoadedRun, tmp_path: Path
) -> None:
    """Four pictures of two lines each; an answer is text; the page is well formed."""
    rows = list(predictions())
    rows[0] = replace(rows[0], tuned_answer="<script>alert(1)</script>", tuned_correct=False)
    run = write_good_run(tmp_path)
    lines = [typed_json.dump_line(step_metrics(step)) for step in range(1, 101)]
    run.metrics.write_text("".join(lines))
    other = with_rows(run, tuple(rows))

    page = comparison_html(compare(good, replace(other, metrics=other.metrics[:100])))

    body = re.sub(r"<(style|script)>.*?</\1>", "", page.split("\n", 1)[1], flags=re.DOTALL)
    ET.fromstring(body)
    assert page.count("<figure>") == 4
    assert "A: 300 steps" in page
    assert "B: 100 steps" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert page.count("<script>") == 1


def test_the_command_prints_markdown_and_writes_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both from one call; a folder that is no run is refused before anything is written."""
    one, page = write_good_run(tmp_path / "a"), tmp_path / "page.html"

    assert main(["compare", str(one.path), str(one.path), "--html", str(page)]) == 0
    assert capsys.readouterr().out.startswith("# Two runs compared\n")
    assert page.read_text().startswith("<!DOCTYPE html>")

    assert main(["compare", str(one.path), str(tmp_path), "--html", str(tmp_path / "no")]) == 2
    assert not (tmp_path / "no").exists()
