"""One sequence of events is accepted; whatever differs from it is not."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m43.evidence.contract.contract import Promise
from m43.evidence.contract.verdict import judge, verdict_words
from m43.evidence.journal.chain import EDGES, FIRST_PREVIOUS, Entry
from m43.records.gates import STAGES

PREFIXES = ("auth", "venv", "train", "eval", "closing")
PROMISES = tuple(
    Promise(name=f"test_{prefix}_{letter}", gate=gate, clause="A clause.")
    for prefix, gate in zip(PREFIXES, STAGES, strict=True)
    for letter in "ab"
)
EVENTS = (*sorted(EDGES), "promise_kept", "promise_broken", "promise_not_run")


def entry(event: str, gate: str = "", name: str = "", failure_class: str = "") -> Entry:
    """Give an entry; the chain is not the judge's concern."""
    return Entry(
        seq=0,
        time_utc="2026-01-02T03:04:05.000Z",
        event=event,  # type: ignore[arg-type]
        gate=gate,
        name=name,
        failure_class=failure_class,
        detail="",
        previous_sha256=FIRST_PREVIOUS,
        sha256="",
    )


def numbered(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Number entries as a writer would, so that order alone is judged."""
    return tuple(replace(each, seq=number) for number, each in enumerate(entries, start=1))


def good() -> list[Entry]:
    """Give the journal of a run that kept everything."""
    entries = [entry("opened")]
    for stage in STAGES:
        entries += [entry("gate_opened", stage), entry("gate_closed", stage)]
        entries += [
            entry("promise_kept", stage, each.name) for each in PROMISES if each.gate == stage
        ]
    return [*entries, entry("sealed")]


def test_the_complete_journal_is_accepted() -> None:
    """Opened, every gate in order with its promises kept, sealed: accepted, also once closed."""
    assert judge(numbered(good()), PROMISES).accepted
    assert judge(numbered([*good(), entry("closed")]), PROMISES).accepted


def test_a_contract_without_promises_is_never_kept() -> None:
    """Nothing is accepted for doing nothing."""
    assert not judge((), ()).accepted
    bare = [each for each in good() if each.event != "promise_kept"]
    verdict = judge(numbered(bare), ())
    assert not verdict.accepted
    assert verdict.reasons[0] == "the contract has no promises"


@pytest.mark.parametrize("stage", STAGES)
def test_a_contract_that_leaves_a_gate_out_is_never_kept(stage: str) -> None:
    """Each gate must promise something, or it would pass by being empty."""
    promises = tuple(promise for promise in PROMISES if promise.gate != stage)
    entries = [each for each in good() if each.gate != stage or each.event != "promise_kept"]

    verdict = judge(numbered(entries), promises)

    assert f"the contract promises nothing about {stage}" in verdict.reasons


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (entry("gate_stopped", "auth", "", "no token"), "gate auth stopped: no token"),
        (entry("promise_broken", "auth", "test_auth_a"), "promise test_auth_a is broken"),
        (entry("promise_not_run", "eval", "test_eval_a"), "promise test_eval_a was not run"),
        (entry("interrupted"), "the run was interrupted"),
        (entry("promise_kept", "auth", "test_auth_z"), "'test_auth_z' is not in the contract"),
        (entry("promise_kept", "auth", "test_auth_a"), "test_auth_a was judged 2 times"),
        (entry("opened"), "says 'opened' 2 times"),
        (entry("gate_opened", "venv"), "gate venv: gate_opened 2 times"),
        (entry("gate_opened", "fifth"), "entry 4 of the journal is gate_opened fifth"),
        (entry("closed"), "entry 4 of the journal is closed"),
    ],
)
def test_each_foreign_event_is_named(bad: Entry, reason: str) -> None:
    """One event too many refuses the run, wherever it stands, and the reason says which."""
    entries = good()
    entries.insert(3, bad)

    verdict = judge(numbered(entries), PROMISES)

    assert not verdict.accepted
    assert any(reason in each for each in verdict.reasons), verdict.reasons


def test_every_reason_is_given() -> None:
    """Two things that are wrong are both named."""
    entries = [each for each in good() if each.name not in ("test_venv_a", "test_eval_b")]

    reasons = judge(numbered(entries), PROMISES).reasons

    assert "promise test_venv_a was never judged" in reasons
    assert "promise test_eval_b was never judged" in reasons


def test_a_failure_class_on_a_good_event_refuses() -> None:
    """A closed gate that carries a failure is not closed well."""
    entries = good()
    entries[2] = replace(entries[2], failure_class="killed")

    assert not judge(numbered(entries), PROMISES).accepted


def test_numbers_that_skip_refuse() -> None:
    """The judge does not rely on the reader of the chain alone."""
    verdict = judge(tuple(good()), PROMISES)
    assert not verdict.accepted
    assert verdict.reasons == ("the journal's entries are not numbered 1, 2, 3 and so on",)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (replace(entry("interrupted"), detail="SIGTERM"), "the run was interrupted (SIGTERM)"),
        (entry("interrupted"), "the run was interrupted"),
        (entry("gate_stopped", "eval"), "gate eval stopped: no class"),
    ],
)
def test_a_bad_event_is_told_in_these_words(bad: Entry, reason: str) -> None:
    """With the detail where there is one, and nothing in its place where there is none."""
    assert judge(numbered([*good(), bad]), PROMISES).reasons[0] == reason


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        (good()[:-1], "entry 22 of the journal is the end of the journal, where sealed belongs"),
        (
            [*good(), entry("opened")],
            "entry 23 of the journal is opened, where nothing more belongs",
        ),
        (
            [*good()[:3], entry("sealed"), *good()[4:]],
            "entry 4 of the journal is sealed, where promise_kept test_auth_a belongs",
        ),
    ],
)
def test_the_first_difference_is_told_in_these_words(entries: list[Entry], reason: str) -> None:
    """What stands there, and what belongs there."""
    assert reason in judge(numbered(entries), PROMISES).reasons


places = st.integers(min_value=0, max_value=len(good()) - 1)


@given(place=places)
def test_dropping_any_event_refuses(place: int) -> None:
    """No event of the good journal is dispensable."""
    entries = good()
    del entries[place]

    assert not judge(numbered(entries), PROMISES).accepted


@given(place=places, target=places)
def test_repeating_any_event_anywhere_refuses(place: int, target: int) -> None:
    """Nothing may happen twice."""
    entries = good()
    entries.insert(target, entries[place])

    assert not judge(numbered(entries), PROMISES).accepted


@given(first=places, second=places)
def test_swapping_any_two_events_refuses(first: int, second: int) -> None:
    """The order is part of the verdict."""
    entries = good()
    entries[first], entries[second] = entries[second], entries[first]

    assert judge(numbered(entries), PROMISES).accepted == (first == second)


@given(place=places, event=st.sampled_from(EVENTS))
def test_renaming_any_event_refuses(place: int, event: str) -> None:
    """An event of another kind is not that event."""
    entries = good()
    same = entries[place].event == event
    entries[place] = replace(entries[place], event=event)  # type: ignore[arg-type]

    assert judge(numbered(entries), PROMISES).accepted == same


@given(entries=st.permutations(good()))
@settings(max_examples=50)
def test_reordering_refuses(entries: list[Entry]) -> None:
    """No other order of the same events is accepted."""
    assert judge(numbered(entries), PROMISES).accepted == (entries == good())


some_entry = st.builds(
    entry,
    event=st.sampled_from(EVENTS),
    gate=st.sampled_from(("", *STAGES)),
    name=st.sampled_from(("", *(promise.name for promise in PROMISES))),
)


@given(entries=st.lists(some_entry, max_size=40))
def test_random_journals_are_refused(entries: list[Entry]) -> None:
    """What nobody thought of is refused as well."""
    verdict = judge(numbered(entries), PROMISES)

    assert not verdict.accepted
    assert verdict.reasons


@pytest.mark.parametrize(
    ("accepted", "kind", "own_profile", "words"),
    [
        (True, "production", False, "ACCEPTED"),
        (True, "production", True, "ACCEPTED under a profile of its own"),
        (True, "rehearsal", False, "ACCEPTED (rehearsal)"),
        (True, "rehearsal", True, "ACCEPTED (rehearsal) under a profile of its own"),
        (False, "production", True, "NOT ACCEPTED"),
        (False, "rehearsal", False, "NOT ACCEPTED (rehearsal)"),
    ],
)
def test_the_words_tell_the_kind_of_run(
    accepted: bool, kind: str, own_profile: bool, words: str
) -> None:
    """Neither a rehearsal nor a profile of one's own is ever called accepted alone."""
    assert verdict_words(accepted, kind, own_profile=own_profile) == words


def test_another_model_is_another_contract() -> None:
    """Only where it is accepted: a refusal is one under any contract."""
    told = {
        accepted: verdict_words(accepted, "production", own_profile=True, other_contract=True)
        for accepted in (True, False)
    }
    assert told == {True: "ACCEPTED under another contract", False: "NOT ACCEPTED"}
