"""Files that nobody here has seen, in the two schemas, run without a change of m43."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from m43.records import profile_check as profiles
from m43.records.evaluation_record import EvaluationRecord, LintRecord
from m43.records.hub_record import DownloadRecord
from m43.records.profile import Profile
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.run_records import ChildError, TrainRecord
from m43.training import child
from tests.unit.evidence.good_records import download_record

PROFILE = Path(__file__).parents[3] / "acceptance" / "rehearsal.toml"
TRAINED, ASKED, LONGEST_PROMPT, STEPS = 550, 100, 500, 3

# As the samples of the schemas show them, and their relatives.
ANSWERS = (
    *("42", "$31.5", "$2.37", "472 km", "1/216", "Friday", "true", "1,000", "x = 7", "15.0"),
    *("nosaer", "3, 5, 8", "50%", "naïve café", "6 ÷ 2", "日曜日", "a\u2028b", "-7"),
)
WORDS = (
    *("If", "the", "12", "items", "cost", "$189,", "how", "many", "'reason'", "÷", "naïve"),
    *("日曜日", "\t", "\n", "\u2028", "{final_answer}", "<eos>", "</s>", "{}", "\\"),
)


def prompt_of(rng: random.Random, length: int) -> str:
    """Draw a text of words, signs and what else may stand in a row."""
    text = "Q"
    while len(text) < length:
        text += " " + rng.choice(WORDS)
    return text[:length]


def write_files(folder: Path) -> None:
    """Write both files, with the fields of the schemas and some that m43 does not read."""
    rng = random.Random(43)
    lengths = [1, LONGEST_PROMPT, *(rng.randint(2, 200) for _ in range(TRAINED - 2))]
    rows = [
        {
            "trace_version": "1.0",
            "prompt": prompt_of(rng, length),
            "final_answer": rng.choice(ANSWERS),
            "steps": [
                {"i": step, "type": "process", "content": f"step {step} \u00f7"}
                for step in range(1 + number % 4)
            ],
            "meta": {"dataset": "other", "seed": number, "tags": ["a"] * (number % 3)},
        }
        for number, length in enumerate(lengths)
    ]
    lengths = [1, LONGEST_PROMPT, *(rng.randint(2, 200) for _ in range(ASKED - 2))]
    questions = [
        {
            "id": f"eval-{number:03}",
            "prompt": prompt_of(rng, length),
            "expected_answer": rng.choice(ANSWERS),
            "section": ("core", "trace_sensitive")[number % 2],
            "category": f"category {number % 7}",
            "difficulty": ("easy", "medium", "hard")[number % 3],
        }
        for number, length in enumerate(lengths)
    ]
    for name, content in (("traces.jsonl", rows), ("eval.jsonl", questions)):
        lines = (json.dumps(row, ensure_ascii=bool(n % 2)) + "\n" for n, row in enumerate(content))
        (folder / name).write_text("".join(lines), encoding="utf-8", newline="\n")


def make_run(folder: Path, model: Path) -> RunDir:
    """Make a run folder whose profile names the files and says how long their rows may be."""
    write_files(folder)
    bundled = profiles.load(PROFILE)
    profile = replace(
        bundled,
        contract=replace(bundled.contract, optimizer_steps=STEPS),
        data=replace(bundled.data, train=folder / "traces.jsonl", evaluation=folder / "eval.jsonl"),
        training=replace(bundled.training, batch_rows=1, sequence_tokens=4096, warmup_steps=1),
        evaluation=replace(bundled.evaluation, batch_rows=10, prompt_tokens=4096, max_new_tokens=2),
    )
    run = RunDir.create(folder / "run")
    write_record(run.profile, profile)
    write_record(
        run.download,
        replace(download_record("0" * 40), folder=model),
    )
    return run


@pytest.fixture
def run(tmp_path: Path, tiny_gemma: Path) -> RunDir:
    """A run folder of one's own."""
    return make_run(tmp_path, tiny_gemma)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_gemma: Path) -> RunDir:
    """A run folder after training."""
    run = make_run(tmp_path_factory.mktemp("unseen"), tiny_gemma)
    assert child.run_job("train", run) == child.FINISHED
    return run


def shrunk(profile: Profile) -> Profile:
    """Allow rows of 300 tokens only."""
    return replace(
        profile,
        training=replace(profile.training, sequence_tokens=300),
        evaluation=replace(profile.evaluation, prompt_tokens=300),
    )


def test_unseen_rows_are_trained_on(trained: RunDir) -> None:
    """550 rows, prompts of up to 500 characters: every row is read and counted."""
    record, lint = read_record(trained.train, TrainRecord), read_record(trained.lint, LintRecord)

    assert (record.rows_in_file, record.optimizer_steps) == (TRAINED, STEPS)
    assert lint.longest_row_tokens > LONGEST_PROMPT
    assert sum(each.training_rows for each in lint.forms) == TRAINED
    assert sum(each.evaluation_rows for each in lint.forms) == ASKED


def test_unseen_questions_are_answered(trained: RunDir) -> None:
    """100 rows, prompts as long: each is answered by both models."""
    assert child.run_job("evaluate", trained) == child.FINISHED

    assert read_record(trained.evaluation, EvaluationRecord).rows_in_file == ASKED
    assert len(trained.read_predictions()) == ASKED


@pytest.mark.parametrize(
    ("job", "name", "setting"),
    [
        ("train", "traces.jsonl", "training.sequence_tokens"),
        ("evaluate", "eval.jsonl", "evaluation.prompt_tokens"),
    ],
)
def test_a_limit_that_is_too_low_is_named_with_the_row(
    run: RunDir, job: child.Job, name: str, setting: str
) -> None:
    """The person who raises it must know which setting, and which row needs it."""
    write_record(run.profile, shrunk(run.read_profile()))
    (run.path / "model").symlink_to(read_record(run.download, DownloadRecord).folder)

    assert child.run_job(job, run) == child.STOPPED

    error = read_record(run.error(child.CHILD_OF_JOB[job]), ChildError)
    second = next(problem for problem in error.problems if f"{name}:2:" in problem)
    assert f"expected at most 300 ({setting}); raise {setting}" in second
