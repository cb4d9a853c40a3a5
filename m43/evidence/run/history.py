"""The history of a run: what its journal tells of gates and promises, and where the time went."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from m43.evidence.journal import Entry
from m43.evidence.run.loaded_run import LoadedRun, moment
from m43.records import CLOSING, Phase, RunDir

REHEARSAL = "REHEARSAL \N{EN DASH} not a production run"

NOT_MEASURED = "not measured: the run did not get there"

NOT_JUDGED = "not judged"

# Written after the verdict, which the documents are part of: they read the same with and without.
AFTER_THE_VERDICT = "closed"


def watermark(loaded_run: LoadedRun) -> str:
    """Give the words that keep a rehearsal from being taken for more; nothing in production."""
    return "" if loaded_run.kind == "production" else REHEARSAL


def told_entries(loaded_run: LoadedRun) -> tuple[Entry, ...]:
    """Give the journal's entries that the documents tell of."""
    return tuple(entry for entry in loaded_run.entries if entry.event != AFTER_THE_VERDICT)


def promise_states(loaded_run: LoadedRun) -> dict[str, str]:
    """Return what the journal says of each promise: kept, broken or not judged.

    Where a gate stopped, its first promise fails for that reason alone: nothing was compared.
    """
    words = {"promise_kept": "kept", "promise_broken": "BROKEN", "promise_not_run": NOT_JUDGED}
    stopped = _stopped_gates(loaded_run)
    return {
        entry.name: NOT_JUDGED if entry.gate in stopped else words[entry.event]
        for entry in loaded_run.entries
        if entry.event in words
    }


def _stopped_gates(loaded_run: LoadedRun) -> set[str]:
    return {entry.gate for entry in loaded_run.entries if entry.event == "gate_stopped"}


def steps_back(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """List the entries whose time is before that of the entry before them."""
    moments = [(entry, moment(entry.time_utc)) for entry in entries]
    return tuple(
        entry
        for (_, earlier), (entry, later) in pairwise(moments)
        if (seconds_between(earlier, later) or 0.0) < 0
    )


def seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    """Give the seconds from one time to another, if both are known and comparable."""
    if start is None or end is None or (start.tzinfo is None) != (end.tzinfo is None):
        return None
    return (end - start).total_seconds()


def gate_seconds(loaded_run: LoadedRun, gate: str) -> float | None:
    """Give how long a gate took; None when it did not begin and end, or the clock was set back."""
    if steps_back([entry for entry in loaded_run.entries if entry.gate == gate]):
        return None
    times = {
        entry.event: moment(entry.time_utc) for entry in loaded_run.entries if entry.gate == gate
    }
    return seconds_between(
        times.get("gate_opened"), times.get("gate_closed") or times.get("gate_stopped")
    )


# Below this a remainder is the noise of two clocks.
_NOTICED_S = 0.05
# A child that fails leaves no record of its phases.
NOT_RECORDED = "a process that did not end well"


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A named stretch of a run."""

    gate: str
    name: str
    duration_s: float
    file: str

    @property
    def purpose(self) -> str:
        """What the time was for, in the words of somebody who waits."""
        if self.name == NOT_RECORDED:
            return NOT_RECORDED
        own = {"auth": "set-up", "venv": "set-up", "eval": "evaluation", CLOSING: "closing check"}
        if self.gate in own:
            return own[self.gate]
        return _OF_TRAINING.get(self.name) or _OF_TRAINING.get(self.name.split()[0], "set-up")


# The phases of training that are not set-up, by their name or their first word.
_OF_TRAINING = {
    "download": "download",
    "compile": "compiling",
    "train": "training steps",
    "save": "saving the model",
    "read back": "saving the model",
}

PURPOSES = (
    *("set-up", "download", "compiling", "training steps", "saving the model"),
    *("evaluation", "closing check", NOT_RECORDED),
)


def total_s(loaded_run: LoadedRun) -> float | None:
    """Give how long a run took from its first entry to its last; None when that is not known."""
    told = told_entries(loaded_run)
    return seconds_between(loaded_run.started, moment(told[-1].time_utc)) if told else None


def stretches(loaded_run: LoadedRun) -> tuple[Stretch, ...]:
    """Take the run's time apart, in order; what no record accounts for is told as that."""
    return (
        *_whole(loaded_run, "auth", "questions to the hub"),
        *_whole(loaded_run, "venv", "probe of the environment"),
        *_train(loaded_run),
        *_eval(loaded_run),
        *_whole(loaded_run, CLOSING, "everything compared with before"),
    )


def _whole(loaded_run: LoadedRun, gate: str, name: str) -> Iterator[Stretch]:
    seconds = gate_seconds(loaded_run, gate)
    if seconds is not None:
        yield Stretch(gate=gate, name=name, duration_s=seconds, file=RunDir.journal.name)


def _train(loaded_run: LoadedRun) -> Iterator[Stretch]:
    gate, parts = "train-300", []
    if loaded_run.download:
        seconds = loaded_run.download.duration_s
        file = RunDir.download.name
        parts.append(Stretch(gate=gate, name="download", duration_s=seconds, file=file))
    if loaded_run.train:
        parts += _phases(gate, loaded_run.train.phases, RunDir.train.name)
    yield from _with_rest(loaded_run, gate, parts, loaded_run.train is not None)


def _eval(loaded_run: LoadedRun) -> Iterator[Stretch]:
    parts = (
        _phases("eval", loaded_run.evaluation.phases, RunDir.evaluation.name)
        if loaded_run.evaluation
        else []
    )
    yield from _with_rest(loaded_run, "eval", parts, loaded_run.evaluation is not None)


def _phases(gate: str, phases: Sequence[Phase], file: str) -> list[Stretch]:
    return [
        Stretch(gate=gate, name=phase.name, duration_s=phase.duration_s, file=file)
        for phase in phases
    ]


def _with_rest(
    loaded_run: LoadedRun, gate: str, parts: Sequence[Stretch], recorded: bool
) -> Iterator[Stretch]:
    """Give the parts of a gate and what is left of its time."""
    yield from parts
    whole = gate_seconds(loaded_run, gate)
    if whole is None:
        return
    rest = whole - sum(part.duration_s for part in parts)
    if rest > _NOTICED_S:
        name = "start and end of the process" if recorded else NOT_RECORDED
        yield Stretch(gate=gate, name=name, duration_s=rest, file=RunDir.journal.name)
