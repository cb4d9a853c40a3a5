"""The share of the card that a run may take: from what is free that day."""

import time
from dataclasses import replace
from typing import get_type_hints

import pytest

from m43.harness.card import card_memory, memory, share_of
from m43.records import CardSample, NoCard
from tests.unit.evidence.on_a_card import production
from tests.unit.harness.card.fake_nvml import (
    GPU_IS_LOST,
    NOT_SUPPORTED,
    FakeCard,
    FakeNvml,
    install,
)

GIB = 1 << 30
GPU = production().contract
_TOLD = {"chosen_by": "the only card", "under": "", "not_told": {}}
NOTHING_TOLD = CardSample(**{**dict.fromkeys(get_type_hints(CardSample)), **_TOLD})


def with_memory(total: int | None, free: int | None) -> CardSample:
    """Make a look at a card of which so much is free."""
    return replace(NOTHING_TOLD, memory_total_bytes=total, memory_free_bytes=free)


@pytest.mark.parametrize(
    ("free_gib", "share"),
    [
        (32, 0.9375),  # (32 - 2) / 32
        (30, 0.875),
        (29.9, 0.8718),  # 0.871875, rounded down: never more than is there
        (18, 0.5),
        (2, 0.02),
        (0, 0.02),
    ],
)
def test_the_share_is_what_is_free_without_what_others_will_need(
    free_gib: float, share: float
) -> None:
    """A GiB for CUDA itself and one for a desktop that goes on; never nothing."""
    found = share_of(with_memory(32 * GIB, int(free_gib * GIB)))
    assert (found.share, found.total_bytes, found.not_told) == (share, 32 * GIB, "")
    assert found.free_bytes == int(free_gib * GIB)


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (NoCard(reason="Driver Not Loaded"), "Driver Not Loaded"),
        (replace(NOTHING_TOLD, not_told={"memory_free_bytes": "GPU is lost"}), "GPU is lost"),
        (with_memory(0, 0), "a card without memory"),
    ],
)
def test_what_the_driver_does_not_tell_leaves_the_old_share_and_is_said(
    card: CardSample | NoCard, reason: str
) -> None:
    """Nine tenths of it, and nobody is told that anything was free."""
    found = share_of(card)
    assert (found.share, found.total_bytes, found.free_bytes) == (0.9, 0, 0)
    assert found.not_told == reason


def test_the_driver_is_asked_for_a_card_and_not_for_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the real bindings: total 32, used 14, so 16 of 32 GiB can be taken."""
    card = FakeCard(total=32 * GIB, used=14 * GIB)
    install(monkeypatch, FakeNvml(cards=[card]))
    found = card_memory({}, GPU)
    assert found is not None
    assert (found.share, found.free_bytes, found.name) == (0.5, 18 * GIB, card.name)
    assert card_memory({}, replace(GPU, platform="cpu")) is None


@pytest.mark.parametrize(
    ("cards", "name"),
    [
        ([], ""),
        ([FakeCard(name="NVIDIA GeForce GT 710"), FakeCard()], "NVIDIA GeForce RTX 5090"),
        ([FakeCard(name="NVIDIA GeForce GT 710")], "NVIDIA GeForce GT 710"),
        ([FakeCard(fails={"nvmlDeviceGetName": GPU_IS_LOST})], ""),
        ([FakeCard(fails={"nvmlDeviceGetMemoryInfo_v2": NOT_SUPPORTED})], GPU.card),
        ([FakeCard(name=f"{GPU.card} MIG 1g.16gb", is_instance=True)], GPU.card),
    ],
)
def test_the_driver_names_the_card(
    monkeypatch: pytest.MonkeyPatch, cards: list[FakeCard], name: str
) -> None:
    """The promised one among several; another by its own name; none where it tells none."""
    install(monkeypatch, FakeNvml(cards=cards))
    found = card_memory({}, GPU)
    assert found is not None
    assert found.name == name


def test_a_driver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is free is then not told, and the child meets its own deadline."""
    monkeypatch.setattr(memory, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(memory, "read_card", lambda *_: time.sleep(5))
    begun = time.monotonic()
    found = card_memory({}, GPU)
    assert time.monotonic() - begun < 2
    assert found is not None
    assert found.not_told.startswith("no answer within ")
