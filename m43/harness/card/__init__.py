"""The card, watched through NVML by the parent, so that a hung child is watched too; no JAX.

Outsiders use `read_card` for one look, `Card` for many (nvml), and `CardSeries`, which writes a
look each second beside a child (series).
"""

from m43.harness.card.nvml import Card, read_card
from m43.harness.card.series import CardSeries

__all__ = ["Card", "CardSeries", "read_card"]
