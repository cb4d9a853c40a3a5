"""The audit of the rows: those that were promised, decoded and counted as the records say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from m43.errors import Problem, differences, problem
from m43.evidence.contract import M43
from m43.evidence.run import EvaluationFacts, LoadedRun, TrainFacts
from m43.files import file_sha256
from m43.records import DataTable, EvaluationRecord, LintRecord, Prediction, RunDir, read_record
from m43.rows import (
    Answered,
    KnownPrompts,
    RowsError,
    count_forms,
    count_repeats,
    is_parquet,
    read_columns,
)

_PREDICTIONS_FILE, _LINT_FILE = RunDir.predictions.name, RunDir.lint.name
_ROWS = "do not rely on this folder: it does not say the truth about the rows that it names"
_DECODING = "do not rely on this folder: its answers end where the profile does not say"
_LINT = "do not rely on this folder: the lint is not that of its rows and steps"


def audit_rows(
    loaded_run: LoadedRun, repository: Path, run: RunDir | None = None
) -> Iterator[Problem]:
    """Compare every prediction with the evaluation file and with the training file.

    A run that scored itself against other answers than the file's, or that hides which of its
    questions training had seen, would show here only.
    """
    if loaded_run.evaluation is None or loaded_run.profile is None:
        return
    facts, data = loaded_run.evaluation, loaded_run.profile.data
    yield from _same_training_file(loaded_run)
    questions = rows_of(data, facts.eval_rows_sha256, repository, "evaluation", run)
    if isinstance(questions, Problem):
        yield questions
    else:
        yield from _question_problems(facts, questions, data.evaluation.name)
    trained = rows_of(data, facts.train_rows_sha256, repository, "training", run)
    if isinstance(trained, Problem):
        yield trained
    else:
        yield from _counted(loaded_run.train, len(trained), data.train.name)
        known = KnownPrompts.of(str(row["prompt"]) for row in trained)
        yield from _overlap_problems(facts, known, data.train.name)


def _same_training_file(loaded_run: LoadedRun) -> Iterator[Problem]:
    train, evaluation = loaded_run.train, loaded_run.evaluation
    if train and evaluation and train.train_rows_sha256 != evaluation.train_rows_sha256:
        found = f"training rows {evaluation.train_rows_sha256[:12]}…"
        expected = f"{train.train_rows_sha256[:12]}…, which training read (train.json)"
        yield problem(found, expected, "eval.json, train_rows_sha256", _ROWS)


def _counted(train: TrainFacts | None, rows: int, file: str) -> Iterator[Problem]:
    if train is not None and train.rows_in_file != rows:
        found, where = f"{train.rows_in_file} training rows", "train.json, rows_in_file"
        yield problem(found, f"{rows}, as many as {file} has", where, _ROWS)


def rows_of(
    data: DataTable,
    digest: str,
    repository: Path,
    kind: Literal["training", "evaluation"],
    run: RunDir | None = None,
) -> list[dict[str, Any]] | Problem:
    """Read the file with a digest; its place in the profile is that of the machine of the run.

    Of a Parquet file the run keeps its rows: they are read, and the file itself is not asked for.
    """
    trained = kind == "training"
    named = data.train if trained else data.evaluation
    kept = _kept(run, named, trained=trained)
    path = kept if is_parquet(named) else _place(named, digest, repository)
    if path is None and is_parquet(named):
        name = RunDir.train_rows.name if trained else RunDir.eval_rows.name
        found = f"no {name}, in which the run keeps the rows of {named.name}"
        return problem(found, "the rows as they were read", name, _ROWS)
    if path is None:
        found = f"no file {named.name} with SHA-256 {digest[:12]}…"
        action = f"check out the commit of the run, or put its {kind} file there"
        where = repository / M43 / "data" / named.name
        return problem(found, f"the {kind} file of this run", where, action)
    try:
        file = read_columns(path, data.columns.train if trained else data.columns.evaluation)
    except RowsError as error:
        return error.problems[0]
    return file.problems[0] if file.problems else [dict(row.fields) for row in file.rows]


def rows_file(run: RunDir, repository: Path) -> Path | None:
    """Return where the evaluation file of a run lies here; None where no file has its digest."""
    named, record = (
        run.read_profile().data.evaluation,
        read_record(run.evaluation, EvaluationRecord),
    )
    kept = _kept(run, named, trained=False)
    return kept if is_parquet(named) else _place(named, record.eval_rows_sha256, repository)


def _kept(run: RunDir | None, named: Path, *, trained: bool) -> Path | None:
    """Return where a run keeps the rows of a Parquet file; None where it does not."""
    if run is None or not is_parquet(named):
        return None
    path = run.train_rows if trained else run.eval_rows
    return path if _is_rows(path) else None


def _place(named: Path, digest: str, repository: Path) -> Path | None:
    places = (repository / M43 / "data" / named.name, named)
    return next((each for each in places if _is_rows(each) and file_sha256(each) == digest), None)


# Far above any file of rows: a profile of somebody else may name a device, or a file with holes.
_MOST_BYTES = 1 << 28


def _is_rows(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size <= _MOST_BYTES
    except OSError:
        # Such as a name that is too long for this system.
        return False


def _question_problems(
    facts: EvaluationFacts, questions: list[dict[str, str]], file: str
) -> Iterator[Problem]:
    given = {row["id"]: row for row in questions}
    answered = {row.id: row for row in facts.predictions}
    ids = sorted(row.id for row in facts.predictions)
    if ids != sorted(given):
        found = f"{len(ids)} ids that are not those of {file}"
        yield problem(found, f"the {len(given)} ids of {file}", _PREDICTIONS_FILE, _ROWS)
    for name, row in answered.items():
        if name in given:
            yield from _row_problems(row, given[name], file)


def _row_problems(row: Prediction, given: dict[str, str], file: str) -> Iterator[Problem]:
    pairs = {
        "prompt": (row.prompt, given["prompt"]),
        "expected": (row.expected, given["expected_answer"]),
        "section": (row.section, given["section"]),
        "category": (row.category, given["category"]),
        "difficulty": (row.difficulty, given["difficulty"]),
    }
    where = f"{_PREDICTIONS_FILE}, row {row.id}"
    yield from differences(pairs, where, _ROWS, f", as in {file}")


def _overlap_problems(facts: EvaluationFacts, known: KnownPrompts, file: str) -> Iterator[Problem]:
    for row in facts.predictions:
        flags = {
            "in_training_text": (row.in_training_text, known.has_text(row.prompt)),
            "in_training_template": (row.in_training_template, known.has_template(row.prompt)),
        }
        where = f"{_PREDICTIONS_FILE}, row {row.id}"
        yield from differences(flags, where, _ROWS, f", as {file} has it")


def audit_decoding(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Check stops and limit against the profile, and the outputs against the stop text."""
    if loaded_run.evaluation is None or loaded_run.profile is None:
        return
    decoding, profile = loaded_run.evaluation.decoding, loaded_run.profile
    pairs = {
        "decoding.stop_text": (decoding.stop_text, profile.template.stop_text),
        "decoding.max_new_tokens": (decoding.max_new_tokens, profile.evaluation.max_new_tokens),
        "decoding.precision": (decoding.precision, profile.evaluation.precision),
    }
    yield from differences(pairs, RunDir.evaluation.name, _DECODING, ", as in contract.lock.json")
    if not decoding.stop_ids:
        where = "eval.json, decoding.stop_ids"
        yield problem("no id that ends an answer", "eos at least", where, _DECODING)
    stop = profile.template.stop_text
    for row in loaded_run.evaluation.predictions:
        if stop and (stop in row.base_output or stop in row.tuned_output):
            found, where = f"an output with {stop!r} in it", f"{_PREDICTIONS_FILE}, row {row.id}"
            yield problem(found, "outputs that end before it", where, _DECODING)


def audit_stops(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold the ids that end an answer against the model's own files, and count the tokens."""
    evaluation, profile = loaded_run.evaluation, loaded_run.profile
    if evaluation is None or profile is None:
        return
    decoding, where = evaluation.decoding, RunDir.evaluation.name
    vocabulary, ends = _vocabulary(run)
    if not ends <= set(decoding.stop_ids):
        missing = ", ".join(map(str, sorted(ends - set(decoding.stop_ids))))
        found = f"{list(decoding.stop_ids)}, without {missing}"
        yield problem(found, "eos as the model's files name it", f"{where}, decoding.stop_ids", "")
    ids = (*decoding.stop_ids, *decoding.stop_text_ids)
    if len(set(ids)) != len(ids) or not all(0 <= each < vocabulary for each in ids):
        found, expected = f"the ids {list(ids)}", f"each once, below {vocabulary:,}"
        yield problem(found, expected, f"{where}, decoding", "")
    if bool(decoding.stop_text_ids) and not decoding.stop_text:
        found = "ids that spell no text"
        yield problem(found, "none", f"{where}, decoding.stop_text_ids", "")
    outputs = [out for row in evaluation.predictions for out in (row.base_output, row.tuned_output)]
    # An answer that is not empty took a token at least, and none more than the limit.
    least = sum(bool(out) for out in outputs)
    most = len(outputs) * decoding.max_new_tokens
    if not max(1, least) <= evaluation.generated_tokens <= most:
        found = f"{evaluation.generated_tokens} tokens generated"
        expected = f"{max(1, least)} to {most}, for {len(outputs)} outputs"
        yield problem(found, expected, f"{where}, generated_tokens", "")


def _vocabulary(run: RunDir) -> tuple[float, set[int]]:
    """Return the size of the vocabulary and the ids that end a text; as far as they are told."""
    tables = []
    for name in ("config.json", "generation_config.json"):
        try:
            table = json.loads((run.model / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            table = {}
        tables.append(table if isinstance(table, dict) else {})
    named = [each.get("eos_token_id") for each in tables]
    flat = [one for each in named for one in (each if isinstance(each, list) else [each])]
    size = tables[0].get("vocab_size")
    whole = float(size) if isinstance(size, int) else float("inf")
    return whole, {each for each in flat if isinstance(each, int)}


def audit_lint(
    loaded_run: LoadedRun, repository: Path, run: RunDir | None = None
) -> Iterator[Problem]:
    """Count again what the lint counted, from the metrics and from both files of rows."""
    lint, train, evaluation = loaded_run.lint, loaded_run.train, loaded_run.evaluation
    if lint is None or train is None or evaluation is None or loaded_run.profile is None:
        return
    yield from _step_problems(lint, train, evaluation)
    data = loaded_run.profile.data
    trained = rows_of(data, lint.train_rows_sha256, repository, "training", run)
    asked = rows_of(data, lint.eval_rows_sha256, repository, "evaluation", run)
    # That a file is not there is told where its rows are audited.
    if not isinstance(trained, Problem) and not isinstance(asked, Problem):
        yield from _lint_row_problems(lint, trained, asked)


def _step_problems(
    lint: LintRecord, train: TrainFacts, evaluation: EvaluationFacts
) -> Iterator[Problem]:
    steps = train.metrics
    pairs = {
        "train_rows_sha256": (lint.train_rows_sha256, train.train_rows_sha256),
        "eval_rows_sha256": (lint.eval_rows_sha256, evaluation.eval_rows_sha256),
        "rows_in_file": (lint.rows_in_file, train.rows_in_file),
        "rows_planned": (lint.rows_planned, train.rows_used),
        "truncated_rows": (lint.truncated_rows, 0),
        "padded_tokens": (lint.padded_tokens, sum(step.padded_tokens for step in steps)),
        "real_tokens": (lint.real_tokens, sum(step.real_tokens for step in steps)),
        "supervised_tokens": (
            lint.supervised_tokens,
            sum(step.supervised_tokens for step in steps),
        ),
    }
    yield from differences(pairs, _LINT_FILE, _LINT)


def _lint_row_problems(
    lint: LintRecord, trained: list[dict[str, str]], asked: list[dict[str, str]]
) -> Iterator[Problem]:
    answered = [Answered(prompt=row["prompt"], answer=row["final_answer"]) for row in trained]
    repeats = count_repeats(answered)
    forms = count_forms([row.answer for row in answered], [row["expected_answer"] for row in asked])
    pairs = {
        "duplicate_rows": (lint.duplicate_rows, repeats.duplicates),
        "contradicting_rows": (lint.contradicting_rows, repeats.contradictions),
        "forms": (lint.forms, forms),
    }
    yield from differences(pairs, _LINT_FILE, _LINT)
