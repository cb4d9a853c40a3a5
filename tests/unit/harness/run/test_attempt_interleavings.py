"""No interleaving of what pytest may do with an attempt yields a summary but the right one.

A state machine does with `Attempt`, the class that pytest's plugin drives, whatever a plugin, a
conftest or a crash could: gates that pass, stop, crash or come again, promises judged twice or
never, records written late, a second attempt, a process that dies. What should then lie there is
told by a second, differently made reading of what was done.
"""

import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from m43.errors import FailureClass, GateStoppedError, M43Error
from m43.evidence.contract.contract import read_contract
from m43.evidence.documents import write
from m43.harness.run import recovery
from m43.harness.run.attempt import Attempt, StoppedError, begin
from m43.harness.run.opening import Plan, contract_path, named
from m43.records import profile_check
from m43.records.gates import CLOSING, STAGES
from m43.records.run_dir import RunDir
from tests.unit.evidence.journal.test_interleavings import (
    CONTRACT,
    PROMISES,
    Step,
    kept_its_word,
    template,
)
from tests.unit.harness.conftest import REPOSITORY

OUTCOMES = ("passes", "stops", "crashes", "writes nothing", "is interrupted")
LEFT = {
    "auth": ("auth.json",),
    "venv": ("venv.json", "plan.json", "env_snapshot.txt", "gpu_snapshot.txt"),
    "train-300": (
        *(
            "download.json",
            "download.process.json",
            "download_log.txt",
            "training_metrics.jsonl",
            "model",
            "training_log.txt",
            "lint.json",
        ),
        *("train.heartbeat.json", "train.json", "train.process.json"),
        "train.imported.json",
    ),
    "eval": (
        *("predictions.jsonl", "evaluation_results.json", "eval.json", "eval.process.json"),
        *("evaluation_log.txt", "eval.imported.json"),
    ),
    CLOSING: ("closing.json",),
}
# What is false where the promise of the gate is broken: the record, and how it comes to be.
LIES = {
    "auth": ("auth.json", '"weight_bytes": 0', '"weight_bytes": 7'),
    "venv": ("venv.json", '"system": "Linux"', '"system": "Plan 9"'),
    "train-300": ("train.json", '"parameters_moved": ', '"parameters_moved": -'),
    CLOSING: ("closing.json", '"failure_analysis.md"', '"m43_summary.md"'),
}
NAMES = {promise.gate: promise.name for promise in PROMISES}


def leave(run: RunDir, gate: str) -> None:
    """Leave what a gate of a good run leaves."""
    for name in LEFT[gate]:
        source = template() / name
        if source.is_dir():
            shutil.copytree(source, run.path / name, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, run.path / name)


class Attempts(RuleBasedStateMachine):
    """A run with which anything may be done next."""

    accepted = 0

    def __init__(self) -> None:
        super().__init__()
        self.repository = Path(tempfile.mkdtemp(prefix="m43-attempts-"))
        (self.repository / "acceptance").mkdir()
        profile = self.repository / "acceptance" / "rehearsal.toml"
        shutil.copyfile(REPOSITORY / "acceptance" / "rehearsal.toml", profile)
        contract_path(self.repository).write_text(CONTRACT)
        self.plan = Plan(
            repository=self.repository,
            profile_path=profile,
            profile=named(profile_check.load(profile), "a-run", datetime.now(UTC)),
            contract=read_contract(contract_path(self.repository)),
            command=("pytest",),
            started=datetime.now(UTC),
        )
        self.attempt: Attempt = begin(self.plan)
        self.run = self.attempt.run
        # What was done, in the words of the journal's grammar, kept apart from the journal.
        self.done: list[Step] = [("opened", "", "", "")]
        self.lying: set[str] = set()
        self.ended = ""

    def teardown(self) -> None:
        """Come to an end in any case, as pytest would from here."""
        if not self.ended:
            self.go_on_to_the_end()
        self.one_document_lies_there_and_it_is_true()
        Attempts.accepted += self.run.summary.exists()
        self.attempt.hold.release()
        shutil.rmtree(self.repository)

    # --- gates -----------------------------------------------------------------------------------

    def _gate(self, gate: str, outcome: str) -> None:
        measures: dict[str, Callable[[], None]] = {
            "passes": partial(leave, self.run, gate),
            "stops": partial(self._fail, GateStoppedError(
                FailureClass.KILLED, found="a", expected="b", where="c", action="d")),
            "crashes": partial(self._fail, RuntimeError("nobody foresaw it")),
            "writes nothing": lambda: None,
            "is interrupted": partial(self._fail, KeyboardInterrupt()),
        }  # fmt: skip
        missing = any(not (self.run.path / name).exists() for name in LEFT[gate])
        try:
            self.attempt.pass_gate(gate, measures[outcome], lambda run: None)
        except StoppedError:
            assert outcome in ("stops", "crashes") or (outcome == "writes nothing" and missing)
            self.done += [("gate_opened", gate, "", ""), ("gate_stopped", gate, "", "x")]
        except KeyboardInterrupt:
            self.attempt.interrupt("SIGINT")
            self.done += [("gate_opened", gate, "", ""), ("interrupted", gate, "", "x")]
        else:
            assert outcome == "passes" or (outcome == "writes nothing" and not missing)
            self.done += [("gate_opened", gate, "", ""), ("gate_closed", gate, "", "")]
            if outcome == "passes":
                self.lying.discard(gate)

    @staticmethod
    def _fail(error: BaseException) -> None:
        raise error

    @precondition(lambda self: not self.ended)
    @rule(count=st.integers(min_value=1, max_value=len(STAGES)))
    def go_on_as_pytest_does(self, count: int) -> None:
        """Pass the next gates, and judge or pass over their promises as the plugin would."""
        begun = sum(event == "gate_opened" for event, *_ in self.done)
        for gate in STAGES[begun : begun + count]:
            if reason := self.attempt.blocked(NAMES[gate]):
                self.attempt.pass_over(NAMES[gate], reason)
                self.done.append(("promise_not_run", gate, NAMES[gate], ""))
                return
            self._gate(gate, "passes")
            self._judge(gate, kept=gate not in self.lying)

    @precondition(lambda self: not self.ended)
    @rule(gate=st.sampled_from(STAGES))
    def pass_any_gate(self, gate: str) -> None:
        """Do a gate whose turn it is not, or again."""
        self._gate(gate, "passes")

    @precondition(lambda self: not self.ended)
    @rule(gate=st.sampled_from(STAGES))
    def stop_a_gate(self, gate: str) -> None:
        """Have a gate stop for a reason that it names."""
        self._gate(gate, "stops")

    @precondition(lambda self: not self.ended)
    @rule(gate=st.sampled_from(STAGES))
    def crash_a_gate(self, gate: str) -> None:
        """Have a gate end by an error that nobody foresaw."""
        self._gate(gate, "crashes")

    @precondition(lambda self: not self.ended)
    @rule(gate=st.sampled_from(STAGES))
    def interrupt_a_gate(self, gate: str) -> None:
        """Press Ctrl-C in the middle of a gate."""
        self._gate(gate, "is interrupted")

    @precondition(lambda self: not self.ended)
    @rule(gate=st.sampled_from(STAGES))
    def measure_nothing(self, gate: str) -> None:
        """Have a gate leave no record, or that of another time."""
        self._gate(gate, "writes nothing")

    @precondition(lambda self: not self.ended)
    @rule(gate=st.sampled_from(sorted(LIES)))
    def write_a_lie(self, gate: str) -> None:
        """Write over what a gate left, whenever that is."""
        name, true, false = LIES[gate]
        path = self.run.path / name
        if path.exists() and gate not in self.lying:
            text = path.read_text()
            assert true in text
            path.write_text(text.replace(true, false))
            self.lying.add(gate)

    @precondition(lambda self: not self.ended)
    @rule(gate=st.sampled_from(STAGES))
    def write_early(self, gate: str) -> None:
        """Leave the records of a gate that was not done."""
        leave(self.run, gate)
        self.lying.discard(gate)

    # --- promises --------------------------------------------------------------------------------

    def _judge(self, gate: str, *, kept: bool) -> None:
        self.attempt.judge(NAMES[gate], None if kept else "assert 1 == 2")
        self.done.append(("promise_kept" if kept else "promise_broken", gate, NAMES[gate], ""))

    @precondition(lambda self: not self.ended)
    @rule(gate=st.sampled_from(STAGES), kept=st.booleans())
    def judge_any_promise(self, gate: str, kept: bool) -> None:
        """Judge a promise whose gate was not passed, or again."""
        self._judge(gate, kept=kept)

    @precondition(lambda self: not self.ended)
    @rule(gate=st.sampled_from(STAGES))
    def pass_over_any_promise(self, gate: str) -> None:
        """Leave a promise out."""
        self.attempt.pass_over(NAMES[gate], "somebody deselected it")
        self.done.append(("promise_not_run", gate, NAMES[gate], ""))

    @precondition(lambda self: not self.ended)
    @rule()
    def go_on_to_the_end(self) -> None:
        """Do what is left as pytest does it, and end."""
        self.go_on_as_pytest_does(len(STAGES))
        self.end()

    # --- from outside ----------------------------------------------------------------------------

    @precondition(lambda self: not self.ended)
    @rule()
    def interrupt(self) -> None:
        """Press Ctrl-C between two gates."""
        self.attempt.interrupt("SIGINT")
        self.done.append(("interrupted", "", "", "x"))

    @rule()
    def begin_again(self) -> None:
        """Call pytest a second time under the same name: it is refused, and changes nothing."""
        before = self.run.journal.read_bytes()
        with pytest.raises(M43Error, match=r"one attempt|two at once"):
            begin(self.plan)
        assert self.run.journal.read_bytes() == before

    @rule()
    def render(self) -> None:
        """Write the documents again from the records."""
        write.render(self.run)

    def end(self) -> None:
        """End the session."""
        closed = CLOSING in self.attempt.closed or self.attempt.stage == CLOSING
        self.attempt.finish(partial(leave, self.run, CLOSING))
        if not closed:
            self.lying.discard(CLOSING)
        self.done.append(("sealed", "", "", ""))
        self.ended = "finished"

    @precondition(lambda self: not self.ended)
    @rule()
    def die(self) -> None:
        """Die without a word; the next command closes what is left."""
        self.attempt.hold.release()
        assert recovery.close_cut_off(self.plan.folder.parent).closed == ("a-run",)
        self.ended = "died"

    @precondition(lambda self: self.ended == "finished")
    @rule()
    def end_again(self) -> None:
        """End a session that ended."""
        self.attempt.finish(lambda: None)
        self.done.append(("sealed", "", "", ""))

    @invariant()
    def one_document_lies_there_and_it_is_true(self) -> None:
        """The summary lies there exactly for a run that kept its word, to the end."""
        right = self.ended == "finished" and kept_its_word(self.done) and not self.lying
        assert self.run.summary.exists() == right, self.done
        assert self.run.failure_analysis.exists() != right
        if right and self.attempt.verdict is not None:
            assert self.attempt.verdict.accepted


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the picture and the attestations, which ask nothing about the verdict."""
    monkeypatch.setattr(write, "loss_curve_svg", lambda metrics, mark: "<svg/>")
    monkeypatch.setattr(write, "write_attestations", lambda run, loaded_run: None)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("_quick")
def test_no_interleaving_of_an_attempt_yields_a_summary_but_the_right_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Random walks: some keep to the way and are accepted, all others are not."""
    monkeypatch.setattr(Attempts, "accepted", 0)
    run_state_machine_as_test(
        Attempts,
        settings=settings(max_examples=30, stateful_step_count=8, deadline=None, derandomize=True),
    )
    # Otherwise the walks would show nothing of what is accepted.
    assert Attempts.accepted > 0


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("harm", ["none", "lie", "again", "twice", "early", "late", *OUTCOMES[1:]])
def test_an_honest_attempt_is_accepted_and_one_step_more_is_not(harm: str) -> None:
    """Left alone the machine comes to a summary; each harm by itself takes it away."""
    machine = Attempts()
    if harm == "early":
        machine.judge_any_promise("auth", True)
    if harm in OUTCOMES:
        machine._gate("auth", harm)
    machine.go_on_as_pytest_does(len(STAGES))
    if harm == "lie":
        machine.write_a_lie("train-300")
    if harm == "again":
        machine.pass_any_gate("eval")
    if harm == "late":
        machine.interrupt()
    machine.end()
    if harm == "twice":
        machine.end_again()
    machine.one_document_lies_there_and_it_is_true()
    assert machine.run.summary.exists() == (harm == "none")
    machine.teardown()
