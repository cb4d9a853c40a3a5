"""The checks of the plan: each can fail, and says what would help."""

from dataclasses import replace

import pytest

from m43.errors import FailureClass as F
from m43.evidence.contract.check import failing
from m43.evidence.contract.planned import alternatives_words, plan_checks, venv_gate_checks
from m43.evidence.diagnosis.diagnosis import diagnose
from m43.records.plan_record import CardMemory, Disk, PlanRecord
from m43.records.run_dir import write_record
from tests.unit.evidence.good_plan import (
    limits,
    plan_record,
    plan_that_does_not_fit,
    training_plan,
)
from tests.unit.evidence.good_records import CONTRACT, PROMISED, profile_of, venv_record
from tests.unit.evidence.good_run import break_gate
from tests.unit.evidence.on_a_card import card_memory, card_plan, planned, production

FULL = Disk(folder="/full", needed_bytes=10, free_bytes=9)
NO_PLAN = plan_record(training=None, reason="no head", failure_class=F.MODEL_INVALID)


def plan_of(**changes: object) -> PlanRecord:
    """Plan another training."""
    return plan_record(training=training_plan(**changes))


def test_a_good_plan_has_checks_and_all_hold() -> None:
    """Planned, the model, memory, and two disks."""
    checks = plan_checks(plan_record(), profile_of())
    assert len(checks) == 5
    assert failing(checks) == ()
    assert venv_gate_checks(venv_record(), plan_record(), profile_of())[-5:] == checks


@pytest.mark.parametrize(
    ("record", "expected", "name"),
    [
        (NO_PLAN, F.MODEL_INVALID, "planned"),
        (plan_of(architecture="Gemma3ForCausalLM"), F.WRONG_MODEL, "promised model"),
        (plan_of(parameters=268_098_176), F.WRONG_MODEL, "promised model"),
        (plan_record(config_values={**PROMISED.config, "rope_theta": 1e6}), F.WRONG_MODEL, "model"),
        (plan_record(config_values={}), F.WRONG_MODEL, "promised model"),
        (plan_that_does_not_fit(), F.PLAN_DOES_NOT_FIT, "memory"),
        (plan_record(run=FULL), F.PLAN_DOES_NOT_FIT, "run folder"),
        (plan_record(cache=FULL), F.PLAN_DOES_NOT_FIT, "cache"),
    ],
)
def test_each_check_can_fail(record: PlanRecord, expected: F, name: str) -> None:
    """One thing that is wrong fails one check, of its class."""
    (check,) = failing(plan_checks(record, profile_of()))
    assert check.failure_class is expected
    assert name in check.name
    assert check.action


def test_a_config_that_says_otherwise_is_named_key_by_key() -> None:
    """What it says and what it should, and of what agrees not a word."""
    values = {**PROMISED.config, "rope_theta": 1e6}
    del values["head_dim"]
    check = plan_checks(plan_record(config_values=values), profile_of())[1]
    model = "GemmaForCausalLM, 639,616 parameters"
    assert check.found == f"{model}, head_dim nothing, rope_theta 1000000.0"
    assert check.expected == f"{model}, head_dim 32, rope_theta 10000.0"


def test_the_margin_is_that_of_the_contract() -> None:
    """The check shows the line by which the promise decides, on both of its sides."""
    text = CONTRACT.read_text(encoding="utf-8")
    assert "assert 0 < 1.15 * plan.peak_bytes <= plan.memory_bytes\n" in text
    peak = training_plan().peak_bytes
    for memory, kept in ((round(1.16 * peak), True), (round(1.14 * peak), False)):
        plan = training_plan(limits=limits(memory_bytes=memory))
        assert plan_checks(plan_record(training=plan), profile_of())[2].holds is kept


@pytest.mark.parametrize(
    ("memory", "told"),
    [
        (None, "which is free"),
        (
            CardMemory(share=0.875, total_bytes=32 << 30, free_bytes=30 << 30, not_told=""),
            "which is free (the driver told 30.00 GiB of 32.00 GiB free, and JAX takes 87.5%)",
        ),
        (
            CardMemory(share=0.9, total_bytes=0, free_bytes=0, not_told="Not Supported"),
            "which is free (what is free on the card the driver did not tell: Not Supported)",
        ),
    ],
)
def test_what_the_driver_told_that_day_stands_beside_the_memory(
    memory: CardMemory | None, told: str
) -> None:
    """Or that it told nothing; a CPU has no driver to ask."""
    assert plan_checks(plan_record(card_memory=memory), profile_of())[2].expected.endswith(told)


@pytest.mark.parametrize(
    ("memory", "found"),
    [
        (None, "no name of a card"),
        (card_memory(name="", not_told="Driver Not Loaded"), "no name of a card (Driver Not"),
        (card_memory(name="NVIDIA H200"), "NVIDIA H200"),
    ],
)
def test_a_card_that_its_driver_does_not_know_is_named(
    memory: CardMemory | None, found: str
) -> None:
    """What JAX calls the device is not asked here."""
    profile = production()
    record = replace(planned(profile, card_plan()), card_memory=memory)
    (check,) = failing(plan_checks(record, profile))
    assert check.found.startswith(found)
    assert check.failure_class is F.CARD_UNKNOWN
    assert not failing(plan_checks(replace(record, card_memory=card_memory()), profile))


def test_what_would_fit_is_named_with_its_peak() -> None:
    """As settings of the profile; where nothing was found, that is said."""
    plan = plan_that_does_not_fit().training
    assert plan is not None
    words = alternatives_words(plan)
    assert "training.remat = true (8.38 GiB); or" in words
    assert "training.remat = true with training.accumulate = 8 (7.45 GiB)" in words
    assert "no other setting" in alternatives_words(replace(plan, alternatives=()))


def test_a_run_that_does_not_fit_says_so_and_what_would(tmp_path: object) -> None:
    """Class, claim and next actions of the failure analysis."""
    run = break_gate(
        tmp_path,  # type: ignore[arg-type]
        "venv",
        "test_venv_has_the_memory_that_training_takes",
        lambda run: write_record(run.plan, plan_that_does_not_fit()),
    )
    text = run.failure_analysis.read_text(encoding="utf-8")
    assert diagnose(run).failure_class is F.PLAN_DOES_NOT_FIT
    assert "the training fits the memory of cpu:cpu: found 19." in text
    assert "training.remat = true (8.38 GiB)" in text
    assert "venv.json, plan.json" in text
