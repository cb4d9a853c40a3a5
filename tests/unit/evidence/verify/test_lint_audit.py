"""What was counted before the first step, and how both models answered, is counted again."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from m43.errors import Problem
from m43.evidence.documents.nodes import Fields
from m43.evidence.documents.scores import rows_section
from m43.evidence.run.loaded_run import LoadedRun, load_run
from m43.evidence.verify.agreements.rows import audit_decoding, audit_lint, audit_rows
from m43.evidence.verify.claims import verify
from m43.files import file_sha256
from m43.records.evaluation_record import FormCount, LintRecord
from m43.records.profile import ColumnsTable, DataColumns, DataTable
from m43.records.run_dir import RunDir
from tests.unit.evidence.documents.written import as_markdown
from tests.unit.evidence.good_records import EVAL_ROWS, REPOSITORY, TRAIN_ROWS, digest, lint_record
from tests.unit.evidence.good_run import write_good_run


def section(lint: LintRecord) -> str:
    """Write the section about the rows."""
    return as_markdown(*rows_section(Fields(lint)))


LINT_LIES = {
    "train_rows_sha256": digest("other"),
    "eval_rows_sha256": digest("other"),
    "rows_in_file": 2399,
    "rows_planned": 2399,
    "truncated_rows": 1,
    "duplicate_rows": 99,
    "contradicting_rows": 99,
    "padded_tokens": 1,
    "real_tokens": 1,
    "supervised_tokens": 1,
    "forms": (),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("lint"))


@pytest.fixture(scope="module")
def loaded_run(good: RunDir) -> LoadedRun:
    """Everything in it."""
    return load_run(good)


def decoding_lies(loaded_run: LoadedRun, **lie: object) -> tuple[Problem, ...]:
    """Audit the decoding of a run that says something else about it."""
    assert loaded_run.evaluation is not None
    changed = replace(loaded_run.evaluation.decoding, **lie)
    evaluation = replace(loaded_run.evaluation, decoding=changed)
    return tuple(audit_decoding(replace(loaded_run, evaluation=evaluation)))


def renamed(loaded_run: LoadedRun, folder: Path) -> LoadedRun:
    """Give a run the same rows in files whose columns have other names."""
    assert loaded_run.profile is not None
    assert loaded_run.evaluation is not None
    assert loaded_run.train is not None
    assert loaded_run.lint is not None
    digests = {}
    for kind, file, answer in (("train", TRAIN_ROWS, "final"), ("eval", EVAL_ROWS, "expected")):
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        old = [{"q": row["prompt"], "a": row[f"{answer}_answer"], "row": row} for row in rows]
        kept = [{**each, **{name: each["row"].get(name) for name in GROUPS}} for each in old]
        (folder / f"{kind}.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in kept))
        digests[f"{kind}_rows_sha256"] = file_sha256(folder / f"{kind}.jsonl")
    columns = ColumnsTable(prompt="q", answer="a")
    asked = replace(columns, **{name: name for name in GROUPS})
    data = DataTable(
        train=folder / "train.jsonl",
        evaluation=folder / "eval.jsonl",
        columns=DataColumns(train=columns, evaluation=asked),
    )
    return replace(
        loaded_run,
        profile=replace(loaded_run.profile, data=data),
        lint=replace(loaded_run.lint, **digests),
        train=replace(loaded_run.train, train_rows_sha256=digests["train_rows_sha256"]),
        evaluation=replace(loaded_run.evaluation, **digests),
    )


GROUPS = ("id", "section", "category", "difficulty")


def test_rows_of_other_columns_are_held_against_the_records_as_m43s_own(
    loaded_run: LoadedRun, tmp_path: Path
) -> None:
    """The prompts, answers and repeats are those of the named columns; of others they are not."""
    run = renamed(loaded_run, tmp_path)
    assert run.profile is not None
    columns = replace(run.profile.data.columns, train=ColumnsTable(prompt="a", answer="q"))
    swapped = replace(run.profile, data=replace(run.profile.data, columns=columns))
    missing = replace(columns, train=ColumnsTable(prompt="nowhere", answer="a"))
    lost = replace(run.profile, data=replace(run.profile.data, columns=missing))

    assert [*audit_rows(run, REPOSITORY), *audit_lint(run, REPOSITORY)] == []
    assert "in_training_template" in str([*audit_rows(replace(run, profile=swapped), REPOSITORY)])
    assert "no column 'nowhere'" in str([*audit_rows(replace(run, profile=lost), REPOSITORY)])


def test_rows_of_parquet_are_read_where_the_run_keeps_them(
    loaded_run: LoadedRun, tmp_path: Path
) -> None:
    """Whoever checks needs no reader of Parquet, nor the file; without what was kept it is told."""
    told, run = renamed(loaded_run, tmp_path), RunDir(tmp_path / "run")
    assert told.profile is not None
    run.path.mkdir()
    data = replace(
        told.profile.data, train=Path("/no/train.parquet"), evaluation=Path("/no/eval.parquet")
    )
    told = replace(told, profile=replace(told.profile, data=data))
    without = [str(each) for each in audit_rows(told, REPOSITORY, run)]
    (tmp_path / "train.jsonl").rename(run.train_rows)
    (tmp_path / "eval.jsonl").rename(run.eval_rows)

    assert "train_rows.jsonl: found no train_rows.jsonl, in which the run keeps" in without[1]
    assert list(audit_rows(told, REPOSITORY, run)) == []
    assert list(audit_lint(told, REPOSITORY, run)) == []
    run.train_rows.write_text("".join(run.train_rows.read_text().splitlines(True)[1:]))
    assert "found 2400 training rows, expected 2399" in str(
        [*map(str, audit_rows(told, REPOSITORY, run))]
    )


def test_an_honest_lint_and_decoding_have_no_problem(loaded_run: LoadedRun) -> None:
    """Nothing is held against a good run."""
    assert tuple(audit_lint(loaded_run, REPOSITORY)) == ()
    assert tuple(audit_decoding(loaded_run)) == ()


@pytest.mark.parametrize("name", sorted(LINT_LIES))
def test_each_lie_of_the_lint_is_one_problem(loaded_run: LoadedRun, name: str) -> None:
    """Each count that can be made again is made again, and the one that differs is named."""
    lying = replace(loaded_run, lint=lint_record(**{name: LINT_LIES[name]}))

    (problem,) = audit_lint(lying, REPOSITORY)

    assert problem.where == f"lint.json, {name}"


@pytest.mark.parametrize(
    ("name", "lie"),
    [("stop_text", ";"), ("max_new_tokens", 999), ("precision", "bfloat16"), ("stop_ids", ())],
)
def test_each_lie_about_the_decoding_is_one_problem(
    loaded_run: LoadedRun, name: str, lie: object
) -> None:
    """Stops and limit are those of the profile, and something ends an answer."""
    (problem,) = decoding_lies(loaded_run, **{name: lie})

    assert problem.where == f"eval.json, decoding.{name}"


def test_an_output_beyond_its_stop_is_named_by_its_row(loaded_run: LoadedRun) -> None:
    """Both models' outputs end before the stop text."""
    assert loaded_run.evaluation is not None
    first, *others = loaded_run.evaluation.predictions
    for lie in (replace(first, base_output="a\nb"), replace(first, tuned_output="a\n")):
        evaluation = replace(loaded_run.evaluation, predictions=(lie, *others))

        (problem,) = audit_decoding(replace(loaded_run, evaluation=evaluation))

        assert problem.where == f"predictions.jsonl, row {first.id}"


def test_a_run_without_its_lint_does_not_verify(good: RunDir, tmp_path: Path) -> None:
    """The lint is one of the records that close the gate."""
    run = RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))
    run.lint.unlink()

    found = "\n".join(map(str, verify(run.path, REPOSITORY)))

    assert "lint.json" in found


def test_the_section_names_what_training_never_shows() -> None:
    """A form that only evaluation has is told in words; where there is none, that is told."""
    forms = (
        FormCount(form="number", training_rows=9, evaluation_rows=4),
        FormCount(form="percent", training_rows=0, evaluation_rows=3),
    )

    text = section(lint_record(forms=forms))

    assert "never shows:** percent (3) (lint.json)" in text
    assert "Training shows every form" in section(lint_record(forms=forms[:1]))


def test_the_section_says_what_was_counted() -> None:
    """Each number with its file."""
    text = section(lint_record(padded_tokens=200, real_tokens=50, truncated_rows=0))

    assert "| 75.0 % of 200 positions | lint.json |" in text
    assert "| 2,400 of 2,400 | lint.json |" in text
    assert "a row that is too long is refused" in text
