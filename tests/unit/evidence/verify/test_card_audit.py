"""The series of the card against the training: each lie is named, the honest run is not."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from m43.evidence.run.loaded_run import load_run
from m43.evidence.verify.agreements import card
from m43.evidence.verify.agreements.card import audit_card
from m43.records.card_record import CardReading
from m43.records.plan_record import CardMemory, PlanRecord
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.run_records import TrainRecord
from tests.unit.evidence.good_run import write_good_run
from tests.unit.evidence.on_a_card import card_memory
from tests.unit.evidence.tampering import found as verified
from tests.unit.evidence.tampering import reseal
from tests.unit.evidence.watched_run import (
    IDLE_W,
    PEAK_BYTES,
    card_sample,
    readings,
    series,
    write_series,
    write_watched_run,
)

Lines = tuple[CardReading, ...]
Lie = Callable[[Lines], Sequence[CardReading]]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run on a card that nobody changes."""
    return write_watched_run(tmp_path_factory.mktemp("watched"))


@pytest.fixture
def run(honest: RunDir, tmp_path: Path) -> RunDir:
    """A copy of it, to be changed."""
    return RunDir(Path(shutil.copytree(honest.path, tmp_path / honest.path.name)))


def found(run: RunDir) -> list[str]:
    """Audit the folder."""
    return [str(problem) for problem in audit_card(run, load_run(run))]


def sensed(lines: Lines, **values: object) -> Lines:
    """Say in every look that a sensor gave this."""
    return tuple(replace(line, card=line.card and replace(line.card, **values)) for line in lines)


def at(place: int, **values: object) -> Lie:
    """Say it in one look."""
    return lambda lines: (
        *lines[:place],
        *sensed(lines[place : place + 1], **values),
        *lines[place + 1 :],
    )


def counted(lines: Lines, watts: float) -> Lines:
    """Let power and energy counter tell of so many watts throughout."""
    return tuple(
        replace(
            line,
            card=line.card
            and replace(
                line.card,
                power_mw=round(1000 * watts),
                energy_mj=7_000_000_000 + round(1000 * watts * place),
            ),
        )
        for place, line in enumerate(lines)
    )


def with_steps(steps: Callable[[CardReading], int]) -> Lie:
    """Say that other steps had gone by."""
    return lambda lines: [
        replace(line, steps=steps(line) if line.child == "train" else line.steps) for line in lines
    ]


NOT_TOLD = dict.fromkeys(("energy_mj", "processes"), "Not Supported")

# By the rule that names it: what somebody makes of the series, and what is said of that.
LIES: dict[str, tuple[Lie, str]] = {
    "_looked_at: taken away": (lambda lines: lines[:0], "no look at the card beside train"),
    "_looked_at: only training": (lambda lines: lines[:200], "no look at the card beside eval"),
    "_looked_at: turned round": (lambda lines: lines[::-1], "looks in another order"),
    "_looked_at: clock set back": (
        lambda lines: (*lines[:90], replace(lines[90], elapsed_s=12.0), *lines[91:]),
        "found 12.0 s after 89.0 s, expected times that go on",
    ),
    "_looked_at: another process": (
        lambda lines: (*lines[:90], replace(lines[90], pid=1), *lines[91:]),
        "found process 1, expected 4242, as before",
    ),
    "_looked_at: longer than the process": (
        lambda lines: (*lines[:199], replace(lines[199], elapsed_s=400.0), *lines[200:]),
        "looks from 0.0 to 400.0 s, expected within the 200.0 s of the process",
    ),
    "_one_card: two cards": (at(120, uuid="GPU-2"), "expected one card"),
    "_one_card: another kind": (
        lambda lines: sensed(lines, name="NVIDIA T4"),
        "found NVIDIA T4, expected NVIDIA GeForce RTX 5090, on which the training ran",
    ),
    "_one_card: a counter that runs backwards": (
        at(120, energy_mj=1),
        "found an energy counter of 1 mJ after",
    ),
    "_possible: below nothing": (at(5, power_mw=-1), "found -1, expected 0 or more"),
    "_possible: more than always": (
        at(5, utilisation_percent=101),
        "found 101, expected at most 100",
    ),
    "_possible: more memory than there is": (
        at(5, memory_used_bytes=34_190_917_633),
        "found 34190917633, expected at most 34190917632",
    ),
    "_possible: faster than it clocks": (at(5, sm_clock_mhz=4000), "found 4000, expected at most"),
    "_possible: more than it may draw": (
        at(5, power_mw=1_151_000),
        "found 1151000, expected at most 1150000",
    ),
    "_possible: told and not told": (
        at(5, not_told={"power_mw": "Not Supported"}),
        "expected a value, or the reason why not",
    ),
    "_covers_the_steps: nobody looked for a minute": (
        lambda lines: (*lines[:70], *lines[150:]),
        "found looks that cover 68.0 s of the steps, expected their 150.0 s",
    ),
    "_covers_the_steps: nobody looked at the steps": (
        lambda lines: [
            replace(line, phase="save" if line.phase == "train" else line.phase) for line in lines
        ],
        "found looks that cover 0.0 s of the steps",
    ),
    "_steps_in_time: steps of the first moment": (
        with_steps(lambda line: 300 if line.phase == "train" else line.steps),
        "found 300 steps after 40.0 s, expected steps that take as long as",
    ),
    "_steps_in_time: more steps than were taken": (
        with_steps(lambda line: line.steps + 1),
        "found 301 steps after 190.0 s",
    ),
    "_steps_in_time: steps that go back": (
        with_steps(lambda line: 0 if line.elapsed_s > 150 else line.steps),
        "expected steps that only rise",
    ),
    "_sensors_agree: power of another training": (
        lambda lines: sensed(lines, power_mw=100_000),
        "J by the energy counter, expected about",
    ),
    "_was_at_work: no kernel ever ran": (
        lambda lines: sensed(lines, utilisation_percent=0),
        "found no kernel in any of the 150 looks at the steps, expected 300 steps at work",
    ),
    "_drew_what_it_takes: idle power": (
        lambda lines: counted(lines, IDLE_W),
        "for the steps, 30 W, expected",
    ),
    "_drew_what_it_takes: idle power, without a counter": (
        lambda lines: sensed(
            counted(lines, IDLE_W), energy_mj=None, processes=None, not_told=NOT_TOLD
        ),
        "for the steps, 30 W, expected",
    ),
    "_memory_rose: memory that never rose": (
        lambda lines: sensed(lines, memory_used_bytes=22 * 2**30),
        "found memory that rose by 0 bytes, expected 21,474,836,480, as train.json claims",
    ),
    "_memory_rose: a card that was never full": (
        lambda lines: sensed(lines[20:], memory_used_bytes=2**30),
        "found memory that rose by 1,073,741,824 bytes",
    ),
    "_clocked_for_it: an idle clock": (
        lambda lines: sensed(lines, sm_clock_mhz=210),
        "at 7 % of the clock, expected 1.85e+13 FLOP/s at most",
    ),
}


def test_the_honest_run_is_believed(run: RunDir) -> None:
    """Nothing is said of it."""
    assert found(run) == []


@pytest.mark.parametrize("name", LIES)
def test_a_lie_in_the_series_is_named(run: RunDir, name: str) -> None:
    """By the rule that it breaks."""
    lie, words = LIES[name]
    write_series(run, lie(series()))
    assert any(words in problem for problem in found(run)), found(run)


@pytest.mark.parametrize("name", [name for name in LIES if not name.startswith(("_look", "_poss"))])
def test_the_rule_of_a_lie_is_what_names_it(
    run: RunDir, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it nobody would."""
    lie, words = LIES[name]
    write_series(run, lie(series()))
    rule = name.partition(":")[0]
    monkeypatch.setattr(card, "_RULES", [r for r in card._RULES if r.__name__ != rule])
    if rule not in {each.__name__ for each in card._RULES}:
        monkeypatch.setattr(card, rule, lambda *given: iter(()))
    assert not any(words in problem for problem in found(run))


def test_every_rule_has_its_lie() -> None:
    """A rule that nothing breaks would say nothing."""
    told = {name.partition(":")[0] for name in LIES}
    assert told == {rule.__name__ for rule in card._RULES} | {
        "_looked_at",
        "_one_card",
        "_possible",
    }


def test_a_training_that_claims_more_than_the_card_saw_is_named(run: RunDir) -> None:
    """The series is honest, and the record is not: a peak that memory never reached."""
    train = read_record(run.train, TrainRecord)
    write_record(run.train, replace(train, peak_device_bytes=PEAK_BYTES + 5 * 2**30))
    (problem,) = found(run)
    assert "memory that rose by" in problem


def test_the_weights_alone_are_more_than_nothing(run: RunDir) -> None:
    """Where the backend counted no peak, the model itself must have found room."""
    train = read_record(run.train, TrainRecord)
    write_record(run.train, replace(train, peak_device_bytes=0))
    assert found(run) == []
    write_series(run, sensed(series(), memory_used_bytes=3 * 2**30))
    assert any("expected 5,012,344,832" in problem for problem in found(run))


def test_a_driver_that_tells_little_is_no_lie(run: RunDir) -> None:
    """WSL2 without energy and processes; a card of which only the memory is told."""
    write_series(
        run, sensed(series(), energy_mj=None, processes=None, not_told=NOT_TOLD, under="WSL2")
    )
    assert found(run) == []
    silent = {
        name: None
        for name, value in vars(card_sample()).items()
        if name not in ("chosen_by", "under", "not_told") and not name.startswith("memory")
    }
    write_series(run, sensed(series(), **silent, not_told=dict.fromkeys(silent, "Not Supported")))
    assert found(run) == []


def test_no_library_is_no_lie(run: RunDir) -> None:
    """It is said once for each child, and the documents say it too; nothing can be held to it."""
    gaps = [
        replace(next(readings(child)), card=None, gap="NVML Shared Library Not Found")
        for child in ("train", "eval")
    ]
    write_series(run, gaps)
    assert found(run) == []


def test_a_gap_that_is_told_is_no_hole(run: RunDir) -> None:
    """A driver that did not answer for a minute, and then did."""
    lines = series()
    gap = replace(lines[70], card=None, gap="no answer from the driver for 5 s")
    write_series(run, (*lines[:70], gap, *lines[150:]))
    assert found(run) == []


def test_memory_before_the_first_look_is_nobodys_lie(run: RunDir) -> None:
    """A driver that needs seconds to answer for the first time sees no empty card."""
    write_series(run, [line for line in series() if line.phase not in ("", "import")])
    assert found(run) == []


def test_a_line_that_is_cut_is_named(run: RunDir) -> None:
    """A run that ended well has none."""
    text = run.gpu_metrics.read_text()
    run.gpu_metrics.write_text(text[:-40])
    assert any(f"{run.gpu_metrics.name}:230" in problem for problem in found(run))


def test_verify_asks_for_the_series_of_a_run_on_a_card(run: RunDir) -> None:
    """A series that was taken away is named among all else."""
    run.gpu_metrics.unlink()
    assert "found no look at the card beside train, expected one each second" in verified(run)


def test_a_run_on_a_cpu_has_no_card(tmp_path: Path) -> None:
    """`verify` asks for this as for all else."""
    run = write_good_run(tmp_path)
    write_series(run, series())
    reseal(run)
    assert "found looks at a card, expected none beside cpu:cpu" in verified(run)


@pytest.mark.parametrize(
    ("told", "word"),
    [
        (None, "no look at the card"),
        (card_memory(name="NVIDIA H200"), "NVIDIA H200, 34,190,917,632 bytes"),
        (card_memory(name=""), "no name, 34"),
        (card_memory(total_bytes=32 << 30), "34,359,738,368 bytes"),
        (card_memory(free_bytes=1 << 40), "1,099,511,627,776 bytes free"),
    ],
)
def test_the_plan_was_made_for_the_card_that_trained(
    run: RunDir, told: CardMemory | None, word: str
) -> None:
    """What the driver told before is what it tells beside the training."""
    write_record(run.plan, replace(read_record(run.plan, PlanRecord), card_memory=told))
    assert any(word in problem for problem in found(run)), found(run)
