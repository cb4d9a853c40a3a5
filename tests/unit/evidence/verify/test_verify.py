"""A good folder verifies; each lie on disk is a named problem."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from m43 import typed_json
from m43.evidence.verify.claims import verify
from m43.files import file_sha256
from m43.records.evaluation_record import EvaluationResults, Prediction
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.run_records import StepMetrics, TrainRecord
from m43.rows import scoring
from tests.unit.evidence.good_records import EVAL_ROWS, REPOSITORY, TRAIN_ROWS, own_differences
from tests.unit.evidence.good_run import break_gate, stop_at, write_good_run, write_opening
from tests.unit.evidence.tampering import Change, drop_line, edit, forge, found, remove, reseal


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("verify"))


@pytest.fixture
def run(good: RunDir, tmp_path: Path) -> RunDir:
    """A copy of it, to be changed."""
    return RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))


def test_a_good_run_is_supported_in_every_claim(good: RunDir) -> None:
    """Nothing is held against an honest folder."""
    assert verify(good.path, REPOSITORY) == ()


def test_an_honest_failure_is_supported_too(tmp_path: Path) -> None:
    """A failed run that is recorded well verifies as what it is."""
    stopped = stop_at(tmp_path, "venv", lambda run: None, failure_class="no venv")
    broken = break_gate(
        tmp_path / "b", "train-300", "test_train_moves_the_weights", _weights_unmoved
    )

    assert found(stopped) == ""
    assert found(broken) == ""


def _weights_unmoved(run: RunDir) -> None:
    write_record(run.train, replace(read_record(run.train, TrainRecord), parameters_moved=0))


def swap(run: RunDir) -> None:
    """Exchange the two process records."""
    one, other = run.process("train"), run.process("eval")
    text = one.read_text()
    one.write_text(other.read_text())
    other.write_text(text)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(edit("m43_summary.md", "0.3702", "0.1702"), "m43_summary.md:", id="summary"),
        pytest.param(remove("m43_summary.md"), "m43_summary.md: found no document", id="none"),
        pytest.param(
            lambda run: run.failure_analysis.write_text("x"), "failure_analysis.md", id="two"
        ),
        pytest.param(edit("loss_curve.svg", "#1f4e79", "#1f4e78"), "loss_curve.svg", id="curve"),
        pytest.param(remove("loss_curve.svg"), "loss_curve.svg: found no picture", id="no curve"),
        pytest.param(edit("journal.jsonl", "promise_kept", "promise_kopt"), "journal", id="event"),
        pytest.param(drop_line("journal.jsonl"), "journal.jsonl:2", id="journal line"),
        pytest.param(remove("journal.jsonl"), "journal.jsonl", id="no journal"),
        pytest.param(remove("MANIFEST.sha256"), "MANIFEST.sha256", id="no manifest"),
        pytest.param(edit("MANIFEST.sha256", "a", "b"), "MANIFEST.sha256", id="manifest"),
        pytest.param(edit("auth.json", "engineer", "somebody"), "auth.json", id="auth"),
        pytest.param(edit("venv.json", "3.11.9", "3.11.8"), "venv.json", id="venv"),
        pytest.param(edit("train.json", "600000", "600001"), "train.json", id="train"),
        pytest.param(
            edit("plan.json", '"flops_per_s": 100000000000.0', '"flops_per_s": 0.0'),
            "cannot be computed with (ZeroDivisionError",
            id="a device that computes nothing",
        ),
        pytest.param(drop_line("training_metrics.jsonl"), "training_metrics.jsonl", id="step"),
        pytest.param(drop_line("predictions.jsonl"), "predictions.jsonl", id="prediction"),
        pytest.param(edit("evaluation_results.json", "60", "61"), "evaluation_results", id="score"),
        pytest.param(edit("opening.json", '"rehearsal"', '"production"'), "kind", id="kind"),
        pytest.param(edit("opening.json", "rehearsal-1", "rehearsal-2"), "run", id="name"),
        pytest.param(edit("contract.txt", "300", "200"), "contract.txt", id="contract"),
        pytest.param(
            edit("contract.lock.json", '"optimizer_steps": 300', '"optimizer_steps": 200'),
            "contract.lock.json",
            id="profile",
        ),
        pytest.param(edit("closing.json", "123", "124"), "closing.json", id="closing"),
        pytest.param(
            lambda run: (run.path / "model" / "model.safetensors").write_bytes(b"other"),
            "model.safetensors",
            id="weights",
        ),
        pytest.param(
            lambda run: (run.path / "extra").write_text("x"), "a file that was not", id="extra"
        ),
        pytest.param(swap, "process.json", id="swap"),
        pytest.param(
            lambda run: (run.path / "report.html").write_text("hf_" + "B2C3d" * 7),
            "shaped like a hub token",
            id="token",
        ),
    ],
)
def test_one_change_on_disk_is_named(run: RunDir, change: Change, named: str) -> None:
    """Delete, cut, change or swap one thing of a good folder: the problem names it."""
    change(run)

    assert named in found(run)


def _steps(run: RunDir, alter: Callable[[StepMetrics], StepMetrics]) -> None:
    steps = [alter(step) for step in run.read_metrics()]
    run.metrics.write_text("".join(typed_json.dump_line(step) for step in steps))
    reseal(run)


def rows(alter: Callable[[Prediction], Prediction]) -> Change:
    """Change every prediction, count the scores that follow, and seal everything again."""

    def change(run: RunDir) -> None:
        altered = [alter(row) for row in run.read_predictions()]
        assert altered != list(run.read_predictions())
        run.predictions.write_text("".join(typed_json.dump_line(row) for row in altered))
        write_record(run.results, scoring.tally(altered))
        reseal(run)

    return change


RESULT_LIES = {"mcnemar_p": 0.01, "gained": 59, "lost": 1, "in_training_template": 0, "groups": ()}


def results(**changes: object) -> Change:
    """Change the scores alone, and seal everything again."""

    def change(run: RunDir) -> None:
        honest = read_record(run.results, EvaluationResults)
        write_record(run.results, replace(honest, **changes))
        reseal(run)

    return change


def better(run: RunDir) -> None:
    """Narrow the interval of the tuned model's share, and seal everything again."""
    overall = read_record(run.results, EvaluationResults).overall
    interval = replace(overall.tuned_interval, low=0.55)
    results(overall=replace(overall, tuned_interval=interval))(run)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(
            rows(lambda row: replace(row, expected=row.tuned_answer, tuned_correct=True)),
            "row eval-v2-",
            id="other expected answers",
        ),
        pytest.param(
            rows(lambda row: replace(row, tuned_correct=True)),
            "verdict does not follow from the output",
            id="verdicts",
        ),
        pytest.param(
            rows(lambda row: replace(row, in_training_text=True)),
            "eval-v2-001, in_training_text: found True, expected False",
            id="rows that training had not",
        ),
        pytest.param(
            rows(lambda row: replace(row, in_training_template=False)),
            "eval-v2-001, in_training_template: found False, expected True",
            id="templates that training had",
        ),
        *(
            pytest.param(results(**{name: lie}), "evaluation_results.json: found other", id=name)
            for name, lie in RESULT_LIES.items()
        ),
        pytest.param(better, "evaluation_results.json: found other", id="interval"),
        pytest.param(
            forge("eval.json", file_sha256(TRAIN_ROWS), file_sha256(EVAL_ROWS)),
            "eval.json, train_rows_sha256",
            id="other training rows",
        ),
        pytest.param(
            forge("train.json", '"epochs": 1.0', '"epochs": 0.5'), "epochs", id="half an epoch"
        ),
        pytest.param(
            forge("train.json", '"rows_used": 2400', '"rows_used": 9600'), "rows used", id="loops"
        ),
        pytest.param(
            forge("train.json", '"optimizer_steps": 300', '"optimizer_steps": 299'),
            "test_train_takes_exactly_the_promised_steps",
            id="a step less",
        ),
        pytest.param(
            forge("auth.json", "200", "403"),
            "test_auth_is_granted_access_to_the_model",
            id="refused",
        ),
        pytest.param(
            lambda run: _steps(run, lambda step: replace(step, supervised_tokens=9999)),
            "supervised at most real",
            id="more answers than tokens",
        ),
        pytest.param(
            lambda run: _steps(run, lambda step: replace(step, duration_s=60.0)),
            "fit into their process",
            id="more time than there was",
        ),
        pytest.param(
            lambda run: _steps(run, lambda step: replace(step, step=1)), "found step 1", id="step 1"
        ),
    ],
)
def test_a_forgery_that_is_sealed_again_is_still_named(
    run: RunDir, change: Change, named: str
) -> None:
    """Where every digest agrees, the numbers still have to agree with each other."""
    change(run)

    assert named in found(run)


def test_another_contract_in_the_repository_names_the_commit(run: RunDir, tmp_path: Path) -> None:
    """A run is judged by the contract that it was opened under, and no other."""
    repository = tmp_path / "repository"
    shutil.copytree(REPOSITORY / "acceptance", repository / "acceptance")
    path = repository / "acceptance" / "test_production.py"
    path.write_text(path.read_text(encoding="utf-8").replace("500", "600"), encoding="utf-8")

    text = found(run, repository)

    assert "check out commit c0ffee" in text


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("0.0.9", True),
        ("1.0.0", True),
        ("0.3.7", False),
        ("not installed", False),
        ("1", False),
        ("9.9.9; x", False),
    ],
)
def test_a_run_of_another_version_names_the_one_that_can_judge_it(
    run: RunDir, version: str, told: bool
) -> None:
    """In one sentence, whatever else has become different; a fix leaves records as they are."""
    edit("opening.json", '"m43_version": "0.3.0"', f'"m43_version": "{version}"')(run)
    edit("opening.json", '"kind":', '"sort":')(run)
    problems = verify(run.path, REPOSITORY)
    told_of = [each for each in problems if each.where == "opening.json, m43_version"]
    assert bool(told_of) == told
    if told:
        assert problems == tuple(told_of)
        assert problems[0].found == f"a run of m43 {version}"
        assert f"m43 {version} can judge it: `git checkout c0ffee" in problems[0].action


def test_code_in_the_run_folder_is_never_run(run: RunDir, tmp_path: Path) -> None:
    """The kept contract is text: whatever stands in it, nothing happens."""
    mark = tmp_path / "ran"
    code = f"\nopen({str(mark)!r}, 'w')\n"
    run.contract_text.write_text(run.contract_text.read_text(encoding="utf-8") + code)

    assert "contract.txt" in found(run)
    assert not mark.exists()


def test_a_production_run_that_hides_a_difference_is_named(tmp_path: Path) -> None:
    """The locked decisions are compared, not believed."""
    shown = write_good_run(tmp_path / "a", "production", profile_differences=own_differences())
    hidden = write_good_run(tmp_path / "b", "production")

    assert found(shown) == ""
    assert "training.learning_rate" in found(hidden)


def test_a_run_without_an_end_supports_no_claim_as_a_whole(tmp_path: Path) -> None:
    """What was ended from outside is not verified, and the reason is one line."""
    run = RunDir.create(tmp_path / "rehearsal-1")
    write_opening(run)

    assert found(run).count("\n") == 0
    assert "no closing record" in found(run)


def test_an_empty_folder_does_not_verify(tmp_path: Path) -> None:
    """Nothing is not supported by nothing."""
    assert verify(tmp_path, REPOSITORY) != ()


def test_verify_needs_the_standard_library_only(good: RunDir) -> None:
    """A judge without any package, in isolated mode, can verify the folder."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from m43.evidence.verify.claims import verify\n"
        "problems = verify(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(*problems, sep='\\n')\n"
        "sys.exit(1 if problems else 0)\n"
    )
    command = [sys.executable, "-I", "-S", "-c", script, str(good.path), str(REPOSITORY)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
