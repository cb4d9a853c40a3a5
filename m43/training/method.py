"""The two methods of training: all weights, or adapters beside a base that stays as it is."""

from pathlib import Path

import numpy as np
from flax import nnx

from m43.core.adapter import AdapterWeight
from m43.core.gemma import Gemma
from m43.core.gemma_config import GemmaConfig
from m43.core.lora import LoraSettings, add_adapters
from m43.profile import LoraTable, Profile
from m43.training.blueprint import Blueprint, draw
from m43.training.device import give_back_memory
from m43.training.trainer import Trainer, optimizer_settings
from m43.training.weight_names import PROJECTIONS
from m43.training.weights import read_weights

MASTERS = np.dtype(np.float32)
"""Of the weights that a run trains: most updates at small rates would be lost to bfloat16's
rounding."""


def start_trainer(
    profile: Profile,
    folder: Path,
    config: GemmaConfig,
    *,
    masters: np.dtype = MASTERS,
) -> Trainer:
    """Read the base model and make what the profile's method trains of it.

    Args:
        profile: says which method, and how.
        folder: of the base model.
        config: of the base model.
        masters: in which dtype weights are trained; the benchmarks train in bfloat16 beside
            others who do.
    """
    training, lora = profile.training, profile.lora
    full = profile.lora is None
    dtype = masters if full else None
    model = read_weights(folder, config, dtype, remat=training.remat, donated=full)
    if lora is not None:
        add_adapters(model, lora_settings(lora), seed=training.seed)
    trainer = Trainer(
        model,
        optimizer_settings(training, profile.contract.optimizer_steps),
        trained=_trained(profile),
        accumulate=training.accumulate,
    )
    give_back_memory()
    return trainer


def abstract_blueprint(profile: Profile, config: GemmaConfig, stored: np.dtype) -> Blueprint:
    """Draw the very step that `start_trainer` compiles, of shapes alone, before a weight is read.

    Args:
        profile: says the method.
        config: of the model.
        stored: the dtype of the model's files.
    """
    training, lora = profile.training, profile.lora

    def build() -> Gemma:
        # What is frozen is not updated, and stays in the dtype of its files.
        dtype = MASTERS if lora is None else stored
        model = Gemma(config, rngs=nnx.Rngs(0), param_dtype=dtype, remat=training.remat)
        if lora is not None:
            add_adapters(model, lora_settings(lora), seed=training.seed)
        return model

    return draw(
        nnx.eval_shape(build),
        optimizer_settings(training, profile.contract.optimizer_steps),
        trained=_trained(profile),
        accumulate=training.accumulate,
    )


def _trained(profile: Profile) -> nnx.filterlib.Filter:
    return nnx.Param if profile.lora is None else AdapterWeight


def lora_settings(table: LoraTable) -> LoraSettings:
    """Call the projections that the profile names as the model calls them.

    Example:
        q_proj is query, gate_proj is gate.
    """
    names = {name.rpartition(".")[2]: leaf for name, (_, leaf) in PROJECTIONS.items()}
    targets = tuple(names[target] for target in table.targets)
    return LoraSettings(rank=table.rank, alpha=table.alpha, targets=targets)
