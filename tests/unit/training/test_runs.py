"""A whole training and evaluation run, and what each broken thing does to it."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m43 import typed_json
from m43.errors import FailureClass
from m43.files import file_sha256
from m43.records import profile_check
from m43.records.evaluation_record import EvaluationRecord, EvaluationResults, LintRecord
from m43.records.hub_record import DownloadRecord
from m43.records.profile import ColumnsTable, DataColumns, DataTable, Profile
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.run_records import ChildError, Heartbeat, TrainRecord
from m43.rows import scoring
from m43.training import child
from m43.training.weights import read_write
from m43.training.weights.config_json import read_model_config
from m43.training.weights.read_write import weights_digest
from tests.unit.evidence.good_records import download_record

STEPS, BATCH_ROWS, ROWS, QUESTIONS = 6, 4, 30, 7
PROFILE = Path(__file__).parents[3] / "acceptance" / "rehearsal.toml"

pytestmark = pytest.mark.usefixtures("compiled_once")
MakeRun = Callable[..., RunDir]
ChangeProfile = Callable[[Profile], Profile]


def unchanged(profile: Profile) -> Profile:
    """Leave the profile as it is."""
    return profile


def small(profile: Profile, folder: Path) -> Profile:
    """Shrink the bundled rehearsal to a few steps of the tiny model."""
    return replace(
        profile,
        contract=replace(profile.contract, optimizer_steps=STEPS, eval_rows=QUESTIONS),
        data=replace(
            profile.data, train=folder / "train.jsonl", evaluation=folder / "eval_v2.jsonl"
        ),
        training=replace(
            profile.training,
            batch_rows=BATCH_ROWS,
            sequence_tokens=64,
            warmup_steps=2,
            # So high that six steps teach when to stop.
            learning_rate=0.03,
        ),
        evaluation=replace(profile.evaluation, batch_rows=4, prompt_tokens=40, max_new_tokens=5),
    )


def write_data(folder: Path) -> None:
    """Write training rows, and questions of which two are known from training."""
    rows = [
        {"prompt": f"{n}+1?", "final_answer": str(n + 1), "steps": [{"content": "add"}]}
        for n in range(ROWS)
    ]
    questions = [
        {
            "id": f"row-{n}",
            "prompt": f"{n}+1?" if n < 2 else f"{n}+2?",
            "expected_answer": str(n),
            "section": "core",
            "category": "arithmetic",
            "difficulty": "easy",
        }
        for n in range(QUESTIONS)
    ]
    for name, content in (("train.jsonl", rows), ("eval_v2.jsonl", questions)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in content))


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """The rehearsal's profile, its revision replaced by one that the loader accepts."""
    path = tmp_path_factory.mktemp("profile") / "rehearsal.toml"
    text = PROFILE.read_text(encoding="utf-8")
    lines = [
        f'revision = "{"0" * 40}"' if line.startswith("revision") else line
        for line in text.splitlines()
    ]
    path.write_text("\n".join(lines))
    return profile_check.load(path)


def make_run(path: Path, profile: Profile, model: Path, data: Path) -> RunDir:
    """Make a run folder as the earlier gates leave it."""
    run = RunDir.create(path)
    write_record(run.profile, small(profile, data))
    write_record(
        run.download,
        replace(download_record("0" * 40), folder=model),
    )
    return run


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A run folder after both children, and the model that they began with."""

    run: RunDir
    base: Path


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, tiny_gemma: Path, bundled: Profile
) -> Finished:
    """Train and evaluate once, in this process, for all tests that only look."""
    folder = tmp_path_factory.mktemp("run")
    write_data(folder)
    run = make_run(folder / "run", bundled, tiny_gemma, folder)
    assert child.run_job("train", run) == child.FINISHED
    assert child.run_job("evaluate", run) == child.FINISHED
    return Finished(run=run, base=tiny_gemma)


@pytest.fixture
def prepared(tmp_path: Path, tiny_gemma: Path, bundled: Profile) -> RunDir:
    """A run folder of its own, with a model of its own, for a test that breaks something."""
    write_data(tmp_path)
    model = shutil.copytree(tiny_gemma, tmp_path / "base")
    return make_run(tmp_path / "run", bundled, model, tmp_path)


def test_training_takes_exactly_its_steps(finished: Finished) -> None:
    """The optimizer, the metrics and the heartbeat count the same."""
    record = read_record(finished.run.train, TrainRecord)
    metrics = finished.run.read_metrics()

    assert record.optimizer_steps == STEPS
    assert [line.step for line in metrics] == list(range(1, STEPS + 1))
    assert read_record(finished.run.heartbeat("train"), Heartbeat).done == STEPS


def test_training_counts_tokens_apart(finished: Finished) -> None:
    """Supervised tokens are among the real ones, those among the padded."""
    for line in finished.run.read_metrics():
        assert 2 * BATCH_ROWS <= line.supervised_tokens < line.real_tokens < line.padded_tokens


def test_training_moves_and_saves_the_weights(finished: Finished) -> None:
    """The digests are those of the folders, and almost every weight moved."""
    record = read_record(finished.run.train, TrainRecord)

    assert record.base_weights_sha256 == weights_digest(finished.base)
    assert record.model_sha256 == weights_digest(finished.run.model)
    assert record.reloaded_sha256 == record.model_sha256 != record.base_weights_sha256
    assert (record.method, record.trained_parameters) == ("full", record.parameters)
    config = read_model_config(finished.base)
    assert (record.architecture, record.parameters) == (config.architecture, config.parameters)
    assert 0 < record.parameters_moved <= record.parameters
    assert record.device == "cpu:cpu"


def test_training_uses_each_row_at_most_once(finished: Finished) -> None:
    """24 of 30 rows are 0.8 epochs."""
    record = read_record(finished.run.train, TrainRecord)

    assert (record.rows_used, record.rows_in_file, record.epochs) == (24, 30, 0.8)


def test_training_learns(finished: Finished) -> None:
    """The loss of the last step is below the first."""
    losses = [line.loss_nats for line in finished.run.read_metrics()]

    assert losses[-1] < losses[0]


def exchanged_while_read(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Have weights exchanged for the moment in which they are read, and put back with their time.

    One value of the last tensor, a norm, has another sign of zero.
    """

    def read(folder: Path, *words: object, **more: object) -> object:
        path = next(folder.glob("*.safetensors"))
        data, status = path.read_bytes(), path.stat()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 0x80]))
        try:
            return read_write.read_weights(folder, *words, **more)  # type: ignore[arg-type]
        finally:
            path.write_bytes(data)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    monkeypatch.setattr(place, read)


def test_base_weights_that_are_exchanged_while_they_are_read_have_another_digest(
    prepared: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is digested is what is trained, whatever lies in the folder before and after."""
    base = read_record(prepared.download, DownloadRecord).folder
    exchanged_while_read(monkeypatch, "m43.training.trainer.read_weights")

    assert child.run_job("train", prepared) == child.FINISHED

    record = read_record(prepared.train, TrainRecord)
    assert record.base_weights_sha256 != weights_digest(base)


def test_weights_that_are_exchanged_while_they_answer_have_another_digest(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is digested is what answers, of both models."""
    run = RunDir(Path(shutil.copytree(finished.run.path, tmp_path / "run")))
    base = Path(shutil.copytree(finished.base, tmp_path / "base"))
    download = replace(read_record(run.download, DownloadRecord), folder=base)
    write_record(run.download, download)
    exchanged_while_read(monkeypatch, "m43.training.evaluate.read_weights")

    assert child.run_job("evaluate", run) == child.FINISHED

    record = read_record(run.evaluation, EvaluationRecord)
    assert record.model_sha256 != weights_digest(run.model)
    assert record.base_weights_sha256 != weights_digest(base)


def test_rows_that_are_exchanged_once_they_were_opened_are_not_what_is_trained(
    finished: Finished, prepared: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever digests them apart digests others: each opening but the first finds other rows."""
    path = prepared.read_profile().data.train
    original, own = path.read_bytes(), os.open
    others = original.replace(b'"final_answer": "1', b'"final_answer": "9')
    assert len(others) == len(original)
    opened: list[object] = []

    def exchange(name: object, *words: object, **more: object) -> int:
        descriptor = own(name, *words, **more)  # type: ignore[arg-type]
        if name == path:
            opened.append(name)
            path.rename(path.with_suffix(".read"))
            path.write_bytes(others)
        return descriptor

    monkeypatch.setattr("m43.files.os.open", exchange)
    assert child.run_job("train", prepared) == child.FINISHED

    record, lint = (
        read_record(prepared.train, TrainRecord), read_record(prepared.lint, LintRecord)
    )  # fmt: skip
    digest = hashlib.sha256(original).hexdigest()
    assert opened
    assert (record.train_rows_sha256, lint.train_rows_sha256) == (digest, digest)
    assert {each.train_rows_sha256 for each in record.processes} == {digest}
    assert weights_digest(prepared.model) == weights_digest(finished.run.model)


def test_training_gives_the_same_again(finished: Finished, prepared: RunDir) -> None:
    """The same rows, model and profile give the same weights, bit for bit."""
    assert child.run_job("train", prepared) == child.FINISHED

    assert weights_digest(prepared.model) == weights_digest(finished.run.model)


def as_parquet(path: Path, name: Callable[[dict[str, str]], dict[str, object]]) -> Path:
    """Write a file of rows as Parquet, its columns under other names, and take the lines away."""
    rows = [name(json.loads(line)) for line in path.read_text().splitlines()]
    pq.write_table(pa.Table.from_pylist(rows), path.with_suffix(".parquet"))
    path.unlink()
    return path.with_suffix(".parquet")


def turns(row: dict[str, str]) -> dict[str, object]:
    """Write a training row as a chat."""
    pairs = (("user", row["prompt"]), ("assistant", row["final_answer"]))
    return {"messages": [{"role": role, "content": content} for role, content in pairs]}


def test_rows_in_parquet_teach_and_ask_what_the_same_lines_do(
    finished: Finished, prepared: RunDir
) -> None:
    """A chat in training, other names in evaluation; the run keeps what it read, by its digest."""
    profile = prepared.read_profile()
    groups = {name: name for name in ("id", "section", "category", "difficulty")}
    data = DataTable(
        train=as_parquet(profile.data.train, turns),
        evaluation=as_parquet(
            profile.data.evaluation,
            lambda row: (
                {"q": row["prompt"], "a": row["expected_answer"]}
                | {name: row[name] for name in groups}
            ),
        ),
        columns=DataColumns(
            train=ColumnsTable(messages="messages"),
            evaluation=ColumnsTable(prompt="q", answer="a", **groups),
        ),
    )
    write_record(prepared.profile, replace(profile, data=data))

    assert child.run_job("train", prepared) == child.FINISHED
    assert child.run_job("evaluate", prepared) == child.FINISHED

    losses = [[line.loss_nats for line in run.read_metrics()] for run in (prepared, finished.run)]
    assert losses[0] == losses[1]
    assert prepared.read_predictions() == finished.run.read_predictions()
    lint, evaluation = (
        read_record(prepared.lint, LintRecord), read_record(prepared.evaluation, EvaluationRecord)
    )  # fmt: skip
    assert lint.train_rows_sha256 == evaluation.train_rows_sha256 == file_sha256(data.train)
    assert lint.eval_rows_sha256 == evaluation.eval_rows_sha256 == file_sha256(data.evaluation)
    kept = [json.loads(line) for line in prepared.train_rows.read_text().splitlines()]
    assert kept[0] == turns({"prompt": "0+1?", "final_answer": "1"})
    assert (len(kept), len(prepared.eval_rows.read_text().splitlines())) == (ROWS, QUESTIONS)
    assert not finished.run.train_rows.exists()


def test_nothing_but_evidence_is_left_in_the_run_folder(finished: Finished) -> None:
    """No caches, no half-written files; what is said to the parent it takes away."""
    assert sorted(path.name for path in finished.run.path.iterdir()) == [
        ".origins.json",
        "contract.lock.json",
        "download.json",
        "eval.heartbeat.json",
        "eval.json",
        "evaluation_results.json",
        "lint.json",
        "model",
        "predictions.jsonl",
        "train.heartbeat.json",
        "train.json",
        "training_metrics.jsonl",
    ]


def test_the_lint_agrees_with_what_the_steps_then_read(finished: Finished) -> None:
    """It is written before the first step and counts the tokens that the metrics count after."""
    lint = read_record(finished.run.lint, LintRecord)
    trained, lines = read_record(finished.run.train, TrainRecord), finished.run.read_metrics()

    assert (lint.rows_in_file, lint.rows_planned) == (trained.rows_in_file, trained.rows_used)
    assert lint.train_rows_sha256 == trained.train_rows_sha256
    assert lint.implied_epochs == trained.epochs
    assert lint.padded_tokens == sum(line.padded_tokens for line in lines)
    assert lint.real_tokens == sum(line.real_tokens for line in lines)
    assert lint.supervised_tokens == sum(line.supervised_tokens for line in lines)


def test_evaluation_states_how_it_decoded(finished: Finished) -> None:
    """One setup for both models: eos, the end of a turn, the new line, the limit."""
    record = read_record(finished.run.evaluation, EvaluationRecord)

    assert record.decoding.stop_ids[0] == 1
    assert record.decoding.stop_text == "\n"
    assert record.decoding.max_new_tokens == 5
    assert not any("\n" in row.base_output for row in finished.run.read_predictions())


def test_evaluation_answers_every_row_with_both_models(finished: Finished) -> None:
    """Rows in the file's order, outputs of at most five tokens, scores that follow."""
    predictions = finished.run.read_predictions()
    record = read_record(finished.run.evaluation, EvaluationRecord)

    assert [row.id for row in predictions] == [f"row-{n}" for n in range(QUESTIONS)]
    assert any(row.base_output != row.tuned_output for row in predictions)
    assert record.rows_in_file == QUESTIONS
    assert [row.id for row in predictions if row.in_training_text] == ["row-0", "row-1"]
    assert all(row.in_training_template for row in predictions[:2])
    assert (
        record.train_rows_sha256 == read_record(finished.run.train, TrainRecord).train_rows_sha256
    )
    assert 2 * QUESTIONS <= record.generated_tokens <= 2 * QUESTIONS * 5
    assert scoring.disagreements(predictions, "") == ()
    assert read_record(finished.run.results, EvaluationResults) == scoring.tally(predictions)


def test_an_answer_ends_at_eos(finished: Finished) -> None:
    """The base model runs into the limit; what training taught to stop, stops, eos counted."""
    record = read_record(finished.run.evaluation, EvaluationRecord)
    tuned = [row.tuned_output for row in finished.run.read_predictions()]

    assert record.generated_tokens == QUESTIONS * 5 + sum(len(text) + 1 for text in tuned)
    assert max(len(text) for text in tuned) < 5


def test_evaluation_names_the_models_that_it_decoded(finished: Finished) -> None:
    """The digests tie the scores to the training record."""
    trained = read_record(finished.run.train, TrainRecord)
    record = read_record(finished.run.evaluation, EvaluationRecord)

    assert record.base_weights_sha256 == trained.base_weights_sha256
    assert record.model_sha256 == trained.model_sha256
    assert record.device == trained.device


def change(run: RunDir, changed: ChangeProfile) -> None:
    """Replace the locked profile before a child reads it."""
    write_record(run.profile, changed(run.read_profile()))


def stopped(run: RunDir, job: child.Job) -> ChildError:
    """Run a job that must stop, and read why it did."""
    assert child.run_job(job, run) == child.STOPPED
    assert not run.train.exists()
    assert not run.evaluation.exists()
    return read_record(run.error(child.CHILD_OF_JOB[job]), ChildError)


def test_another_device_stops_training(prepared: RunDir) -> None:
    """No fallback: the CPU is not the promised card."""
    change(
        prepared,
        lambda profile: replace(
            profile, contract=replace(profile.contract, platform="gpu", device_kind="A Card")
        ),
    )

    error = stopped(prepared, "train")

    assert error.failure_class is FailureClass.WRONG_DEVICE
    assert "found a computation on cpu:cpu, expected gpu:A Card" in error.problems[0]


def test_a_nan_in_a_weight_stops_training_before_the_first_step(prepared: RunDir) -> None:
    """The tensor is named, and nothing was trained."""
    weights = read_record(prepared.download, DownloadRecord).folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-3000:-2998] = b"\xc0\x7f"
    weights.write_bytes(data)

    error = stopped(prepared, "train")

    assert error.failure_class is FailureClass.MODEL_INVALID
    assert error.step == 0
    assert not prepared.metrics.exists()


def test_a_bad_row_stops_training_before_the_first_step(prepared: RunDir) -> None:
    """The row is named by file and line."""
    path = prepared.read_profile().data.train
    path.write_text(path.read_text() + "{bad\n")

    error = stopped(prepared, "train")

    assert error.failure_class is FailureClass.DATA_INVALID
    assert error.problems[0].startswith(f"{path}:{ROWS + 1}: found bad JSON")


def test_too_few_rows_stop_training(prepared: RunDir) -> None:
    """No row is used twice to fill the steps."""
    path = prepared.read_profile().data.train
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:20]))

    error = stopped(prepared, "train")

    assert error.failure_class is FailureClass.DATA_INVALID
    assert "found 20 rows, which give 5 steps, expected at least 24" in error.problems[0]


def test_a_loss_that_is_not_finite_stops_training_with_its_step(prepared: RunDir) -> None:
    """Finite weights can give a loss that is none; no line is made up, no model saved."""
    weights = read_record(prepared.download, DownloadRecord).folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-20_000:-14_000] = b"\x7f\x7f" * 3000
    weights.write_bytes(data)

    error = stopped(prepared, "train")

    assert error.failure_class is FailureClass.NON_FINITE_LOSS
    assert error.step == 1
    assert prepared.read_metrics() == ()
    assert not prepared.model.exists()


def test_a_bad_question_stops_evaluation(prepared: RunDir) -> None:
    """A row that cannot be asked is refused before any is answered."""
    shutil.copytree(read_record(prepared.download, DownloadRecord).folder, prepared.model)
    path = prepared.read_profile().data.evaluation
    path.write_text(path.read_text() + '{"id": "x"}\n')

    error = stopped(prepared, "evaluate")

    assert error.failure_class is FailureClass.DATA_INVALID
    assert not prepared.predictions.exists()


def test_evaluation_without_a_trained_model_stops(prepared: RunDir) -> None:
    """The base model is not evaluated twice in the place of a tuned one that is missing."""
    error = stopped(prepared, "evaluate")

    assert error.failure_class is FailureClass.MODEL_INVALID
    assert str(prepared.model) in error.problems[0]


def test_a_failure_that_nobody_foresaw_leaves_a_record_and_a_traceback(
    prepared: RunDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bug of m43 is a harness error with exit status 1."""

    def broken(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("m43.training.train.run", broken)

    assert child.run_job("train", prepared) == child.CRASHED

    error = read_record(prepared.error("train"), ChildError)
    assert error.failure_class is FailureClass.HARNESS_ERROR
    assert error.problems == ("ValueError: a bug",)
    assert "Traceback" in capsys.readouterr().err


def test_answers_given_again_are_those_that_were_recorded(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a model that is still there, and on the rows that it was asked; nothing is left behind."""
    run = RunDir(Path(shutil.copytree(finished.run.path, tmp_path / "run")))
    rows = run.read_profile().data.evaluation
    before = sorted(path.name for path in run.path.iterdir())

    assert child.replay(run, rows, 3) == 0
    assert json.loads(capsys.readouterr().out) == {"asked": 3, "differing": []}

    lies = [replace(row, tuned_output="right") for row in run.read_predictions()]
    run.predictions.write_text("".join(map(typed_json.dump_line, lies)))
    assert child.replay(run, rows, QUESTIONS) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"asked": QUESTIONS, "differing": [row.id for row in lies]}
    assert sorted(path.name for path in run.path.iterdir()) == before


def test_a_replay_without_weights_says_what_is_missing(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder is often handed on without them."""
    run = RunDir(Path(shutil.copytree(finished.run.path, tmp_path / "run")))
    (run.model / "model.safetensors").unlink()

    assert child.replay(run, run.read_profile().data.evaluation, 1) == 3
    assert "model.safetensors" in capsys.readouterr().err
