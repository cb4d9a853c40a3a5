"""The command line says what can be typed, and what was wrong with what was typed."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from m43 import __main__ as command_line
from m43.__main__ import main, own_tree
from tests.unit.evidence.good_run import write_good_run


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs lie below the folder that the person stands in."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(command_line, "RUNS", tmp_path / "submission_runs")
    monkeypatch.chdir(tmp_path)


def commands() -> dict[str, argparse.ArgumentParser]:
    """Give the parser of each command."""
    (choice,) = (
        action
        for action in command_line._parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return dict(choice.choices)


def test_without_a_command_it_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage, and the way on; the run itself is named as well."""
    assert main([]) == 2
    shown = capsys.readouterr().err
    assert all(f"    {name} " in shown for name in commands())
    assert "pytest acceptance -m production" in shown


@pytest.mark.parametrize("name", list(commands()))
def test_every_command_says_what_it_does_and_what_each_argument_is(name: str) -> None:
    """No option without a word about it."""
    parser = commands()[name]
    assert len(parser.description or "") > 40
    assert parser._actions
    assert [action.dest for action in parser._actions if not action.help] == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["verify"], "m43: RUN_DIR: found nothing, expected a run folder"),
        (["verify", "submission_runs/m43_v2"], "found no such folder"),
        (["verify", "submission_runs"], "found another folder"),
        (["render", "m43_v1"], "m43: m43_v1: found no such folder"),
        (["compare", "submission_runs/m43_v1"], "m43: RUN_DIR: found nothing"),
    ],
)
def test_a_folder_that_is_no_run_is_refused_and_the_runs_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], words: str
) -> None:
    """As they are to be typed from here; wrong usage, not a claim that does not hold."""
    for name in ("m43_v1", "rehearsal-1"):
        run = tmp_path / "submission_runs" / name
        run.mkdir(parents=True)
        (run / "journal.jsonl").touch()
    assert main(command) == 2
    shown = capsys.readouterr().err
    assert words in shown
    assert shown.endswith("; give one of: submission_runs/m43_v1, submission_runs/rehearsal-1\n")


def test_where_no_run_was_made_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is suggested that does not exist."""
    assert main(["verify", "nowhere"]) == 2
    assert capsys.readouterr().err.endswith("; no run was made here yet\n")


def test_a_profile_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each thing that is wrong with it."""
    assert main(["checklist", "--m43-profile", "mine.toml"]) == 1
    assert capsys.readouterr().err.startswith("m43: mine.toml: found no file")


def test_the_template_needs_no_run_and_no_hub(capsys: pytest.CaptureFixture[str]) -> None:
    """What the summary will look like, under the name that was asked for."""
    assert main(["checklist", "--template", "--m43-run", "m43_v7"]) == 0
    shown = capsys.readouterr().out
    assert "{train.optimizer_steps} optimizer steps in" in shown
    assert "python -m m43 verify submission_runs/m43_v7" in shown


def test_a_command_is_about_the_nearest_tree_with_a_contract(tmp_path: Path) -> None:
    """Of an installed m43; that of a checkout knows its tree."""
    installed, tree = tmp_path / "site-packages" / "m43", tmp_path / "tree"
    for folder in (installed / "carried", tree / "acceptance", tree / "inner" / "most"):
        folder.mkdir(parents=True)
    assert own_tree(tree, installed) == tree
    assert own_tree(tree / "inner", installed) == tree / "inner"
    (tree / "acceptance" / "test_production.py").touch()
    assert own_tree(tree / "inner" / "most", installed) == tree
    assert own_tree(tree, tmp_path / "checkout" / "m43") == tmp_path / "checkout"


def test_a_reader_that_leaves_early_sees_no_traceback() -> None:
    """`m43 checklist --template | head` is a thing that people do."""
    environment = os.environ | {"PYTHONPATH": str(command_line.REPOSITORY)}
    process = subprocess.Popen(
        [sys.executable, "-m", "m43", "checklist", "--template"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_render_names_only_what_it_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sealed page is pytest's: it is neither written again nor said to be."""
    run = write_good_run(tmp_path / "submission_runs")
    run.report.unlink()
    assert main(["render", str(run.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{run.report}: not written again, for it is sealed"
    assert all(Path(line).is_file() for line in lines[:-1])
    assert not run.report.exists()

    run.reports_seal.unlink()
    assert main(["render", str(run.path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(run.report)
    assert run.report.is_file()
