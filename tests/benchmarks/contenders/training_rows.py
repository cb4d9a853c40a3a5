"""m43's own rows and profile for a benchmark, prepared by the code of a run."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from m43.core.config import GemmaConfig
from m43.records import profile_check
from m43.records.profile import LoraTable, Profile
from m43.training.data.training_data import TrainingData, prepare_training_data
from m43.training.weights.config_json import read_model_config
from tests.benchmarks.work import ROWS_A_STEP, STEPS

PROFILE = Path(__file__).parents[1] / "bench.toml"
LORA = LoraTable(rank=16, alpha=32.0)
LORA_RATE = 2e-4
Method = Literal["full", "lora"]


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A model and what it shall learn."""

    folder: Path
    config: GemmaConfig
    profile: Profile
    data: TrainingData


def assign(
    folder: Path,
    *,
    method: Method = "full",
    steps: int = STEPS,
    batch_rows: int = ROWS_A_STEP,
    packed_to: int | None = None,
) -> Assignment:
    """Read and lay out the bundled rows as a run does, for so many steps."""
    profile, gemma = profile_check.load(PROFILE), read_model_config(folder)
    lora = method == "lora"
    training = replace(
        profile.training,
        method=method,
        batch_rows=batch_rows,
        learning_rate=LORA_RATE if lora else profile.training.learning_rate,
        packing=packed_to is not None,
        sequence_tokens=packed_to or profile.training.sequence_tokens,
    )
    profile = replace(
        profile,
        contract=replace(profile.contract, optimizer_steps=steps),
        training=training,
        lora=LORA if lora else None,
    )
    data = prepare_training_data(profile, folder, gemma)
    return Assignment(folder=folder, config=gemma, profile=profile, data=data)
