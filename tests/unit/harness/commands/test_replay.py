"""What `verify --replay` says of answers that were given again."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from m43.__main__ import main
from m43.harness.commands import run_folder
from m43.harness.process import TRAINING
from m43.records.run_dir import RunDir
from tests.unit.evidence.good_records import REPOSITORY
from tests.unit.evidence.good_run import write_good_run


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("replay"))


def answering(
    monkeypatch: pytest.MonkeyPatch,
    *differing: str,
    status: int = 0,
    variables: dict[str, str] | None = None,
) -> list[str]:
    """Have the child answer at once, and keep what it was called with."""
    called: list[str] = []
    honest = subprocess.run

    def run(words: Sequence[str], **settings: Any) -> subprocess.CompletedProcess[Any]:
        if words[0] != sys.executable or "replay" not in words:
            return honest(words, **settings)
        called.extend(words)
        if variables is not None:
            variables.update(settings["env"])
        said = json.dumps({"asked": 3, "differing": differing}) + "\n"
        return subprocess.CompletedProcess(words, status, stdout=said, stderr="out of memory\n")

    monkeypatch.setattr(subprocess, "run", run)
    return called


def test_answers_that_come_out_as_recorded_are_counted(
    good: RunDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The child is given the folder, the file of rows that has the digest, and the number."""
    called = answering(monkeypatch)
    assert main(["verify", "--replay", "3", str(good.path)]) == 0
    assert "replay: 3 of 3 answers came out as recorded\n" in capsys.readouterr().out
    module, job, folder, rows, count = called[-5:]
    assert (module, job, folder) == (TRAINING, "replay", str(good.path))
    assert (Path(rows).name, count) == ("eval_v2.jsonl", "3")
    assert "-I" in called


def test_the_child_gets_the_variables_of_a_child(
    good: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No token by any name, no proxy, no library of others; where to compute the reader may say."""
    token = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz01234567"
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "CUDA_NOTE", "LD_AUDIT", "HTTPS_PROXY"):
        monkeypatch.setenv(name, token)
    given: dict[str, str] = {}
    answering(monkeypatch, variables=given)
    assert main(["verify", "--replay", "3", str(good.path)]) == 0

    assert not any(token in value for value in given.values())
    assert not {"LD_AUDIT", "LD_PRELOAD", "HTTPS_PROXY", "XLA_FLAGS", "PYTHONPATH"} & given.keys()
    assert (given["HF_HUB_OFFLINE"], given["JAX_PLATFORMS"]) == ("1", "")
    assert {"PATH", "M43_PARENT_PID"} <= given.keys()

    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert main(["verify", "--replay", "3", str(good.path)]) == 0
    assert given["JAX_PLATFORMS"] == "cpu"


def test_another_answer_is_named_and_supports_nothing(
    good: RunDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In float32 the same model answers the same."""
    answering(monkeypatch, "eval-v2-007")
    assert main(["verify", "--replay", "3", str(good.path)]) == 1
    told = capsys.readouterr().out
    assert told.startswith(
        f"{good.path}: NOT VERIFIED, its records as they lie say ACCEPTED (rehearsal)"
    )
    assert "2 of 3 answers came out as recorded" in told
    assert "NOT SUPPORTED  --replay: found 1 other answers of 3 (eval-v2-007)" in told
    assert "every claim" not in told


def in_bfloat16(good: RunDir, folder: Path) -> RunDir:
    """Copy a run, and have its models answer in bfloat16."""
    run = RunDir(Path(shutil.copytree(good.path, folder / good.path.name)))
    text = run.profile.read_text().replace('"precision": "float32"', '"precision": "bfloat16"')
    run.profile.write_text(text)
    assert run.read_profile().evaluation.precision == "bfloat16"
    return run


def test_in_bfloat16_an_answer_may_differ_and_that_is_said(
    good: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another device rounds otherwise: what differs decides nothing, and is counted."""
    answering(monkeypatch, "eval-v2-007", "eval-v2-008")
    told, problems = run_folder._replay(in_bfloat16(good, tmp_path), REPOSITORY, 3)
    assert told.startswith("replay: 1 of 3 answers came out as recorded; in bfloat16 another ")
    assert problems == ()


def test_in_bfloat16_the_same_answers_need_no_word(
    good: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in float32."""
    answering(monkeypatch)
    told, problems = run_folder._replay(in_bfloat16(good, tmp_path), REPOSITORY, 3)
    assert (told, problems) == ("replay: 3 of 3 answers came out as recorded", ())


def test_in_bfloat16_nothing_but_other_answers_is_named(
    good: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounding does not make another model of it."""
    answering(monkeypatch, "eval-v2-007", "eval-v2-008", "eval-v2-009")
    told, (found,) = run_folder._replay(in_bfloat16(good, tmp_path), REPOSITORY, 3)
    assert told == "replay: 0 of 3 answers came out as recorded"
    assert found.found == "3 other answers of 3 (eval-v2-007, eval-v2-008, eval-v2-009)"


def test_rows_of_another_file_are_not_answered(
    good: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no file has the digest of the rows, that is said and no child is started."""
    called = answering(monkeypatch)
    run = RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))
    text = run.evaluation.read_text()
    run.evaluation.write_text(text.replace('"eval_rows_sha256": "', '"eval_rows_sha256": "0'))
    told, problems = run_folder._replay(run, REPOSITORY, 3)
    assert (told, called) == ("", [])
    assert "no file of the rows that were evaluated" in str(problems[0])


def test_rows_that_no_record_names_are_not_answered(
    good: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without the record of the evaluation says so itself."""
    called = answering(monkeypatch)
    run = RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))
    run.evaluation.unlink()
    told, problems = run_folder._replay(run, REPOSITORY, 3)
    assert (told, called) == ("", [])
    assert "eval.json" in str(problems[0])


def test_a_child_that_cannot_answer_is_no_success(
    good: RunDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was not done is not passed over."""
    answering(monkeypatch, status=1)
    assert main(["verify", "--replay", "3", str(good.path)]) == 1
    assert "NOT SUPPORTED  --replay: found out of memory" in capsys.readouterr().out


def test_without_a_file_of_the_rows_nothing_is_replayed(
    good: RunDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such a folder is not supported for that already; no child is started."""
    called = answering(monkeypatch)
    text = good.evaluation.read_text()
    good.evaluation.write_text(text.replace('"eval_rows_sha256": "', '"eval_rows_sha256": "0'))
    try:
        assert main(["verify", "--replay", "3", str(good.path)]) == 1
    finally:
        good.evaluation.write_text(text)
    assert called == []
    assert "--replay" not in capsys.readouterr().out
