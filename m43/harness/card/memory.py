"""What a run may take of the card's memory: of what is free that day, all but what others need."""

import math
import threading
from collections.abc import Mapping

from m43.harness.card.nvml import read_card
from m43.records import CardMemory, CardSample, Contract, NoCard

CONTEXT_BYTES = 1 << 30
"""What CUDA takes beside JAX's own memory: the context (half a GiB on Hopper and Blackwell), the
handles of cuBLAS and cuDNN, the loaded kernels, the graphs that steps are launched as."""
GROWTH_BYTES = 1 << 30
"""What a desktop may come to hold while a run is on: a window that is opened, a film in a browser.
It holds 1 to 3 GiB from the beginning, and that is no longer free when the driver is asked."""
UNTOLD_SHARE = 0.9
"""Of the whole memory, where the driver does not tell what is free."""
LEAST_SHARE = 0.02
"""So that a child can start and say what is wrong, on a card that is taken."""
_PATIENCE_S = 10.0
_NOT_TOLD = "not told"


def card_memory(environment: Mapping[str, str], contract: Contract) -> CardMemory | None:
    """Ask the driver what is free now, and decide which share of the card JAX takes at once.

    Args:
        environment: Of the child that will compute: it says which card.
        contract: Where it will compute; a CPU has no such share, and gives None.
    """
    if contract.platform != "gpu":
        return None
    return share_of(look_at_card(environment, contract.device_kind))


def share_of(card: CardSample | NoCard) -> CardMemory:
    """Decide the share from a look at the card.

    JAX counts it of the whole memory as CUDA knows it, which is a little less than NVML's: what
    comes out is never more than was meant.

    Source: XLA, xla/pjrt/gpu/gpu_helpers.cc, CreateBFCAllocator.
    """
    if isinstance(card, NoCard):
        return _untold(card.reason)
    total, free = card.memory_total_bytes, card.memory_free_bytes
    # What JAX calls a part of a card ends so, and NVML names the part or the whole.
    name = (card.name or "").partition(" MIG ")[0]
    if not total or free is None:
        reason = card.not_told.get("memory_free_bytes", "a card without memory")
        return _untold(reason, card.compute_mode, name)
    share = (free - CONTEXT_BYTES - GROWTH_BYTES) / total
    # Down, to what the variable will say in four digits.
    share = max(LEAST_SHARE, math.floor(share * 1e4) / 1e4)
    return CardMemory(
        share=share,
        total_bytes=total,
        free_bytes=free,
        not_told="",
        compute_mode=card.compute_mode or _NOT_TOLD,
        name=name,
    )


def _untold(reason: str, compute_mode: str | None = None, name: str = "") -> CardMemory:
    return CardMemory(
        share=UNTOLD_SHARE,
        total_bytes=0,
        free_bytes=0,
        not_told=reason,
        compute_mode=compute_mode or _NOT_TOLD,
        name=name,
    )


def look_at_card(environment: Mapping[str, str], kind: str = "") -> CardSample | NoCard:
    """Look at the card once; a driver that hangs is not waited for, as a child would be ended.

    `kind` is as of `Card.open`.
    """
    found: list[CardSample | NoCard] = []
    look = threading.Thread(target=lambda: found.append(read_card(environment, kind)), daemon=True)
    look.start()
    look.join(_PATIENCE_S)
    return found[0] if found else NoCard(reason=f"no answer within {_PATIENCE_S:.0f} s")
