"""The profile: what a run is, table by table, as a person wrote it. Never changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, get_args

Kind = Literal["production", "rehearsal"]
# Source: transformers 5.23, the Linear layers of GemmaAttention and GemmaMLP.
Projection = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

Precision = Literal["float32", "bfloat16"]
Transport = Literal["http", "xet"]

# Words that stand for something other than a path, a name or an address.
SELF_VENV = "self"
DEFAULT_ENDPOINT = "default"
LOOPBACK_ENDPOINT = "loopback"
# Source: huggingface_hub 2.4, constants.py: what it asks when nothing else is set.
DEFAULT_HUB = "https://huggingface.co"
TIME_IN_NAME = "@time"

ConfigValue = bool | int | float | str
"""What a key of config.json holds, where it is a number or a word."""


@dataclass(frozen=True, kw_only=True)
class Contract:
    """The thresholds that the promises refer to; nothing else reads them to decide.

    Attributes:
        name: of the contract; documents go by it.
        architecture: the family, as `architectures` in config.json names it.
        parameters: of the model; the embedding is tied to the head and counts once.
        file_bytes: the size of each file of weights, by its name.
        file_sha256: the digest of each pinned file of which it is known beforehand.
        config: what config.json says under each key of which it is known beforehand. With the
            shapes among them, what a run takes is planned before anything is fetched.
        devices: on how many devices of that kind the training runs.
        processes: how many processes share them, each as many of its own.
    """

    name: str
    repo: str
    revision: str
    architecture: str
    parameters: int
    file_bytes: Mapping[str, int]
    file_sha256: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, ConfigValue] = field(default_factory=dict)
    platform: Literal["cpu", "gpu"]
    device_kind: str
    devices: int = 1
    processes: int = 1
    optimizer_steps: int
    epochs_at_most: float
    train_minutes_at_most: float
    eval_rows: int

    @property
    def card(self) -> str:
        """The promised card's name, without that of a part of it (MIG); empty for a CPU."""
        return self.device_kind.partition(" MIG ")[0] if self.platform == "gpu" else ""

    @property
    def known_sha256(self) -> tuple[tuple[str, str], ...]:
        """Each file of which the digest is promised, with the digest."""
        return tuple(self.file_sha256.items())


@dataclass(frozen=True, kw_only=True)
class RunTable:
    """How the run folder is called."""

    name: str


@dataclass(frozen=True, kw_only=True)
class HubTable:
    """Which hub is asked, for which files of the pinned revision, and how these are moved.

    Attributes:
        transport: "http": one request for each file, which m43 sees, bounds and never repeats.
            "xet": hf_xet's own requests, as many as it makes; m43 sees the bytes arrive, and ends
            it when they stop.
    """

    endpoint: str
    transport: Transport
    files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class VenvTable:
    """The virtual environment that trains: a folder, or "self"."""

    path: str


@dataclass(frozen=True, kw_only=True)
class ColumnsTable:
    """Which column of a file holds what: `prompt` and `answer`, or both in one of `messages`.

    Attributes:
        answer: what is learnt, or what is expected.
        messages: a chat of one turn of the user and one of the assistant.
        id: of an evaluation row, text or a whole number; where no column is named, its line.
        section, category, difficulty: the same; where no column is named, "all".
    """

    prompt: str | None = None
    answer: str | None = None
    messages: str | None = None
    id: str | None = None
    section: str | None = None
    category: str | None = None
    difficulty: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are read, in this order."""
        found = (getattr(self, each.name) for each in fields(self))
        return tuple(name for name in found if name is not None)


@dataclass(frozen=True, kw_only=True)
class DataColumns:
    """The columns of each file; without a table its rows are in m43's own schema."""

    train: ColumnsTable | None = None
    evaluation: ColumnsTable | None = None


OWN_COLUMNS = DataColumns()


@dataclass(frozen=True, kw_only=True)
class DataTable:
    """The two files of rows."""

    train: Path
    evaluation: Path
    columns: DataColumns = OWN_COLUMNS


@dataclass(frozen=True, kw_only=True)
class TemplateTable:
    """How a row becomes text, and how an answer is taken out of a completion.

    `prompt` may use {prompt}; `completion` may use {steps} and {final_answer}.
    An empty `answer_marker` means that the whole completion is the answer.

    Attributes:
        style: "plain": BOS, prompt, completion, EOS. "chat": the two are the turns of user and
            model in the chat template of the model's folder.
    """

    style: Literal["plain", "chat"]
    prompt: str
    completion: str
    answer_marker: str
    stop_text: str


@dataclass(frozen=True, kw_only=True)
class TrainingTable:
    """How the model is trained; the number of steps stands in the contract.

    Attributes:
        batch_rows: of a step; with packing each holds as many examples as fit.
        sequence_tokens: what no row is longer than.
        packing: whether several examples share a row; none sees another.
        accumulate: into how many parts a step's rows are cut; their gradients add up to the
            same step, and the activations of one part exist at a time.
        seed: of the order of the rows and, with LoRA, of the adapters.
    """

    method: Literal["full", "lora"]
    optimizer: Literal["adamw", "adafactor"]
    batch_rows: int
    sequence_tokens: int
    packing: bool
    accumulate: int
    learning_rate: float
    warmup_steps: int
    end_learning_rate_ratio: float
    weight_decay: float
    clip_norm: float
    remat: bool
    seed: int


@dataclass(frozen=True, kw_only=True)
class MeshTable:
    """How the devices of the contract are arranged; together they are as many.

    Attributes:
        fsdp: into how many parts the rows of a batch are cut, and every matrix with its state.
        tensor: into how many parts heads, feed-forward and vocabulary are cut.
    """

    fsdp: int = 1
    tensor: int = 1

    @property
    def devices(self) -> int:
        """How many devices it arranges."""
        return self.fsdp * self.tensor

    def __str__(self) -> str:
        return f"fsdp {self.fsdp} x tensor {self.tensor}"


ONE_DEVICE = MeshTable()


@dataclass(frozen=True, kw_only=True)
class LaunchTable:
    """How the processes of the contract are started, where they are several.

    Attributes:
        command: of a launcher that starts what follows it once per process, such as
            ["srun", "--ntasks=2"] or ["mpirun", "-n", "2"]; without a shell. On cards one per
            host, which drives all of its.
        meet_s: until all processes must have found each other.
        heartbeat_s: how long one may be silent to the others before it counts as lost.
    """

    command: tuple[str, ...] = ()
    meet_s: float = 120.0
    heartbeat_s: float = 30.0


NO_LAUNCHER = LaunchTable()


@dataclass(frozen=True, kw_only=True)
class LoraTable:
    """Which projections of every layer get an adapter, and of which size.

    Attributes:
        rank: the width of an adapter.
        alpha: its change is scaled by alpha / rank.
    """

    rank: int
    alpha: float
    targets: tuple[Projection, ...] = get_args(Projection)


@dataclass(frozen=True, kw_only=True)
class EvaluationTable:
    """How the rows are decoded.

    Attributes:
        precision: what the models compute in while they answer. In float32 anybody's transformers
            gives the same answers; in bfloat16 every implementation rounds elsewhere.
    """

    batch_rows: int
    prompt_tokens: int
    max_new_tokens: int
    precision: Precision


@dataclass(frozen=True, kw_only=True)
class DeadlineTable:
    """How long each part may take, and how long a child may be silent."""

    auth_s: float
    probe_s: float
    download_s: float
    train_s: float
    evaluate_s: float
    silence_s: float


@dataclass(frozen=True, kw_only=True)
class DivergenceTable:
    """When training has diverged: it makes the model worse, and waiting would not help.

    The median loss of the last `last_steps` is more than `loss_ratio` times that of the first
    `first_steps`.
    """

    first_steps: int = 5
    last_steps: int = 20
    loss_ratio: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A whole profile. Paths are absolute once `load` has returned it."""

    kind: Kind
    contract: Contract
    run: RunTable
    hub: HubTable
    venv: VenvTable
    data: DataTable
    template: TemplateTable
    training: TrainingTable
    evaluation: EvaluationTable
    deadlines: DeadlineTable
    divergence: DivergenceTable = DivergenceTable()
    mesh: MeshTable = ONE_DEVICE
    launch: LaunchTable = NO_LAUNCHER
    lora: LoraTable | None = None  # there exactly when training.method is "lora"
