"""The plan of a run as it stands on disk: what it will take, made before a weight is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from m43.errors import FailureClass
from m43.records.hub_record import PinnedFile
from m43.records.profile import ConfigValue, Profile

# The same margin as in the contract's promise, which is what decides.
MARGIN = 1.15


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What the plan child is asked, in a file of its own.

    Attributes:
        config_folder: the folder that holds the model's config.json, and need hold nothing else.
        target: empty for the device that is here, else a card as
            `m43.training.plan.devices` reads it.
    """

    profile: Profile
    config_folder: Path
    target: str


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """An array of the compiled step."""

    name: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class PartFlops:
    """The model FLOPs of one part of the model."""

    part: str
    flops: int


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a device has and can do."""

    device: str  # platform:kind
    memory_bytes: int  # that a run may fill: free now, or of a device that is not here, all of it
    flops_per_s: float  # bfloat16 products with float32 sums
    bytes_per_s: float  # to and from memory
    sustained_share: float  # of flops_per_s, that a good run reaches
    source: str  # of the figures above


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """The compiled step of the longest batch that the profile admits."""

    rows: int
    length: int
    arguments_bytes: int
    outputs_bytes: int
    aliased_bytes: int  # of the outputs, which lie where arguments lay
    temporaries_bytes: int
    float32_products: int  # matrix products of two float32 operands in the compiled step
    bfloat16_products: int
    logits_rows: int  # rows of logits that exist at once
    flops: tuple[PartFlops, ...] = field(repr=False)  # of the whole step
    state_bytes_moved: int  # at least, of weights and optimizer
    buffers: tuple[Buffer, ...] = field(repr=False)  # the largest
    # Of the host, measured while the plan was made. A plan of before they were measured has none.
    compiling_bytes: int = 0  # that the compiler holds at most, beside everything else
    compiled_bytes: int = 0  # that stay when it is done: code, and what JAX keeps of the tracing

    @property
    def step_bytes(self) -> int:
        """What the step holds at most, its state included."""
        kept = self.arguments_bytes + self.outputs_bytes - self.aliased_bytes
        return kept + self.temporaries_bytes

    @property
    def bytes_moved(self) -> int:
        """The least that a step moves: what is kept for a while is written and read."""
        return self.state_bytes_moved + 2 * self.temporaries_bytes

    @property
    def positions(self) -> int:
        """How many positions the step computes, padding included."""
        return self.rows * self.length

    @property
    def total_flops(self) -> int:
        """All parts of the step together."""
        return sum(part.flops for part in self.flops)


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """Settings with which the run would take less, and what its peak would then be."""

    settings: tuple[str, ...]
    peak_bytes: int


@dataclass(frozen=True, kw_only=True)
class PhasePeak:
    """The most that one phase of the training holds at once."""

    phase: str
    peak_bytes: int


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """What the training child will take: printed by the plan child, from config.json alone."""

    limits: Limits
    parameters: int
    trained_parameters: int
    step: StepPlan
    process_bytes: int  # on a CPU: Python, JAX, what training imports, and the rows
    read_back_bytes: int  # the saved model, read once more when the trained one is gone
    model_bytes: int  # of the weights as they are saved
    adapter_bytes: int
    steps: int
    rows_in_file: int
    rows_used: int  # at least; packing uses more
    alternatives: tuple[Alternative, ...] = field(repr=False)
    # A plan of before they were told apart has none of these.
    weights_bytes: int = 0  # as they are read, before the optimizer has a state
    reading_bytes: int = 0  # on a CPU: of the largest array, which is there twice for a moment
    compilations: int = 1  # at most, of the step: one for each padded length
    architecture: str = ""  # of the config.json that was read, as it names it

    @property
    def phases(self) -> tuple[PhasePeak, ...]:
        """What each phase holds at most. What it frees is given back before the next begins."""
        step, process = self.step, self.process_bytes
        # On a card the compiler and what it leaves lie in the host's memory, not in the card's.
        on_host = self.limits.device.startswith("cpu:")
        compiling, compiled = (step.compiling_bytes, step.compiled_bytes) if on_host else (0, 0)
        code, kept = process + self.compilations * compiled, step.arguments_bytes
        return (
            PhasePeak(
                phase="read weights", peak_bytes=process + self.weights_bytes + self.reading_bytes
            ),
            PhasePeak(phase="compile", peak_bytes=code - compiled + kept + compiling),
            PhasePeak(phase="steps", peak_bytes=code + step.step_bytes),
            PhasePeak(phase="read back", peak_bytes=code + self.read_back_bytes),
        )

    @property
    def peak_bytes(self) -> int:
        """The most that the training child holds at once: of the phases the largest."""
        return max(phase.peak_bytes for phase in self.phases)

    @property
    def needed_bytes(self) -> int:
        """The peak with the margin, which is what has to be free."""
        return round(MARGIN * self.peak_bytes)

    @property
    def roofline_s(self) -> float:
        """The least time of a step: that of its FLOPs or that of its bytes, whichever is more."""
        step, limits = self.step, self.limits
        return max(step.total_flops / limits.flops_per_s, step.bytes_moved / limits.bytes_per_s)

    @property
    def sustained_s(self) -> float:
        """The time of a step at the share of the peak that a good run reaches."""
        step, limits = self.step, self.limits
        rate = limits.flops_per_s * limits.sustained_share
        return max(step.total_flops / rate, step.bytes_moved / limits.bytes_per_s)


EVIDENCE_BYTES = 128 << 20
"""What a run folder takes beside its model: metrics, predictions, logs, documents, what pytest-html
writes meanwhile, and what Python compiles (42 MiB)."""


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A place that the run writes to. Two places may share a disk; both then need both."""

    folder: str
    needed_bytes: int
    free_bytes: int


@dataclass(frozen=True, kw_only=True)
class CardMemory:
    """What the driver said of the card's memory when a child was started."""

    share: float  # of the whole, that JAX was let take at once
    total_bytes: int  # as NVML counts it; 0 where the driver did not tell
    free_bytes: int
    not_told: str  # why it did not; empty where it did
    compute_mode: str = "not told"  # "default" lets several programs use the card at once
    name: str = ""  # of the card; of a part of one (MIG), the whole's; empty: not told


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """Whether the run fits, in figures. `plan.json`."""

    reason: str  # empty, or why there is no plan
    failure_class: FailureClass | None  # of the reason
    training: TrainingPlan | None
    config: PinnedFile | None  # the config.json that the plan was made from
    config_bytes_moved: int  # that were fetched for it; no other file is
    download_bytes: int  # of the pinned files that the cache does not have yet
    cache: Disk
    run: Disk
    duration_s: float
    # What config.json says under the keys that the contract names; one that it lacks is left out.
    config_values: Mapping[str, ConfigValue] = field(default_factory=dict, repr=False)
    card_memory: CardMemory | None = None  # None on a CPU

    @property
    def card_by_driver(self) -> str:
        """The card's name by its driver; empty on a CPU, and where the driver tells none."""
        return self.card_memory.name if self.card_memory else ""

    @property
    def architecture(self) -> str:
        """The model's architecture by its config.json; empty without a plan."""
        return self.training.architecture if self.training else ""

    @property
    def parameters(self) -> int:
        """How many weights the model has by its config.json; 0 without a plan."""
        return self.training.parameters if self.training else 0

    @property
    def peak_bytes(self) -> int:
        """The most that the training child holds; 0 without a plan, which no promise accepts."""
        return self.training.peak_bytes if self.training else 0

    @property
    def memory_bytes(self) -> int:
        """The memory that a run may fill; 0 without a plan."""
        return self.training.limits.memory_bytes if self.training else 0
