"""The card as its driver counts it: one look, and the series of looks while a child ran."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class CardProcess:
    """A process that holds memory of the card, by the number that the driver knows it by.

    Inside a container that is the host's number.
    """

    pid: int
    memory_bytes: int | None  # None where the driver does not count it by process


@dataclass(frozen=True, kw_only=True)
class CardSample:
    """One look at a card. What the driver does not tell is None, and stands in `not_told`."""

    chosen_by: str  # why this card and not another
    under: str  # "WSL2", "MIG" or both: why a driver tells less; empty where neither
    name: str | None
    uuid: str | None
    driver_version: str | None
    compute_mode: str | None  # "default", "exclusive process", "prohibited"
    power_mw: int | None  # from Ampere on the mean of the last second
    power_limit_mw: int | None
    energy_mj: int | None  # since the driver was loaded
    utilisation_percent: int | None  # of the time, in which a kernel ran
    memory_total_bytes: int | None
    memory_used_bytes: int | None  # of all processes, and what the driver keeps for itself
    memory_free_bytes: int | None
    processes: tuple[CardProcess, ...] | None = field(repr=False)
    sm_clock_mhz: int | None
    sm_clock_max_mhz: int | None
    memory_clock_mhz: int | None
    temperature_c: int | None
    throttle_reasons: tuple[str, ...] | None  # why the clock is not higher; "idle" is one
    ecc_corrected: int | None  # since the driver was loaded
    ecc_uncorrected: int | None
    not_told: Mapping[str, str] = field(repr=False)  # by field, in NVML's word


@dataclass(frozen=True, kw_only=True)
class NoCard:
    """Why there is no card to look at."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class CardReading:
    """The card in one second of a child's life. A line of `gpu_metrics.jsonl`."""

    child: Literal["train", "eval"]
    pid: int  # of the child
    elapsed_s: float  # from the child's start to this look; below 0 a moment before it
    phase: str  # that the child was in, by its heartbeat; empty before the first
    steps: int  # optimizer steps or rows that the parent had seen go by
    card: CardSample | None
    gap: str  # why there is no look; empty where there is one
