"""What a contender measured of itself; each prints one of these as its last line."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Steps:
    """A training of some steps.

    Attributes:
        ready_s: from the start of the process to the first step: imports, weights, compilation.
        compile_s: the part of it that compiled.
        step_s: of each step, its loss fetched.
        cpu_s: of each step, of all threads: what it takes from a machine that others use too.
        losses_nats: the mean over the supervised tokens of each step.
        real_tokens: of all steps together.
        peak_bytes: the most that the process held.
        supervised_tokens: of each step, where they were counted.
    """

    ready_s: float
    compile_s: float
    step_s: tuple[float, ...]
    cpu_s: tuple[float, ...]
    losses_nats: tuple[float, ...]
    real_tokens: int
    peak_bytes: int
    supervised_tokens: tuple[int, ...] = ()

    @property
    def first_s(self) -> float:
        """The first step with all that is compiled for it."""
        return self.compile_s + self.step_s[0]

    @property
    def later_s(self) -> float:
        """Seconds a step, the first left out."""
        return sum(self.step_s[1:]) / len(self.step_s[1:])


@dataclass(frozen=True, kw_only=True)
class Exchanged:
    """Collectives of one kind and size in a compiled step, and one of them by itself.

    Attributes:
        count: in a step of the length that most steps have, all chunks of its loss included.
        each_bytes: of the whole array that one gathers or sums.
        alone_s: one of as many bytes, with nothing else to do.
    """

    kind: str
    count: int
    each_bytes: int
    alone_s: float


@dataclass(frozen=True, kw_only=True)
class Joint:
    """A training, as one of the processes that took it saw it; alone it has nothing to exchange.

    Attributes:
        lengths: of each step, in tokens.
    """

    steps: Steps
    lengths: tuple[int, ...]
    exchanged: tuple[Exchanged, ...]


@dataclass(frozen=True, kw_only=True)
class Share:
    """Steps of one shape beside the rate of a plain product in the same process."""

    step_flop: int
    step_s: float
    product_flop_per_s: float

    @property
    def of_limit(self) -> float:
        """What part of the product's rate the whole step reaches."""
        return self.step_flop / self.step_s / self.product_flop_per_s


@dataclass(frozen=True, kw_only=True)
class Answers:
    """A decoding of all prompts in one batch.

    Attributes:
        compile_s: before it; 0 where nothing is compiled.
        tokens: of each row, its stop included.
    """

    compile_s: float
    decode_s: float
    tokens: tuple[tuple[int, ...], ...] = field(repr=False)
    peak_bytes: int


@dataclass(frozen=True, kw_only=True)
class Depth:
    """Compilation and step of one number of layers."""

    layers: int
    compile_s: float
    step_s: float


@dataclass(frozen=True, kw_only=True)
class Start:
    """From the start of a process to the end of its first step."""

    import_s: float
    rows_s: float
    weights_s: float
    compile_s: float
    step_s: float

    @property
    def whole_s(self) -> float:
        """All of it."""
        return self.import_s + self.rows_s + self.weights_s + self.compile_s + self.step_s


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A model that was trained for the decoding of answers that end."""

    loss_nats: float


@dataclass(frozen=True, kw_only=True)
class Written:
    """Rows and prompts that were laid out for everybody."""

    rows: int
    prompts: int
