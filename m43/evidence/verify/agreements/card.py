"""The audit of the card's series: whether what the driver counted can be that of this training.

A series can be made up like any other file. Each rule here is one more thing that has to be made up
in agreement with the rest: steps, seconds, FLOPs, memory and the card's own figures.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import fmean

from m43.errors import Problem, problem
from m43.evidence.run import (
    LoadedRun,
    Look,
    TrainFacts,
    energy_by_power_j,
    looks,
    work_energy_j,
)
from m43.evidence.verify.agreements.training import (
    FASTEST_FLOPS_PER_S,
    PEAK_FLOPS_PER_S,
    least_flops,
    most_flops_per_s,
)
from m43.records import CardReading, CardSample, PlanRecord, ProcessRecord, RunDir

_FILE = RunDir.gpu_metrics.name
_series_problem = partial(
    problem, action="do not rely on this folder: the card did not do what is claimed of it"
)

# Looks come each second; a parent that was held up, or the end of a child's log, takes longer.
_LATE_S = 15.0
# Below this a phase has too few looks to say anything of it.
_LONG_S = 10.0
# An operation's energy goes with the square of the voltage, and that falls at most from some 1.1 to
# 0.7 V when a card is clocked down: 2.5 times less than at its peak, with its limit drawn.
_CHEAPEST = 3.0
# The counter and the power are two sensors of one card; they are not read at the same moment.
_SENSORS_APART = 2.0
# Of the memory that was claimed, what must be seen to rise: others may leave meanwhile.
_SEEN_SHARE = 0.9
_BOOST = 1.1
# What a child does before it takes memory of the card; a driver may answer only after that.
_BEFORE_THE_DEVICE = ("", "import")


@dataclass(frozen=True, kw_only=True)
class _Watched:
    """A training on a card, and the looks beside it."""

    run: RunDir
    train: TrainFacts
    seen: tuple[Look, ...]
    has_gaps: bool

    @property
    def steps_s(self) -> float:
        return sum(step.duration_s for step in self.train.metrics)

    @property
    def working(self) -> list[CardSample]:
        return [look.card for look in self.seen if look.at_work]


def audit_card(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold the series against itself, and against what the training claims."""
    train, evaluation = loaded_run.train, loaded_run.evaluation
    if train is None:
        return
    on_card = not train.device.startswith("cpu:")
    if not on_card:
        if loaded_run.card:
            yield _series_problem("looks at a card", f"none beside {train.device}", _FILE)
        return
    if loaded_run.card_cut:
        where = f"{_FILE}:{len(loaded_run.card) + 1}"
        yield _series_problem("a line that cannot be read", "a look at the card", where)
    children = {"train": train.process}
    if evaluation is not None:
        children["eval"] = evaluation.process
    yield from _looked_at(loaded_run.card, children)
    yield from _one_card(loaded_run.card, train.device)
    yield from _planned_on(loaded_run.plan, loaded_run.card)
    for number, reading in enumerate(loaded_run.card, start=1):
        if reading.card is not None:
            yield from _possible(reading.card, f"{_FILE}:{number}")
    readings = [each for each in loaded_run.card if each.child == "train"]
    watched = _Watched(
        run=run,
        train=train,
        seen=looks(loaded_run, "train"),
        has_gaps=any(each.card is None for each in readings),
    )
    # Without looks there is nothing to hold anything against; the documents say why there are none.
    if watched.seen:
        for rule in _RULES:
            yield from rule(watched)


def _looked_at(
    readings: Sequence[CardReading], children: dict[str, ProcessRecord]
) -> Iterator[Problem]:
    """Each child has its looks, in order, in its own time, under one number."""
    if [each.child for each in readings] != sorted((each.child for each in readings), reverse=True):
        yield _series_problem("looks in another order", "those of train, then of eval", _FILE)
    for child, process in children.items():
        own = [(number, each) for number, each in enumerate(readings, 1) if each.child == child]
        if not own:
            found = f"no look at the card beside {child}"
            yield _series_problem(found, "one each second, or the reason why not", _FILE)
            continue
        for (_, one), (number, other) in pairwise(own):
            where = f"{_FILE}:{number}"
            if other.elapsed_s < one.elapsed_s:
                found = f"{other.elapsed_s} s after {one.elapsed_s} s"
                yield _series_problem(found, "times that go on", where)
            if other.pid != one.pid:
                yield _series_problem(f"process {other.pid}", f"{one.pid}, as before", where)
        first, last = own[0][1].elapsed_s, own[-1][1].elapsed_s
        if first < -_LATE_S or last > process.duration_s + _LATE_S:
            found = f"looks from {first} to {last} s"
            expected = f"within the {process.duration_s:.1f} s of the process"
            yield _series_problem(found, expected, f"{_FILE}, {child}")


def _one_card(readings: Sequence[CardReading], device: str) -> Iterator[Problem]:
    """It is one card throughout, the one that trained, and its counter never runs backwards."""
    told = [(number, each.card) for number, each in enumerate(readings, 1) if each.card]
    uuids = dict.fromkeys(card.uuid for _, card in told if card.uuid is not None)
    if len(uuids) > 1:
        yield _series_problem(f"cards {', '.join(uuids)}", "one card", f"{_FILE}, uuid")
    kind = device.partition(":")[2]
    names = dict.fromkeys(card.name for _, card in told if card.name and "MIG" not in card.under)
    for name in names:
        if name != kind:
            expected = f"{kind}, on which the training ran (train.json)"
            yield _series_problem(name, expected, f"{_FILE}, name")
    counted = [(number, card.energy_mj) for number, card in told if card.energy_mj is not None]
    for (_, before), (number, after) in pairwise(counted):
        if after < before:
            found = f"an energy counter of {after} mJ after {before} mJ"
            yield _series_problem(found, "a counter that only rises", f"{_FILE}:{number}")


def _planned_on(plan: PlanRecord | None, readings: Sequence[CardReading]) -> Iterator[Problem]:
    """It is the card that the plan was made for, by what the driver told at that time."""
    if plan is None:
        return
    told = plan.card_memory
    where = f"{RunDir.plan.name}, card_memory"
    if told is None:
        yield _series_problem("no look at the card", "one, before a training on a card", where)
        return
    if not 0 <= told.free_bytes <= told.total_bytes:
        found = f"{told.free_bytes:,} bytes free of {told.total_bytes:,}"
        yield _series_problem(found, "a part of the whole", where)
    pairs = {
        (each.card.name, each.card.memory_total_bytes)
        for each in readings
        if each.card is not None and each.card.name and "MIG" not in each.card.under
    }
    for name, total in sorted(pairs, key=str):
        if told.name != name or (told.total_bytes and total and told.total_bytes != total):
            found = f"{told.name or 'no name'}, {told.total_bytes:,} bytes"
            yield _series_problem(found, f"{name}, {total} bytes, as in {_FILE}", where)


def _possible(card: CardSample, where: str) -> Iterator[Problem]:
    """Each look by itself is one that a card can give."""
    numbers = {name: value for name, value in vars(card).items() if isinstance(value, int)}
    for name, value in numbers.items():
        if value < 0:
            yield _series_problem(str(value), "0 or more", f"{where}, {name}")
    limits = (
        ("utilisation_percent", 100),
        ("memory_used_bytes", card.memory_total_bytes),
        ("memory_free_bytes", card.memory_total_bytes),
        ("sm_clock_mhz", card.sm_clock_max_mhz and round(_BOOST * card.sm_clock_max_mhz)),
        # For a moment a card draws more than it may in the long run.
        ("power_mw", card.power_limit_mw and 2 * card.power_limit_mw),
    )
    for name, most in limits:
        if most and numbers.get(name, 0) > most:
            yield _series_problem(str(numbers[name]), f"at most {most}", f"{where}, {name}")
    for name in card.not_told:
        if getattr(card, name, None) is not None:
            found = f"{getattr(card, name)} and {card.not_told[name]!r}"
            yield _series_problem(found, "a value, or the reason why not", f"{where}, {name}")


def _covers_the_steps(watched: _Watched) -> Iterator[Problem]:
    """The looks in the phase of the steps cover its seconds, but for gaps that are told."""
    times = [look.at.elapsed_s for look in watched.seen if look.at_work]
    covered_s = sum(b - a for a, b in pairwise(times) if b - a <= _LATE_S)
    if watched.has_gaps or covered_s >= _SEEN_SHARE * watched.steps_s - _LATE_S:
        return
    found = f"looks that cover {covered_s:.1f} s of the steps"
    yield _series_problem(found, f"their {watched.steps_s:.1f} s (training_metrics.jsonl)", _FILE)


def _steps_in_time(watched: _Watched) -> Iterator[Problem]:
    """No step was seen before it can have been taken, and none more than there are."""
    ends, spent = [0.0], 0.0
    for step in watched.train.metrics:
        spent += step.duration_s
        ends.append(spent)
    for one, other in pairwise(watched.seen):
        if other.at.steps < one.at.steps:
            found = f"{other.at.steps} steps after {one.at.steps}"
            yield _series_problem(found, "steps that only rise", _FILE)
    for look in watched.seen:
        if look.at.steps >= len(ends) or look.at.elapsed_s + _LATE_S < ends[look.at.steps]:
            yield _series_problem(
                f"{look.at.steps} steps after {look.at.elapsed_s} s",
                f"steps that take as long as training_metrics.jsonl says, {spent:.1f} s for all",
                _FILE,
            )
            return


def _sensors_agree(watched: _Watched) -> Iterator[Problem]:
    """The energy counter rises by what the power adds up to."""
    told = [look for look in watched.seen if look.card.energy_mj is not None]
    by_power_j = energy_by_power_j(told)
    if len(told) < 2 or not by_power_j or by_power_j < 0:
        return
    by_counter_j = ((told[-1].card.energy_mj or 0) - (told[0].card.energy_mj or 0)) / 1000
    apart = by_counter_j / by_power_j
    long = told[-1].at.elapsed_s - told[0].at.elapsed_s >= _LONG_S
    if long and not 1 / _SENSORS_APART <= apart <= _SENSORS_APART:
        found = f"{by_counter_j:.0f} J by the energy counter"
        yield _series_problem(found, f"about {by_power_j:.0f} J, as its power adds up to", _FILE)


def _was_at_work(watched: _Watched) -> Iterator[Problem]:
    """Who trains for seconds on end is seen to compute in one of them."""
    told = [card for card in watched.working if card.utilisation_percent is not None]
    if watched.steps_s >= _LONG_S and told and not any(each.utilisation_percent for each in told):
        found = f"no kernel in any of the {len(told)} looks at the steps"
        yield _series_problem(found, f"{len(watched.train.metrics)} steps at work", _FILE)


def _drew_what_it_takes(watched: _Watched) -> Iterator[Problem]:
    """The FLOPs of the steps cost energy: more than an idle card draws."""
    flops, energy_j = least_flops(watched.run, watched.train), work_energy_j(watched.seen)
    limits = [card.power_limit_mw for card in watched.working if card.power_limit_mw]
    if isinstance(flops, Problem) or energy_j is None or not limits:
        return
    kind = watched.train.device.partition(":")[2]
    per_j = PEAK_FLOPS_PER_S.get(kind, FASTEST_FLOPS_PER_S) / (max(limits) / 1000)
    least_j = flops / (_CHEAPEST * per_j)
    if watched.steps_s >= _LONG_S and energy_j < least_j:
        found = f"{energy_j:.0f} J for the steps, {energy_j / watched.steps_s:.0f} W"
        yield _series_problem(found, f"{least_j:.0f} J at least, for {flops:.3g} FLOPs", _FILE)


def _memory_rose(watched: _Watched) -> Iterator[Problem]:
    """The card's memory rose by the peak that is claimed, or at least by the weights."""
    told = [(each.at, each.card.memory_used_bytes or 0) for each in watched.seen]
    before = [used for at, used in told if at.phase in _BEFORE_THE_DEVICE]
    rose = max(used for _, used in told) - min(before, default=0)
    train = watched.train
    # bfloat16: no dtype that m43 trains in takes less.
    claimed = max(train.peak_device_bytes, 2 * train.parameters)
    if rose < _SEEN_SHARE * claimed and any(used for _, used in told):
        found = f"memory that rose by {rose:,} bytes"
        yield _series_problem(found, f"{claimed:,}, as train.json claims", _FILE)


def _clocked_for_it(watched: _Watched) -> Iterator[Problem]:
    """At the clock that was seen the card can be as fast as is claimed."""
    flops = least_flops(watched.run, watched.train)
    clocks = [
        card.sm_clock_mhz / card.sm_clock_max_mhz
        for card in watched.working
        if card.sm_clock_mhz is not None and card.sm_clock_max_mhz
    ]
    if isinstance(flops, Problem) or not clocks or watched.steps_s < _LONG_S:
        return
    most = most_flops_per_s(watched.train.device) * fmean(clocks)
    if flops / watched.steps_s > most:
        found = f"{flops / watched.steps_s:.3g} FLOP/s at {100 * fmean(clocks):.0f} % of the clock"
        yield _series_problem(found, f"{most:.3g} FLOP/s at most", _FILE)


_RULES: tuple[Callable[[_Watched], Iterator[Problem]], ...] = (
    _covers_the_steps,
    _steps_in_time,
    _sensors_agree,
    _was_at_work,
    _drew_what_it_takes,
    _memory_rose,
    _clocked_for_it,
)
