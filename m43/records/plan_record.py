"""The plan of a run as it stands on disk: what it will take, made before a weight is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from m43.errors import FailureClass
from m43.records.hub_record import PinnedFile
from m43.records.profile import ONE_DEVICE, ConfigValue, MeshTable, Profile

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
class Collectives:
    """What devices say to one another in a step: all collectives of one kind among as many.

    Attributes:
        kind: as XLA calls it: all-gather, all-reduce, reduce-scatter, all-to-all, ...
        among: how many devices take part in each.
        count: how often a device takes part, in a step or for each chunk of supervised tokens.
        size_bytes: of the whole arrays that are gathered or summed, all of them together.
        per_chunk: whether it is for each chunk; how many chunks a batch has, only its rows say.
    """

    kind: str
    among: int
    count: int
    size_bytes: int
    per_chunk: bool

    @property
    def sent_bytes(self) -> int:
        """What each device sends at least, and receives.

        Source: Patarasuk and Yuan 2009, Bandwidth optimal all-reduce algorithms.
        """
        if self.kind == "collective-permute":
            return self.size_bytes
        passes = 2 if self.kind == "all-reduce" else 1
        return passes * self.size_bytes * (self.among - 1) // self.among


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
    link_bytes_per_s: float = 0.0  # from one device to others, each way; 0 where nobody knows


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
    # Of the devices that share the step. FLOPs and rows are those of all, sizes those of each.
    mesh: MeshTable = ONE_DEVICE
    collectives: tuple[Collectives, ...] = field(default=(), repr=False)

    @property
    def step_bytes(self) -> int:
        """What the step holds at most, its state included."""
        kept = self.arguments_bytes + self.outputs_bytes - self.aliased_bytes
        return kept + self.temporaries_bytes

    @property
    def bytes_moved(self) -> int:
        """The least that a device moves: what is kept for a while is written and read."""
        return self.state_bytes_moved + 2 * self.temporaries_bytes

    @property
    def devices(self) -> int:
        """How many devices share the step."""
        return self.mesh.devices

    @property
    def sent_bytes(self) -> int:
        """What a device sends to others in a step, at least; what chunks exchange is left out."""
        return sum(each.sent_bytes for each in self.collectives if not each.per_chunk)

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
    architecture: str = ""  # of the model that config.json describes: of its text part
    multimodal: bool = False  # whether it describes other parts, which are left out

    @property
    def phases(self) -> tuple[PhasePeak, ...]:
        """What each phase holds at most. What it frees is given back before the next begins."""
        step, process = self.step, self.process_bytes
        # On a card the compiler and what it leaves lie in the host's memory, not in the card's.
        on_host = self.limits.device.startswith("cpu:")
        compiling, compiled = (step.compiling_bytes, step.compiled_bytes) if on_host else (0, 0)
        # A card's memory is its own; what are several devices of a CPU share that of the host.
        here = step.devices if on_host else 1
        code, kept = process + self.compilations * compiled, here * step.arguments_bytes
        weights = here * self.weights_bytes + self.reading_bytes
        return (
            PhasePeak(phase="read weights", peak_bytes=process + weights),
            PhasePeak(phase="compile", peak_bytes=code - compiled + kept + compiling),
            PhasePeak(phase="steps", peak_bytes=code + here * step.step_bytes),
            PhasePeak(phase="read back", peak_bytes=code + here * self.read_back_bytes),
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
        """The least time of a step: of its FLOPs, of its bytes, or of what devices exchange.

        Whichever is more; the third only where the speed of the link is known.
        """
        return max(self.flops_s(self.step.total_flops), self.bytes_s(), self.exchange_s)

    @property
    def sustained_s(self) -> float:
        """The time of a step at the share of the peak that a good run reaches."""
        sustained = self.flops_s(self.step.total_flops) / self.limits.sustained_share
        return max(sustained, self.bytes_s(), self.exchange_s)

    def flops_s(self, flops: float) -> float:
        """Return the least time of the FLOPs of all devices; those of one CPU share its cores."""
        return flops / (self.limits.flops_per_s * self.apart)

    def bytes_s(self, part: float = 1.0) -> float:
        """Return the least time of a step's traffic to and from memory.

        Args:
            part: of the longest batch; what is kept for the backward pass is so much less.
        """
        step = self.step
        moved = step.state_bytes_moved + 2 * step.temporaries_bytes * part
        return moved * (step.devices // self.apart) / self.limits.bytes_per_s

    @property
    def exchange_s(self) -> float:
        """The least time of what a device sends to others; 0 where the link's speed is unknown."""
        rate = self.limits.link_bytes_per_s
        return self.step.sent_bytes / rate if rate else 0.0

    @property
    def apart(self) -> int:
        """How many devices compute with means of their own."""
        return 1 if self.limits.device.startswith("cpu:") else self.step.devices


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
