"""No interleaving of events yields a summary unless every gate closed in order, once.

A state machine writes whatever it likes into a real journal, cuts its end off as a power cut does,
goes on with it, and has the documents written. What should then lie there is told by a second,
differently made reading of what it did.
"""

import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from m43 import typed_json
from m43.evidence.contract.contract import parse_contract
from m43.evidence.documents import write
from m43.evidence.journal import chain, journal, manifest
from m43.evidence.journal.chain import EDGES
from m43.evidence.journal.journal import Journal
from m43.records.gates import STAGES
from m43.records.profile import RunTable
from m43.records.run_dir import RunDir, write_record
from m43.rows import scoring
from tests.unit.evidence import good_records
from tests.unit.evidence.good_run import write_gate_files

# One promise for each gate: few enough that a random walk comes to the end of a run.
CONTRACT = '''"""A contract."""


def test_auth_moves_no_weights(auth):
    """No weights."""
    assert auth.weight_bytes == 0


def test_venv_runs_on_linux(venv):
    """Linux."""
    assert venv.probe.system == "Linux"


def test_train_moves_the_weights(train):
    """Weights move."""
    assert train.parameters_moved > 0


def test_eval_answers_rows(evaluation):
    """Rows are answered."""
    assert len(evaluation.ids) > 0


def test_closing_finds_one_document(closing):
    """One document."""
    assert closing.documents == ("failure_analysis.md",)
'''
PROMISES = parse_contract(CONTRACT.encode(), "contract.txt").promises
EVENTS = (*sorted(EDGES), "promise_kept", "promise_broken", "promise_not_run")

Step = tuple[str, str, str, str]


def right_steps() -> list[Step]:
    """Give what an honest run writes."""
    steps: list[Step] = [("opened", "", "", "")]
    for promise in PROMISES:
        gate = promise.gate
        steps += [("gate_opened", gate, "", ""), ("gate_closed", gate, "", "")]
        steps.append(("promise_kept", gate, promise.name, ""))
    return [*steps, ("sealed", "", "", ""), ("closed", "", "", "")]


def kept_its_word(steps: list[Step]) -> bool:
    """Read a history like a person: was every gate closed in order, once, and nothing else done?"""
    if steps and steps[-1][0] == "closed":
        steps = steps[:-1]
    if not steps or steps[0] != ("opened", "", "", "") or steps[-1] != ("sealed", "", "", ""):
        return False
    inside, done, open_gate, closed_gate = steps[1:-1], [], "", ""
    for event, gate, name, failure_class in inside:
        if failure_class:
            return False
        if event == "gate_opened" and not name and not open_gate and len(done) < len(STAGES):
            if gate != STAGES[len(done)] or closed_gate:
                return False
            open_gate = gate
        elif event == "gate_closed" and not name and gate and gate == open_gate:
            open_gate, closed_gate = "", gate
        elif event == "promise_kept" and gate and gate == closed_gate:
            if name != PROMISES[len(done)].name:
                return False
            done.append(gate)
            closed_gate = ""
        else:
            return False
    return tuple(done) == STAGES


@cache
def template() -> Path:
    """Make a folder in which every record of a good run lies, and no journal."""
    run = RunDir(Path(tempfile.mkdtemp(prefix="m43-interleavings-")) / "rehearsal-1")
    run.path.mkdir()
    profile = good_records.profile_of("rehearsal")
    write_record(run.profile, replace(profile, run=RunTable(name=run.path.name)))
    run.contract_text.write_text(CONTRACT)
    text = parse_contract(CONTRACT.encode(), "contract.txt")
    opening = good_records.opening_record(
        "rehearsal", run.path.name, contract_sha256=text.text_sha256, promises=text.names
    )
    write_record(run.opening, opening)
    for gate in STAGES:
        write_gate_files(run, gate)
    # Short files: what is in them is not the question here.
    steps = [good_records.step_metrics(number) for number in (1, 2)]
    run.metrics.write_text("".join(map(typed_json.dump_line, steps)))
    rows = run.read_predictions()[:2]
    run.predictions.write_text("".join(map(typed_json.dump_line, rows)))
    write_record(run.results, scoring.tally(rows))
    return run.path


class Interleavings(RuleBasedStateMachine):
    """A run in which anything may be written next."""

    accepted = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="m43-interleaving-"))
        self.run = RunDir(Path(shutil.copytree(template(), self.folder / "rehearsal-1")))
        self.journal = Journal.create(self.run.journal)
        self.history: list[Step] = []
        write.write_documents(self.run)
        self.looked_at: list[Step] = []

    def teardown(self) -> None:
        """Look a last time."""
        self.look()
        self.what_lies_there_is_what_happened()
        Interleavings.accepted += self.run.summary.exists()
        shutil.rmtree(self.folder)

    def _write(self, step: Step) -> None:
        event, gate, name, failure_class = step
        detail = manifest.seal(self.run) if event == "sealed" else ""
        self.journal.append(
            event,  # type: ignore[arg-type]
            gate=gate,
            name=name,
            failure_class=failure_class,
            detail=detail,
        )
        self.history.append(step)

    @rule(count=st.integers(min_value=1, max_value=len(right_steps())))
    def go_on_as_an_honest_run(self, count: int) -> None:
        """Write the next steps that an honest run would write."""
        for step in right_steps()[len(self.history) :][:count]:
            self._write(step)

    @rule(
        event=st.sampled_from(EVENTS),
        gate=st.sampled_from(("", *STAGES)),
        name=st.sampled_from(("", *(promise.name for promise in PROMISES))),
        failure_class=st.sampled_from(("", "", "", "killed")),
    )
    def write_anything(self, event: str, gate: str, name: str, failure_class: str) -> None:
        """Write an event that nobody asked for."""
        self._write((event, gate, name, failure_class))

    @rule(place=st.integers(min_value=0, max_value=20))
    def repeat(self, place: int) -> None:
        """Write a step of an honest run at the wrong time, or again."""
        self._write(right_steps()[place % len(right_steps())])

    @rule(bytes_lost=st.integers(min_value=1, max_value=60))
    def cut_the_power(self, bytes_lost: int) -> None:
        """Lose the end of the last line; the journal goes on from the one before."""
        data = self.run.journal.read_bytes()
        if not self.history:
            return
        self.run.journal.write_bytes(data[:-bytes_lost])
        assert journal.drop_unfinished(self.run.journal) > 0
        self.journal = Journal.open(self.run.journal)
        del self.history[-1:]

    @rule()
    def start_again(self) -> None:
        """Go on in another process."""
        self.journal = Journal.open(self.run.journal)

    @rule()
    def look(self) -> None:
        """Have the documents written."""
        write.write_documents(self.run)
        self.looked_at = list(self.history)

    @invariant()
    def what_lies_there_is_what_happened(self) -> None:
        """There is one document, and it is the summary exactly for a run that kept its word."""
        assert self.run.summary.exists() == kept_its_word(self.looked_at)
        assert self.run.failure_analysis.exists() != self.run.summary.exists()

    @invariant()
    def the_journal_holds_what_was_written(self) -> None:
        """Nothing that was written is lost, but for what a power cut took."""
        entries = journal.read(self.run.journal)
        assert [(e.event, e.gate, e.name, e.failure_class) for e in entries] == self.history
        assert not entries or entries[0].previous_sha256 == chain.FIRST_PREVIOUS


def test_no_interleaving_yields_a_summary_but_the_right_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Random walks: some keep to the way and are accepted, all others are not."""
    monkeypatch.setattr(write, "loss_curve_svg", lambda metrics, mark: "<svg/>")
    monkeypatch.setattr(Interleavings, "accepted", 0)
    run_state_machine_as_test(
        Interleavings,
        settings=settings(
            max_examples=100, stateful_step_count=12, deadline=None, derandomize=True
        ),
    )
    # Otherwise the walks would show nothing of what is accepted.
    assert Interleavings.accepted > 0


def test_an_honest_run_is_one_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left alone the machine comes to a summary, and one step more takes it away again."""
    monkeypatch.setattr(write, "loss_curve_svg", lambda metrics, mark: "<svg/>")
    machine = Interleavings()
    machine.go_on_as_an_honest_run(len(right_steps()))
    machine.look()
    machine.what_lies_there_is_what_happened()
    assert machine.run.summary.exists()
    machine.repeat(2)
    machine.teardown()
    assert Interleavings.accepted == 0
