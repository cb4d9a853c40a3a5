"""The documents say of known runs what they said before, and these runs could have happened."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from m43.errors import FailureClass as F
from m43.evidence.run import history
from m43.evidence.run.loaded_run import load_run
from m43.evidence.verify.claims import verify
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.run_records import Heartbeat, ProcessRecord
from tests.unit.evidence.documents import goldens
from tests.unit.evidence.failed_runs import FAILURES
from tests.unit.evidence.good_records import REPOSITORY, probe_record, venv_record
from tests.unit.evidence.possible_run import impossible
from tests.unit.evidence.tampering import Change, edit, reseal

DOCUMENTS = goldens.documents()


Made = Callable[[F | None], RunDir]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return the run of a class, made once and changed by nobody; None is the good one."""
    return cache(lambda of: goldens.make(tmp_path_factory.mktemp("golden"), of))


def test_every_failure_class_has_a_golden_and_every_golden_a_document() -> None:
    """A class added later is shown before it can be met."""
    assert set(FAILURES) == set(F)
    assert {path.name for path in goldens.FOLDER.iterdir()} == set(DOCUMENTS)


@pytest.mark.parametrize("file", DOCUMENTS)
def test_a_document_is_as_it_was_read_last(made: Made, file: str) -> None:
    """Words change on purpose: write the goldens again and read what git shows."""
    text = DOCUMENTS[file].read(made(DOCUMENTS[file].of))

    expected = goldens.golden(file).read_text(encoding="utf-8")
    assert text == expected, f"if that is meant: {goldens.COMMAND}"


@pytest.mark.parametrize("failure_class", FAILURES)
def test_a_golden_names_its_class_in_its_first_lines(failure_class: F) -> None:
    """The example of a class is one of that class."""
    text = goldens.golden(f"failure_analysis.{failure_class.name.lower()}.md").read_text()

    assert f": **{failure_class}**." in "".join(text.splitlines(keepends=True)[:6])


@pytest.mark.parametrize("failure_class", FAILURES)
def test_a_failed_run_is_one_that_could_have_happened(made: Made, failure_class: F) -> None:
    """Verify finds what was changed on purpose and nothing else; no record denies another."""
    run, wanted = made(failure_class), FAILURES[failure_class].verified

    problems = [str(problem) for problem in verify(run.path, REPOSITORY)]
    assert len(problems) == bool(wanted), problems
    assert all(wanted in problem for problem in problems)
    assert list(impossible(run)) == []


def test_the_good_run_is_one_that_could_have_happened(made: Made) -> None:
    """The same of the run that everything else is made from."""
    run = made(None)

    assert verify(run.path, REPOSITORY) == ()
    assert list(impossible(run)) == []


@pytest.mark.parametrize("failure_class", FAILURES)
def test_what_nobody_judged_is_called_not_judged(made: Made, failure_class: F) -> None:
    """Neither kept nor broken: of a gate that stopped, and of every gate behind a failed one."""
    loaded_run = load_run(made(failure_class))
    stopped = {entry.gate for entry in loaded_run.entries if entry.event == "gate_stopped"}
    passed = {entry.name for entry in loaded_run.entries if entry.event == "promise_not_run"}
    assert loaded_run.contract is not None
    expected = passed | {each.name for each in loaded_run.contract.promises if each.gate in stopped}

    states = history.promise_states(loaded_run)

    assert {name for name, state in states.items() if state == "not judged"} == expected
    assert set(states) == set(loaded_run.contract.names)


def steps_lost(run: RunDir) -> None:
    """Take the last steps out of the metrics, as in the golden that was read for a year."""
    lines = run.metrics.read_text().splitlines(keepends=True)
    run.metrics.write_text("".join(lines[:-3]))


def computed(run: RunDir) -> None:
    """Say that a computation ran where JAX cannot be imported."""
    write_record(run.venv, venv_record(probe_record(import_error="ImportError: x")))


def well_ended(run: RunDir) -> None:
    """Say of a child that m43 ended that it ended by itself with a status."""
    record = read_record(run.process("train"), ProcessRecord)
    write_record(run.process("train"), replace(record, exit_status=3))


def elsewhere(run: RunDir) -> None:
    """Let the heartbeat be behind another phase."""
    beat = read_record(run.heartbeat("train"), Heartbeat)
    write_record(run.heartbeat("train"), replace(beat, phase="save"))


LIES: list[tuple[F, Change, str]] = [
    (F.HUNG, steps_lost, "137 steps seen, and 134 recorded"),
    (F.HUNG, well_ended, "ended by m43, with status 3"),
    (F.HUNG, elsewhere, "in phase 'train', and its heartbeat in 'save'"),
    (F.HUNG, edit("journal.jsonl", '"hung"', '"killed"'), "and a gate that stopped as killed"),
    (F.HUNG, lambda run: run.stacks("train").unlink(), "none of one that it did"),
    (F.HUNG, lambda run: run.closing.unlink(), "no closing.json"),
    (F.HUNG, lambda run: run.lint.unlink(), "steps without rows"),
    (F.HUNG, edit("train.process.json", "203.4", "103.4"), "its silence, 180.0 s, after 103.4 s"),
    (F.TIMED_OUT, edit("train.process.json", "900.6", "880.6"), "its deadline, 900.0 s"),
    (F.DIVERGED, edit("train.error.json", '"step": ', '"step": 1'), "'diverged' at step 1"),
    (F.DIVERGED, edit("contract.lock.json", '"loss_ratio": 2', '"loss_ratio": 1'), "not diverge"),
    (F.NON_FINITE_LOSS, edit("train.error.json", '"step": 8', '"step": 7'), "at step 7"),
    (F.BROKEN_VENV, computed, "a computation that ran where JAX cannot be imported"),
    (F.NUMERIC_CANARY, edit("venv.json", '"0.10.2"', '"0.10.1"'), "jax 0.10.2, installed 0.10.1"),
    (F.NO_TOKEN, edit("auth.json", '"account": ""', '"account": "me"'), "asked without a token"),
    (
        F.HUB_ERROR,
        edit("auth.json", '"step": "revision"', '"step": "whoami"'),
        "questions in another order",
    ),
    (F.PROMISE_BROKEN, edit("train.json", '_moved": 0', '_moved": 1'), "but the records keep it"),
    (F.KILLED, edit("train.process.json", '"oom_kills": 0', '"oom_kills": 1'), "out of host"),
]


@pytest.mark.parametrize(
    ("failure_class", "lie", "words"), LIES, ids=[f"{lie[0].name}-{lie[2]}" for lie in LIES]
)
def test_a_run_that_cannot_be_is_told(
    made: Made, tmp_path: Path, failure_class: F, lie: Change, words: str
) -> None:
    """Each rule is broken once, in a folder that is otherwise sealed as if it were true."""
    good = made(failure_class)
    run = RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))
    lie(run)
    reseal(run)

    found = [*map(str, verify(run.path, REPOSITORY)), *impossible(run)]

    assert any(words in each for each in found), found
