"""Whole runs on packed rows and on turns of a chat, and what stops them before a step."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from m43.errors import FailureClass
from m43.records import profile_check
from m43.records.evaluation_record import EvaluationRecord, LintRecord
from m43.records.profile import Profile
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.run_records import ChildError, TrainRecord
from m43.training import child
from m43.training.data.tokenizer import read_tokenizer
from m43.training.weights.config_json import read_model_config
from tests.unit.training.test_runs import PROFILE, QUESTIONS, STEPS, make_run, write_data

pytestmark = pytest.mark.usefixtures("compiled_once")
MakeRun = Callable[[Path, Callable[[Profile], Profile]], RunDir]


@pytest.fixture
def make(tmp_path: Path) -> MakeRun:
    """Make a run folder as the earlier gates leave it, with a profile that differs."""

    def make(model: Path, changed: Callable[[Profile], Profile]) -> RunDir:
        write_data(tmp_path)
        run = make_run(tmp_path / "run", profile_check.load(PROFILE), model, tmp_path)
        write_record(run.profile, changed(run.read_profile()))
        return run

    return make


def packed(profile: Profile) -> Profile:
    """One packed row a step."""
    return replace(profile, training=replace(profile.training, packing=True, batch_rows=1))


def chat(profile: Profile) -> Profile:
    """Turns of user and model."""
    return replace(profile, template=replace(profile.template, style="chat", prompt="{prompt}"))


def test_packed_training_counts_its_tokens(tiny_gemma: Path, make: MakeRun) -> None:
    """Fewer positions, the same kind of evidence: each row at most once, steps as promised."""
    run = make(tiny_gemma, packed)

    assert child.run_job("train", run) == child.FINISHED

    record, lines = read_record(run.train, TrainRecord), run.read_metrics()
    lint = read_record(run.lint, LintRecord)
    assert record.optimizer_steps == len(lines) == STEPS
    assert STEPS < record.rows_used <= record.rows_in_file
    assert lint.real_tokens == sum(line.real_tokens for line in lines)
    assert lint.padded_tokens == sum(line.padded_tokens for line in lines) == STEPS * 56
    assert lint.supervised_tokens == sum(line.supervised_tokens for line in lines)
    assert lint.padding_share < 0.4


def test_a_chat_model_trains_and_answers(tiny_chat_gemma: Path, make: MakeRun) -> None:
    """The same run with turns: the end of a turn ends an answer, and the template is saved too."""
    run = make(tiny_chat_gemma, chat)

    assert child.run_job("train", run) == child.FINISHED
    assert child.run_job("evaluate", run) == child.FINISHED

    tokenizer = read_tokenizer(run.model, read_model_config(run.model))
    decoding = read_record(run.evaluation, EvaluationRecord).decoding
    assert tokenizer.id_of("<end_of_turn>") in decoding.stop_ids
    assert (run.model / "tokenizer_config.json").exists()
    assert len(run.read_predictions()) == QUESTIONS


def test_a_chat_of_a_base_model_stops_before_the_first_step(
    tiny_gemma: Path, make: MakeRun
) -> None:
    """There is no template to fall back to."""
    run = make(tiny_gemma, chat)

    assert child.run_job("train", run) == child.STOPPED

    error = read_record(run.error("train"), ChildError)
    assert error.failure_class is FailureClass.MODEL_INVALID
    assert "found no chat template" in error.problems[0]


def test_a_row_that_cannot_be_asked_stops_training_already(tiny_gemma: Path, make: MakeRun) -> None:
    """The evaluation's rows are read before the first step, not only after the last."""
    run = make(tiny_gemma, lambda profile: profile)
    path = run.read_profile().data.evaluation
    path.write_text(path.read_text() + '{"id": "x"}\n')

    assert child.run_job("train", run) == child.STOPPED

    error = read_record(run.error("train"), ChildError)
    assert (error.failure_class, error.step) == (FailureClass.DATA_INVALID, 0)
    assert not run.lint.exists()
    assert not run.metrics.exists()
