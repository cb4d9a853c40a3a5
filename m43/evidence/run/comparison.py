"""The comparison: two run folders side by side, every difference that their records show."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from m43.evidence.contract import Judged
from m43.evidence.run import history
from m43.evidence.run.card import card_use
from m43.evidence.run.history import total_s
from m43.evidence.run.loaded_run import LoadedRun
from m43.evidence.run.speed import SMOOTHED_STEPS, running_mean, tokens_per_s
from m43.records import Prediction, StepMetrics, profile_check
from m43.rows import mcnemar_p
from m43.text import duration_words, size_words

ABSENT = "absent"
# A curve as a table: so many places, from the first step to the last.
_PLACES = 11


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One thing, as it is in each of the two runs."""

    what: str
    one: str
    other: str

    @property
    def same(self) -> bool:
        """Whether both runs have it alike."""
        return self.one == self.other


@dataclass(frozen=True, kw_only=True)
class RowChange:
    """A question that only one of the two tuned models has right."""

    id: str
    prompt: str
    expected: str
    one: str
    other: str


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """What both runs measured around a step; "absent" where a run did not come so far."""

    step: int
    loss: Pair
    gradient_norm: Pair
    tokens_per_s: Pair


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the two tuned models answered to the questions that both were asked."""

    rows: int  # the same prompt with the same expected answer
    gained: tuple[RowChange, ...] = field(repr=False)  # B has them right, A has not
    lost: tuple[RowChange, ...] = field(repr=False)  # A has them right, B has not
    p: float  # exact McNemar of gained against lost


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that is said about two runs; `one` is A and `other` is B."""

    one: LoadedRun = field(repr=False)
    other: LoadedRun = field(repr=False)
    overview: tuple[Pair, ...]
    promises: tuple[Pair, ...]  # whose state differs
    measured: tuple[Pair, ...]  # alike in state, and measured differently
    promises_alike: int
    points: tuple[CurvePoint, ...]
    answers: Answers
    settings: tuple[Pair, ...]
    environment: tuple[Pair, ...]


def compare(one: LoadedRun, other: LoadedRun) -> Comparison:
    """Hold two run folders against each other, whatever state they are in."""
    ours, theirs = _promises(one), _promises(other)
    clauses = dict.fromkeys((*ours, *theirs))
    states = [
        Pair(what=clause, one=_state(ours.get(clause)), other=_state(theirs.get(clause)))
        for clause in clauses
    ]
    measured = [
        Pair(what=clause, one=_measured(ours.get(clause)), other=_measured(theirs.get(clause)))
        for clause in clauses
    ]
    return Comparison(
        one=one,
        other=other,
        overview=tuple(_overview(one, other)),
        promises=tuple(pair for pair in states if not pair.same),
        measured=tuple(
            values
            for values, state in zip(measured, states, strict=True)
            if state.same and not values.same
        ),
        promises_alike=sum(pair.same for pair in states),
        points=tuple(_points(one.metrics, other.metrics)),
        answers=_answers(one, other),
        settings=tuple(_settings(one, other)),
        environment=tuple(pair for pair in _environment(one, other) if not pair.same),
    )


def _overview(one: LoadedRun, other: LoadedRun) -> Iterator[Pair]:
    ours, theirs = dict(_facts(one)), dict(_facts(other))
    for what in dict.fromkeys((*ours, *theirs)):
        yield Pair(what=what, one=ours.get(what, ABSENT), other=theirs.get(what, ABSENT))


def _facts(loaded_run: LoadedRun) -> Iterator[tuple[str, str]]:
    yield "verdict", loaded_run.verdict_words(loaded_run.verdict.accepted)
    states = history.promise_states(loaded_run)
    promises = loaded_run.contract.promises if loaded_run.contract else ()
    kept = sum(states.get(promise.name) == "kept" for promise in promises)
    yield "promises kept", f"{kept} of {len(promises)}"
    if loaded_run.opening:
        yield "began (UTC)", loaded_run.opening.started_utc
        yield "commit", loaded_run.opening.tree_commit or loaded_run.opening.commit
    seconds = total_s(loaded_run)
    if seconds is not None:
        yield "took", duration_words(seconds)
    if loaded_run.metrics:
        yield "recorded steps", str(len(loaded_run.metrics))
        yield "loss at the last step", f"{loaded_run.metrics[-1].loss_nats:.4f}"
    if loaded_run.results:
        overall = loaded_run.results.overall
        yield "right before training", f"{overall.base_correct} of {overall.rows}"
        yield "right after training", f"{overall.tuned_correct} of {overall.rows}"
    if loaded_run.train:
        yield "trained weights, SHA-256", loaded_run.train.model_sha256
        yield "peak host memory", size_words(loaded_run.train.all_peak_bytes)
    use = card_use(loaded_run, "train")
    if use and use.energy_j is not None:
        yield "energy of the training", f"{use.energy_j / 3600:.2f} Wh, by {use.energy_from}"


@dataclass(frozen=True, kw_only=True)
class _Told:
    """A promise and what the journal says of it."""

    state: str
    judged: Judged


def _promises(loaded_run: LoadedRun) -> Mapping[str, _Told]:
    """Give every promise by its clause: names may change from one commit to the next."""
    states = history.promise_states(loaded_run)
    return {
        item.promise.clause: _Told(
            state=states.get(item.promise.name, history.NOT_JUDGED), judged=item
        )
        for item in loaded_run.judged
    }


def _state(told: _Told | None) -> str:
    return told.state if told else "not promised"


def _measured(told: _Told | None) -> str:
    sides = told.judged.measurements if told else ()
    return "; ".join(f"{side.expression} = {side.value}" for side in sides) or ABSENT


def _points(ours: Sequence[StepMetrics], theirs: Sequence[StepMetrics]) -> Iterator[CurvePoint]:
    longest = max(len(ours), len(theirs))
    if not longest:
        return
    places = dict.fromkeys(round(i * (longest - 1) / (_PLACES - 1)) for i in range(_PLACES))
    one, other = _curves(ours), _curves(theirs)
    for place in places:
        loss, norm, speed = (
            Pair(what=what, one=_at(one[what], place), other=_at(other[what], place))
            for what in ("loss", "norm", "speed")
        )
        yield CurvePoint(step=place + 1, loss=loss, gradient_norm=norm, tokens_per_s=speed)


def _curves(metrics: Sequence[StepMetrics]) -> Mapping[str, Sequence[float]]:
    return {
        "loss": running_mean([step.loss_nats for step in metrics], SMOOTHED_STEPS),
        "norm": running_mean([step.gradient_norm for step in metrics], SMOOTHED_STEPS),
        "speed": tokens_per_s(metrics),
    }


def _at(values: Sequence[float], place: int) -> str:
    if place >= len(values):
        return ABSENT
    value = values[place]
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _answers(one: LoadedRun, other: LoadedRun) -> Answers:
    ours, theirs = _predictions(one), _predictions(other)
    pairs = [
        (ours[id_], theirs[id_])
        for id_ in ours
        if id_ in theirs and _question(ours[id_]) == _question(theirs[id_])
    ]
    gained = [pair for pair in pairs if pair[1].tuned_correct and not pair[0].tuned_correct]
    lost = [pair for pair in pairs if pair[0].tuned_correct and not pair[1].tuned_correct]
    return Answers(
        rows=len(pairs),
        gained=tuple(_change(*pair) for pair in gained),
        lost=tuple(_change(*pair) for pair in lost),
        p=mcnemar_p(len(gained), len(lost)),
    )


def _predictions(loaded_run: LoadedRun) -> Mapping[str, Prediction]:
    rows = loaded_run.evaluation.predictions if loaded_run.evaluation else ()
    return {row.id: row for row in rows}


def _question(row: Prediction) -> Sequence[str]:
    return row.prompt, row.expected


def _change(one: Prediction, other: Prediction) -> RowChange:
    return RowChange(
        id=one.id,
        prompt=one.prompt,
        expected=one.expected,
        one=one.tuned_answer,
        other=other.tuned_answer,
    )


def _settings(one: LoadedRun, other: LoadedRun) -> Iterator[Pair]:
    """Give every setting of the locked profiles that differs; a run's name always does."""
    if one.profile is None or other.profile is None:
        return
    ours, theirs = profile_check.settings(one.profile), profile_check.settings(other.profile)
    for key in dict.fromkeys((*ours, *theirs)):
        pair = Pair(what=key, one=str(ours.get(key, ABSENT)), other=str(theirs.get(key, ABSENT)))
        if key != "run.name" and not pair.same:
            yield pair


def _environment(one: LoadedRun, other: LoadedRun) -> Iterator[Pair]:
    ours, theirs = dict(_surroundings(one)), dict(_surroundings(other))
    for what in dict.fromkeys((*ours, *theirs)):
        yield Pair(what=what, one=ours.get(what, ABSENT), other=theirs.get(what, ABSENT))


def _surroundings(loaded_run: LoadedRun) -> Iterator[tuple[str, str]]:
    opening, venv = loaded_run.opening, loaded_run.venv
    if opening:
        yield "m43", opening.m43_version
        yield "contract, SHA-256", opening.contract_sha256
        yield "training rows, SHA-256", opening.train_rows_sha256
        yield "evaluation rows, SHA-256", opening.eval_rows_sha256
    if venv:
        probe = venv.probe
        yield "computes on", venv.device
        yield "NVIDIA driver", probe.driver_version
        yield "system", f"{probe.system} {probe.release}"
        yield "Python", probe.python_version
        yield "host memory", size_words(probe.host_memory_bytes)
        for package in probe.packages:
            yield f"package {package.name}", package.version
