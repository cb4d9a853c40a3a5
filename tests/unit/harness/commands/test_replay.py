"""What `verify --replay` says of answers that were given again."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from m43.__main__ import main
from m43.harness.process import TRAINING
from m43.records.run_dir import RunDir
from tests.unit.evidence.good_run import write_good_run


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("replay"))


def answering(monkeypatch: pytest.MonkeyPatch, *differing: str, status: int = 0) -> list[str]:
    """Have the child answer at once, and keep what it was called with."""
    called: list[str] = []
    honest = subprocess.run

    def run(words: Sequence[str], **settings: Any) -> subprocess.CompletedProcess[Any]:
        if words[0] != sys.executable or "replay" not in words:
            return honest(words, **settings)
        called.extend(words)
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
