"""The plan as a page: every figure of the record, and the verdict last."""

from dataclasses import replace

import pytest

from m43.harness.commands.plan import as_it_is_now, fits, plan_page
from m43.records import CardSample, NoCard
from tests.unit.evidence.good_plan import limits, plan_that_does_not_fit, training_plan
from tests.unit.harness.card.test_memory import NOTHING_TOLD


def test_a_plan_that_fits_says_so_last() -> None:
    """With memory, arrays, arithmetic, time and disk before it."""
    text = "\n".join(map(str, plan_page(training_plan(), "title")))
    assert text.startswith("title\n\nmemory of cpu:cpu\n")
    assert text.endswith("\nIt fits.")
    for line in (
        "arguments                         11.4 MiB",
        "temporaries                       95.4 MiB",
        "at most, read back                764.2 MiB",
        "at most, steps                    869.8 MiB",
        "peak                              869.8 MiB",
        "peak with a margin of 15%         1000.2 MiB",
        "float32[1280,128] state.params.embedding",
        "head                              0.002 TFLOP (23.8%)",
        "model FLOPs                       0.006 TFLOP, 0.00 GFLOP per token",
        "matrix products                   33 of bfloat16, 0 of float32 operands",
        "rows of logits at once            128",
        "a step, roofline bound            0.063 s",
        "a step at 50% of the peak FLOP/s  0.127 s",
        "epochs                            1 (2400 of 2400 rows, unpacked)",
        "tokens, at most                   460,800",
    ):
        assert line in text


def test_a_plan_that_does_not_fit_names_what_would() -> None:
    """In capitals, with the settings."""
    plan = plan_that_does_not_fit().training
    assert plan is not None
    text = "\n".join(map(str, plan_page(plan, "title")))
    assert not fits(plan)
    assert "IT DOES NOT FIT: free memory, or change the profile" in text
    assert "training.remat = true" in text


CARD = "NVIDIA GeForce RTX 5090"
FREE = replace(NOTHING_TOLD, name=CARD, memory_total_bytes=32 << 30, memory_free_bytes=18 << 30)


def test_a_card_that_is_here_is_planned_with_what_is_free_now() -> None:
    """A desktop, a second run: what they hold a run cannot have."""
    plan = training_plan(limits=limits(device=f"gpu:{CARD}", memory_bytes=28 << 30))
    now, day = as_it_is_now(plan, FREE)
    assert now.limits.memory_bytes == (32 << 30) // 2
    assert day == " (the driver told 18.00 GiB of 32.00 GiB free, and JAX takes 50.0%)"
    text = "\n".join(map(str, plan_page(now, "title", day)))
    assert f"free for a run                    16.00 GiB{day}" in text


@pytest.mark.parametrize(
    ("card", "told"),
    [
        (NoCard(reason="Driver Not Loaded"), "on which nothing else is; here: Driver Not Loaded"),
        (replace(FREE, name="NVIDIA H200"), "here is another: NVIDIA H200"),
        (
            replace(FREE, memory_free_bytes=None, not_told={"memory_free_bytes": "Lost"}),
            "tell: Lost",
        ),
    ],
)
def test_what_is_not_told_changes_no_plan_and_is_said(card: CardSample | NoCard, told: str) -> None:
    """Then the plan is that of the whole card."""
    plan = training_plan(limits=limits(device=f"gpu:{CARD}"))
    now, day = as_it_is_now(plan, card)
    assert now == plan
    assert told in day


def test_the_margin_decides() -> None:
    """15 % more than the peak must be free."""
    peak = training_plan().peak_bytes
    assert fits(training_plan(limits=limits(memory_bytes=round(1.16 * peak))))
    assert not fits(training_plan(limits=limits(memory_bytes=round(1.14 * peak))))
