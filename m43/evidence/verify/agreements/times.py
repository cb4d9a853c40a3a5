"""The times of a run: the journal's against each other, and durations inside durations."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import pairwise

from m43.errors import Problem, problem
from m43.evidence.diagnosis import is_cut_off
from m43.evidence.journal import Entry
from m43.evidence.run import LoadedRun, moment, seconds_between
from m43.evidence.verify.agreements.children import CHILDREN, child_of, phases_of
from m43.records import Phase, ProcessRecord, Profile, RunDir, child_file

_problem = partial(problem, action="")

# Two clocks, one of them written in milliseconds; and what no duration accounts for: a process that
# starts and ends, digests of gigabytes, documents on a slow disk.
_TICK_S, _BETWEEN_S = 0.05, 1800.0


def journal_times(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Require times that go forward, from the opening on, at the pace of what was measured."""
    times = [_stamped(entry) for entry in loaded_run.entries]
    for entry, time in zip(loaded_run.entries, times, strict=True):
        if time is None:
            yield _problem(
                f"the time {entry.time_utc!r}", "UTC, as in 2026-01-02T03:04:05.678Z", _at(entry)
            )
    if None in times:
        return
    opening = loaded_run.opening
    begun = moment(opening.started_utc) if opening is not None else None
    first = next(iter(loaded_run.entries), None)
    if first is not None and opening is not None:
        after_s = seconds_between(begun, times[0])
        late = after_s is not None and after_s > _BETWEEN_S and not is_cut_off(first)
        if after_s is None or after_s < 0 or late:
            found = f"the first entry at {first.time_utc}"
            yield _problem(found, f"soon after {opening.started_utc} (opening.json)", _at(first))
    for earlier, later in pairwise(loaded_run.entries):
        yield from _step(loaded_run, earlier, later)


def _stamped(entry: Entry) -> datetime | None:
    return moment(entry.time_utc) if entry.time_utc.endswith("Z") else None


def _step(loaded_run: LoadedRun, earlier: Entry, later: Entry) -> Iterator[Problem]:
    """Bound the time from one entry to the next."""
    passed_s = seconds_between(moment(earlier.time_utc), moment(later.time_utc)) or 0.0
    if passed_s < 0:
        yield _problem(
            f"{-passed_s:.3f} s before the entry above", "times that go forward", _at(later)
        )
    # A run that was cut off is closed when somebody comes by.
    if is_cut_off(later):
        return
    most_s = _BETWEEN_S + (_longest_s(loaded_run, later) if earlier.event == "gate_opened" else 0.0)
    if passed_s > most_s:
        found = f"{passed_s:.0f} s after the entry above"
        yield _problem(found, f"{most_s:.0f} s at most, by what was measured", _at(later))


def _longest_s(loaded_run: LoadedRun, entry: Entry) -> float:
    """Return how long a gate can have taken: what it measured, else what it was given."""
    if entry.event == "gate_closed":
        return measured_s(loaded_run).get(entry.gate, 0.0)
    profile = loaded_run.profile
    return _given_s(profile).get(entry.gate, 0.0) if profile is not None else float("inf")


def _given_s(profile: Profile) -> Mapping[str, float]:
    table = profile.deadlines
    return {
        "auth": table.auth_s,
        "venv": 3 * table.probe_s,
        "train-300": table.download_s + table.train_s,
        "eval": table.evaluate_s,
    }


def measured_s(loaded_run: LoadedRun) -> Mapping[str, float]:
    """Sum up by gate what its records say that it took."""
    auth, venv, plan = loaded_run.auth, loaded_run.venv, loaded_run.plan
    fetched = loaded_run.download.duration_s if loaded_run.download is not None else 0.0
    ended = {name: child_of(loaded_run, name).process for name in ("train", "eval")}
    spent = {name: each.duration_s if each is not None else 0.0 for name, each in ended.items()}
    probed = (venv.duration_s if venv is not None else 0.0) + (
        plan.duration_s if plan is not None else 0.0
    )
    return {
        "auth": auth.duration_s if auth is not None else 0.0,
        "venv": probed,
        "train-300": fetched + spent["train"],
        "eval": spent["eval"],
    }


def durations(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Require that the parts of a stretch of time fit into it, and that none is below 0."""
    for gate, least_s in measured_s(loaded_run).items():
        edges = {
            entry.event: moment(entry.time_utc)
            for entry in loaded_run.entries
            if entry.gate == gate
        }
        whole_s = seconds_between(edges.get("gate_opened"), edges.get("gate_closed"))
        if whole_s is not None and least_s > whole_s + _TICK_S:
            found = f"{least_s:.1f} s of gate {gate} by its records"
            yield _problem(found, f"{whole_s:.1f} s at most", RunDir.journal.name)
        if least_s < 0:
            yield _problem(f"{least_s} s of gate {gate}", "no time below 0", "its records")
    for name in CHILDREN:
        process = child_of(loaded_run, name).process
        if process is not None:
            yield from _fits(name, phases_of(loaded_run, name), process)
    fetched, process = loaded_run.download, loaded_run.download_child.process
    if fetched is not None and process is not None:
        over_s = fetched.duration_s - process.duration_s
        if not -_TICK_S <= over_s <= _BETWEEN_S:
            found = f"{fetched.duration_s:.1f} s of a process of {process.duration_s:.1f} s"
            yield _problem(found, "a download around its process", RunDir.download.name)
    yield from _steps_fill_their_phase(loaded_run)


def _fits(name: str, phases: Sequence[Phase], process: ProcessRecord) -> Iterator[Problem]:
    where = child_file(name, "process").name
    if any(each.duration_s < 0 for each in phases) or process.duration_s < 0:
        yield _problem("a duration below 0", "none", where)
    spent_s = sum(each.duration_s for each in phases)
    if spent_s > process.duration_s + _TICK_S:
        found = f"phases of {spent_s:.1f} s in a process of {process.duration_s:.1f} s"
        yield _problem(found, "phases that fit into their process", where)
    elif phases and process.duration_s - spent_s > _BETWEEN_S:
        found = f"{process.duration_s:.0f} s, of which the phases are {spent_s:.0f} s"
        yield _problem(found, "a process that its phases account for", where)


def _steps_fill_their_phase(loaded_run: LoadedRun) -> Iterator[Problem]:
    # Each step's time begins where the one before ended: together they are the phase.
    named = [each for each in phases_of(loaded_run, "train") if each.name == "train"]
    steps_s = sum(step.duration_s for step in loaded_run.metrics)
    if named:
        rest_s = named[0].duration_s - steps_s
        if not -_TICK_S <= rest_s <= 2.0 + 0.05 * named[0].duration_s:
            found = f"steps of {steps_s:.1f} s in a phase of {named[0].duration_s:.1f} s"
            yield _problem(found, "steps that fill the phase", RunDir.metrics.name)


def _at(entry: Entry) -> str:
    return f"{RunDir.journal.name}:{entry.seq}"
