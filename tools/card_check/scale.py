"""How large the check's work is, on the card and in the dry run, and how long a part may take."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

BUDGET_S = 540.0
"""Nine minutes; a lent machine ends a command after ten."""

# Kept back for writing the report and ending what runs.
RESERVE_S = 10.0

# In the order of worth; together with the reserve they are the budget. What a part does not use
# goes to the next.
#
# Production: a step of Gemma 2B at 8 x 512 tokens is 62 TFLOP of model FLOPs, 0.157 s at 40 % of an
# H100's 989 TFLOP/s, so 300 steps take 47 s. Half as fast they would take 94 s, and still fit
# beside what else a run does (download, digests, compilations, evaluation: about 150 s where
# disk and digests move 1 GB/s). A slower run is cut off, and its steps are told as far as it came.
LIMITS_S: Mapping[str, float] = MappingProxyType(
    {
        **{"stage": 50.0, "production": 270.0, "rivals": 110.0},
        **{"parity": 30.0, "damage": 45.0, "settings": 25.0},
    }
)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The sizes of everything.

    Attributes:
        shapes: what differs from Gemma 2B's config.json.
        steps: of the production run; the profile admits 200 at least.
        row_tokens: what a training row nearly has, and none is longer than.
        rival_steps: of every training beside another; the first does not count.
        asked: evaluation rows that everybody answers with `new_tokens` tokens.
        compared: rows and tokens of each whose logits are compared.
        silence_s: after which a child counts as hung, at least; longer than it takes to its steps.
        losses: steps whose losses are compared with the CPU's, with a small model.
        tried_rows: rows of a batch, of the settings that are tried.
        tried_steps: of each setting; the first does not count.
    """

    name: Literal["card", "dry"]
    shapes: Mapping[str, object] = field(repr=False)
    steps: int
    batch_rows: int = 8
    row_tokens: int
    prompt_tokens: int
    new_tokens: int
    rival_steps: int
    asked: int
    compared: tuple[int, int]
    silence_s: float
    losses: int
    tried_rows: tuple[int, ...]
    tried_steps: int


SMALL: Mapping[str, object] = MappingProxyType(
    {
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "head_dim": 32,
        "hidden_size": 128,
        "intermediate_size": 512,
        "vocab_size": 2560,
        "max_position_embeddings": 512,
    }
)
SWOLLEN: Mapping[str, object] = MappingProxyType(
    {**SMALL, "num_hidden_layers": 96, "hidden_size": 8, "intermediate_size": 1 << 17}
)
"""Without remat a layer keeps 4096 x 131072 values three times: 96 layers some 300 GiB, more than
any card has, beside weights of 1.2 GB; of the shorter rows of a dry run still 75 GiB."""

CARD = Scale(
    name="card",
    shapes=MappingProxyType({}),
    steps=300,
    row_tokens=512,
    prompt_tokens=256,
    new_tokens=64,
    rival_steps=12,
    asked=100,
    compared=(2, 64),
    silence_s=12.0,
    losses=20,
    tried_rows=(8, 16, 32, 64),
    tried_steps=6,
)
DRY = Scale(
    name="dry",
    shapes=SMALL,
    steps=200,
    row_tokens=128,
    prompt_tokens=128,
    new_tokens=8,
    rival_steps=4,
    asked=10,
    compared=(2, 32),
    silence_s=12.0,
    losses=8,
    tried_rows=(8, 16),
    tried_steps=2,
)
SCALES = {scale.name: scale for scale in (CARD, DRY)}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where everything of one check lies; written down as `place.json` for the children.

    Attributes:
        root: a folder of its own, gone afterwards.
        repository: the checkout that is checked.
        out: where the report is written, and what is kept of the production run.
        judge: the interpreter that runs pytest; the one that runs this is what trains.
        rival: the interpreter that has torch, which what trains in production has not.
        port: of the loopback interface, at which the hub will listen.
        platform: where JAX computes.
        device_kind: the card as JAX names it, or "cpu"; empty until somebody told.
    """

    root: Path
    repository: Path
    out: Path
    judge: Path
    rival: Path
    port: int
    platform: Literal["cpu", "gpu"]
    device_kind: str
    scale_name: Literal["card", "dry"]

    @property
    def scale(self) -> Scale:
        """How large everything is."""
        return SCALES[self.scale_name]

    @property
    def endpoint(self) -> str:
        """The hub's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def file(self) -> Path:
        """This place as a record."""
        return self.root / "place.json"

    @property
    def base(self) -> Path:
        """The model folder, in Gemma 2B's shapes unless the run is dry."""
        return self.root / "base"

    @property
    def small(self) -> Path:
        """A small model of the same family."""
        return self.root / "small"

    @property
    def swollen(self) -> Path:
        """A model whose step no card has the memory for."""
        return self.root / "swollen"

    @property
    def rows(self) -> Path:
        """Training rows of nearly the longest length."""
        return self.root / "train.jsonl"

    @property
    def profile(self) -> Path:
        """Production's profile as this machine can keep it."""
        return self.root / "card_check.toml"

    @property
    def work(self) -> Path:
        """The ids that every contender is given."""
        return self.root / "work.json"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One way to take the step that production takes.

    Attributes:
        remat: what the backward pass computes again.
        attention: "xla", or "fused": cuDNN's on a card.
    """

    rows: int
    method: Literal["full", "lora"] = "full"
    optimizer: Literal["adafactor", "adamw"] = "adafactor"
    remat: str = "full"
    attention: Literal["xla", "fused"] = "xla"

    def __str__(self) -> str:
        again = {"none": "no remat", "full": "remat"}.get(self.remat, f"remat of {self.remat}")
        fused = ", fused attention" if self.attention == "fused" else ""
        how = {"full": f"full, {self.optimizer}", "lora": "LoRA"}[self.method]
        return f"{self.rows} rows, {how}, {again}{fused}"


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What one setting took.

    Attributes:
        planned_bytes: of the compiled step, as XLA tells.
        peak_bytes: of the device; 0 where an earlier setting's was higher, or none is counted.
        loss_nats: of the first step; every setting of the same weights and rows has the same.
        reason: why no step was taken; empty where some were.
    """

    setting: Setting
    planned_bytes: int = 0
    peak_bytes: int = 0
    compile_s: float = 0.0
    step_s: float = 0.0
    loss_nats: float = 0.0
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Libraries:
    """What the rivals compute with, by name."""

    versions: Mapping[str, str]


def random_tokens(shape: tuple[int, int], vocab_size: int) -> np.ndarray:
    """Draw the tokens that everybody scores. Shapes: rows, tokens."""
    return np.random.default_rng(43).integers(3, vocab_size, shape, np.int32)
