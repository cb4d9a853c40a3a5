"""What a person is shown of a run, word for word."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from m43.errors import FailureClass
from m43.evidence.contract.contract import ContractText, read_contract
from m43.harness.process.process import Sight
from m43.harness.terminal.run_view import BROKEN, KEPT, NOT_RUN, RunView
from m43.harness.terminal.screen import Screen
from m43.harness.terminal.words import Explanations
from m43.records.gates import CLOSING, GATES, gate_named
from m43.records.run_dir import RunDir, write_record
from m43.records.run_records import Heartbeat
from tests.unit.evidence.good_records import (
    CONTRACT,
    auth_record,
    requirement,
    train_record,
    venv_record,
)
from tests.unit.evidence.good_run import break_gate, stop_at, write_good_run
from tests.unit.harness.golden import agree

STAGES = (*GATES, CLOSING)
# Two of each gate, in words of these tests: the contract's own may change.
CLAUSES = {
    "test_auth_finds_the_token_in_hf_token": "The token comes from HF_TOKEN.",
    "test_auth_moves_no_weights": "Proving access moves no weights.",
    "test_venv_is_the_environment_that_was_named": "The environment that trains is the one that "
    "was named, not another one that happened to work as well.",
    "test_venv_device_computes_right_numbers": "The device computes right numbers.",
    "test_train_takes_exactly_the_promised_steps": "Training takes the promised steps.",
    "test_train_is_one_epoch_at_most": "No row is used more often than the contract allows.",
    "test_eval_answers_every_row_once": "Every row is answered, each once.",
    "test_eval_scores_every_row": "Both models are scored on every row.",
    "test_closing_finds_the_environment_unchanged": "No package was changed during the run.",
    "test_closing_finds_exactly_one_document": "There is one document until the verdict.",
}


def contract() -> ContractText:
    """Give the contract, shortened."""
    whole = read_contract(CONTRACT)
    kept = tuple(
        replace(promise, clause=CLAUSES[promise.name])
        for promise in whole.promises
        if promise.name in CLAUSES
    )
    assert len(kept) == len(CLAUSES)
    return replace(whole, promises=kept)


class Terminal(io.StringIO):
    """Pytest's terminal reporter, as far as it is written to."""

    def __init__(self, *, on_screen: bool, width: int) -> None:
        super().__init__()
        self._on_screen = on_screen
        self._tw = SimpleNamespace(fullwidth=width, hasmarkup=False, _file=self)

    def isatty(self) -> bool:
        """Tell what it was made as."""
        return self._on_screen

    def ensure_newline(self) -> None:
        """Be at the beginning of a line already."""

    def write(self, text: str, *, flush: bool = False, **markup: bool) -> int:
        """Take a text; its tone is not looked at."""
        return super().write(text)


def screen_of(terminal: Terminal | None, verbose: int = 0, **variables: str) -> Screen:
    """Make a screen over a terminal."""
    plugins = {"terminalreporter": terminal}
    config: Any = SimpleNamespace(
        pluginmanager=SimpleNamespace(getplugin=plugins.get),
        option=SimpleNamespace(verbose=verbose),
    )
    return Screen(config, variables, clock=ticking())


def ticking(step_s: float = 1.0) -> Callable[[], float]:
    """Give a clock that goes on by the same time at each look."""
    looks = iter(range(100_000))
    return lambda: next(looks) * step_s


def shown(
    run: RunDir, judge: Callable[[str, str], tuple[str, str]], *, verbose: int = 0, width: int = 0
) -> str:
    """Show a run of which only the judgements are given: promise and gate to state and text."""
    terminal = Terminal(on_screen=width > 0, width=width)
    words = Explanations(run, details=verbose > 0)
    short = contract()
    view = RunView(screen_of(terminal, verbose, CI="1"), short, words, clock=ticking())
    measured = ""
    for promise in short.promises:
        view.promise_comes(promise.name)
        state, text = judge(promise.name, promise.gate)
        if promise.gate != measured and state != NOT_RUN:
            measured = promise.gate
            with view.shown(promise.gate):
                pass
        view.judged(promise.name, state, text)
    view.end_gate()
    return terminal.getvalue()


def keep(name: str, gate: str) -> tuple[str, str]:
    """Keep every promise."""
    return KEPT, ""


def test_a_good_run_says_every_clause_under_its_gate(tmp_path: Path) -> None:
    """Each promise in its own words, with what became of it; each gate with its time."""
    agree("run_good", shown(write_good_run(tmp_path), keep))


def test_quietly_a_gate_is_one_line(tmp_path: Path) -> None:
    """Five lines say that all went well."""
    agree("run_good_quiet", shown(write_good_run(tmp_path), keep, verbose=-1))


def test_on_demand_each_check_and_each_measurement_is_shown(tmp_path: Path) -> None:
    """What -v is for: the checks as the gate closes, the values under their promises."""
    lines = shown(write_good_run(tmp_path), keep, verbose=1).splitlines()
    venv = lines[lines.index("Gate 2 of 4: venv - " + gate_named("venv").title) :]
    assert venv[1].startswith("  ok           the environment is the one that was named: /venv")
    assert any(line.startswith("  ok           package jax: 0.10.2 (expected: ") for line in venv)
    first = venv.index("  kept     " + CLAUSES["test_venv_is_the_environment_that_was_named"])
    assert venv[first + 1 : first + 3] == [
        "           found     venv.probe.prefix = /venv (venv.json)",
        "           found     venv.path = /venv (venv.json)",
    ]


@pytest.mark.parametrize("verbose", [0, -1])
def test_what_is_newer_than_tested_is_named_at_its_gate(tmp_path: Path, verbose: int) -> None:
    """Without being asked for, also quietly; a run with what was tested has no such line."""
    run = write_good_run(tmp_path)
    line = "  newer than what m43 was tested with: jax 0.13.1 (tested with: 0.12)"
    assert "newer than" not in shown(run, keep, verbose=verbose)

    newer = (requirement("jax>=0.12.0", "0.13.1", "0.12"),)
    write_record(run.venv, venv_record(requirements=newer))
    lines = shown(run, keep, verbose=verbose).splitlines()
    assert lines.count(line) == 1
    assert lines.index(line) < next(i for i, it in enumerate(lines) if it.startswith("  venv: "))


def test_a_broken_promise_shows_what_was_asked_and_what_was_found(tmp_path: Path) -> None:
    """And what lies behind its gate is NOT RUN, with the reason once."""
    name = "test_train_takes_exactly_the_promised_steps"

    def write(run: RunDir) -> None:
        write_record(run.train, train_record(optimizer_steps=299))

    def judge(promise: str, gate: str) -> tuple[str, str]:
        if STAGES.index(gate) > STAGES.index("train-300"):
            return NOT_RUN, "gate train-300 did not keep its promises"
        return (BROKEN, "assert 299 == 300") if promise == name else (KEPT, "")

    agree("run_broken", shown(break_gate(tmp_path, "train-300", name, write), judge))


def test_a_gate_that_does_not_hold_says_what_has_to_be_settled(tmp_path: Path) -> None:
    """The checks that fail, each with found, expected and what to do."""
    name = "test_auth_finds_the_token_in_hf_token"

    def write(run: RunDir) -> None:
        profile = run.read_profile()
        write_record(run.auth, auth_record(profile, token_source="absent", responses=(), files=()))

    def judge(promise: str, gate: str) -> tuple[str, str]:
        if gate != "auth":
            return NOT_RUN, "gate auth did not keep its promises"
        return (BROKEN, "assert") if promise == name else (KEPT, "")

    agree("run_no_token", shown(break_gate(tmp_path, "auth", name, write), judge))


def test_a_gate_that_stopped_says_why_in_four_parts(tmp_path: Path) -> None:
    """In the words that the gate itself left; on eighty columns, wrapped below themselves."""
    stopped = (
        "gate venv stopped: no venv\n  found     no folder\n"
        "  expected  the virtual environment that trains\n  where     /somewhere/.venv-gpu\n"
        "  to do     make it yourself, with m43's extra cuda12 or cuda13, or correct [venv] path"
    )

    def judge(promise: str, gate: str) -> tuple[str, str]:
        if gate == "auth":
            return KEPT, ""
        first = promise == "test_venv_is_the_environment_that_was_named"
        return NOT_RUN, stopped if first else "gate venv stopped: no venv"

    run = stop_at(tmp_path, "venv", lambda run: None, failure_class=FailureClass.NO_VENV)
    text = shown(run, judge, width=80)
    assert max(map(len, text.splitlines())) <= 80
    agree("run_stopped", text)


def test_what_is_shown_steers_no_terminal(tmp_path: Path) -> None:
    """A reason with escape sequences and with letters of any kind comes out in plain ASCII."""
    text = shown(
        write_good_run(tmp_path), lambda name, gate: (NOT_RUN, "\x1b]0;title\x07 \u202eevil é…")
    )
    assert text.isascii()
    assert "\x1b" not in text
    assert "?]0;title? ?evil \\xe9..." in text


def sight(step: int) -> Sight:
    """See a child at a step."""
    beat = Heartbeat(
        phase="train", done=step, total=300, loss_nats=1.0, tokens_per_s=0.0, beat=step
    )
    return Sight(beat=beat, steps=step, elapsed_s=float(step))


@pytest.mark.parametrize(("verbose", "lines"), [(0, 20), (-1, 1)])
def test_a_log_gets_a_line_every_few_seconds_only(tmp_path: Path, verbose: int, lines: int) -> None:
    """Three hundred looks, a tenth of a second of each other's clock apart."""
    terminal = Terminal(on_screen=False, width=0)
    screen = screen_of(terminal, verbose)
    words = Explanations(RunDir(tmp_path), details=False)
    view = RunView(screen, contract(), words, clock=ticking(0.0))
    with view.shown("train-300"):
        for step in range(1, 101):
            view.child(sight(step))
    said = terminal.getvalue().splitlines()
    assert len(said) == lines
    assert said[-1].startswith("  train-300  step ")


def test_a_log_says_nothing_twice(tmp_path: Path) -> None:
    """A child that stands still fills no log."""
    terminal = Terminal(on_screen=False, width=0)
    words = Explanations(RunDir(tmp_path), details=False)
    view = RunView(screen_of(terminal), contract(), words, clock=ticking())
    with view.shown("train-300"):
        for _ in range(100):
            view.child(sight(7))
    assert len(terminal.getvalue().splitlines()) == 1


@pytest.mark.parametrize(
    ("on_screen", "verbose", "variables", "moves"),
    [
        (True, 0, {}, True),
        (True, 1, {"TERM": "xterm"}, True),
        (True, -1, {}, False),
        (True, 0, {"CI": "true"}, False),
        (True, 0, {"TERM": "dumb"}, False),
        (False, 0, {}, False),
    ],
)
def test_lines_move_only_where_a_person_watches(
    on_screen: bool, verbose: int, variables: dict[str, str], moves: bool
) -> None:
    """Not in a pipe, not in CI, not with -q, not on a terminal without a cursor."""
    terminal = Terminal(on_screen=on_screen, width=80)
    assert screen_of(terminal, verbose, **variables).moves is moves


def test_without_a_terminal_nothing_is_shown_and_nothing_fails(tmp_path: Path) -> None:
    """What is shown is a courtesy; the run does not depend on it."""
    words = Explanations(RunDir(tmp_path), details=False)
    view = RunView(screen_of(None), contract(), words)
    with view.shown("train-300"):
        view.child(sight(1))
        view.download(Sight(beat=None, steps=0, elapsed_s=3.0))
    assert view.progress is not None
    assert view.progress.line == "asking for the model's files, 3 s"
