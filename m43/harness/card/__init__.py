"""The card, watched through NVML by the parent, so that a hung child is watched too; no JAX.

Outsiders use `read_card` for one look, `Card` for many (nvml), `CardSeries`, which writes a look
each second beside a child (series), `card_memory` for what a run may take of it (memory), and
`card_lines` for what the kernel says of it (kernel_log).
"""

from m43.harness.card.kernel_log import card_lines
from m43.harness.card.memory import card_memory, look_at_card, share_of
from m43.harness.card.nvml import Card, read_card
from m43.harness.card.series import CardSeries

__all__ = [
    "Card",
    "CardSeries",
    "card_lines",
    "card_memory",
    "look_at_card",
    "read_card",
    "share_of",
]
