"""The verdict: whether a journal tells of a complete, ordered, once-only run that kept its word."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from m43.evidence.contract.contract import Promise
from m43.evidence.journal import Entry
from m43.records import STAGES

_BAD_EVENTS = {
    "gate_stopped": "gate {gate} stopped: {failure_class}",
    "promise_broken": "promise {name} is broken",
    "promise_not_run": "promise {name} was not run",
    "interrupted": "the run was interrupted {detail}",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer and, when it is no, every reason."""

    accepted: bool
    reasons: tuple[str, ...]


def verdict_words(
    accepted: bool, kind: str, *, own_profile: bool, other_contract: bool = False
) -> str:
    """Give the verdict as every document, terminal and journal says it.

    A profile of one's own is never silently the locked decisions, and one that promises another
    model is another contract; a refusal needs no such word.
    """
    word = "ACCEPTED" if accepted else "NOT ACCEPTED"
    words = word if kind == "production" else f"{word} (rehearsal)"
    if not accepted or not own_profile:
        return words
    return f"{words} under {'another contract' if other_contract else 'a profile of its own'}"


@dataclass(frozen=True, kw_only=True)
class _Step:
    event: str
    gate: str
    name: str

    def __str__(self) -> str:
        return " ".join(word for word in (self.event, self.name or self.gate) if word)


def judge(entries: Sequence[Entry], promises: Sequence[Promise]) -> Verdict:
    """Compare a journal, step by step, with the only journal that an accepted run has.

    Acceptance is equality with that one sequence, not the absence of complaints: a journal that
    nobody thought of is refused. The reasons only explain a refusal.
    """
    expected = _grammar(promises)
    steps = [_Step(event=entry.event, gate=entry.gate, name=entry.name) for entry in entries]
    # The closing line is written after the verdict, so a run judged again has it and is the same.
    if len(steps) == len(expected) + 1 and steps[-1].event == "closed":
        steps.pop()
    reasons = [*_hollow(promises), *_bad_events(entries)]
    reasons += _counts(steps, promises)
    if steps != expected:
        reasons.append(_first_difference(steps, expected))
    if [entry.seq for entry in entries] != list(range(1, len(entries) + 1)):
        reasons.append("the journal's entries are not numbered 1, 2, 3 and so on")
    reasons += [
        f"entry {entry.seq} ({entry.event}) carries the failure class {entry.failure_class!r}"
        for entry in entries
        if entry.failure_class and entry.event not in _BAD_EVENTS
    ]
    return Verdict(accepted=not reasons, reasons=tuple(dict.fromkeys(reasons)))


def _grammar(promises: Sequence[Promise]) -> list[_Step]:
    steps = [_Step(event="opened", gate="", name="")]
    for stage in STAGES:
        steps.append(_Step(event="gate_opened", gate=stage, name=""))
        steps.append(_Step(event="gate_closed", gate=stage, name=""))
        steps += [
            _Step(event="promise_kept", gate=stage, name=promise.name)
            for promise in promises
            if promise.gate == stage
        ]
    return [*steps, _Step(event="sealed", gate="", name="")]


def _hollow(promises: Sequence[Promise]) -> list[str]:
    """Refuse a contract that asks for nothing: it would be kept by doing nothing."""
    if not promises:
        return ["the contract has no promises"]
    asked = {promise.gate for promise in promises}
    reasons = [
        f"the contract promises nothing about {stage}" for stage in STAGES if not asked & {stage}
    ]
    reasons += [f"the contract has no gate {gate!r}" for gate in sorted(asked - set(STAGES))]
    return reasons


def _bad_events(entries: Sequence[Entry]) -> list[str]:
    return [
        _BAD_EVENTS[entry.event]
        .format(
            gate=entry.gate,
            name=entry.name,
            failure_class=entry.failure_class or "no class",
            detail=f"({entry.detail})" if entry.detail else "",
        )
        .strip()
        for entry in entries
        if entry.event in _BAD_EVENTS
    ]


def _counts(steps: Sequence[_Step], promises: Sequence[Promise]) -> list[str]:
    """Name what is missing or there too often, so that a person need not compare two lists."""
    judged = Counter(step.name for step in steps if step.event.startswith("promise_"))
    known = {promise.name for promise in promises}
    reasons = [
        f"promise {name} was judged {count} times" for name, count in judged.items() if count > 1
    ]
    reasons += [
        f"promise {name} was never judged"
        for name in (p.name for p in promises)
        if not judged[name]
    ]
    reasons += [f"promise {name!r} is not in the contract" for name in judged if name not in known]
    for event in ("opened", "sealed"):
        count = sum(step.event == event for step in steps)
        if count != 1:
            reasons.append(f"the journal says {event!r} {count} times, not once")
    for stage in STAGES:
        for event in ("gate_opened", "gate_closed"):
            count = sum(step.event == event and step.gate == stage for step in steps)
            if count != 1:
                reasons.append(f"gate {stage}: {event} {count} times, not once")
    return reasons


def _first_difference(steps: Sequence[_Step], expected: Sequence[_Step]) -> str:
    pairs = zip(steps, expected, strict=False)
    place = next(
        (index for index, (found, wanted) in enumerate(pairs) if found != wanted),
        min(len(steps), len(expected)),
    )
    found = str(steps[place]) if place < len(steps) else "the end of the journal"
    wanted = str(expected[place]) if place < len(expected) else "nothing more"
    return f"entry {place + 1} of the journal is {found}, where {wanted} belongs"
