"""The two methods of training: all weights, or adapters beside a base that stays as it is."""

from pathlib import Path

import jax.numpy as jnp
from flax import nnx

from m43.config import LoraTable, Profile
from m43.core.adapter import AdapterWeight
from m43.core.gemma_config import GemmaConfig
from m43.core.lora import LoraSettings, add_adapters
from m43.training.trainer import Trainer, optimizer_settings
from m43.training.weight_checks import stored_dtype
from m43.training.weight_names import PROJECTIONS
from m43.training.weights import read_weights


def start_trainer(profile: Profile, folder: Path, config: GemmaConfig) -> Trainer:
    """Read the base model and make what the profile's method trains of it."""
    training, lora = profile.training, profile.lora
    # float32 masters: most updates at small rates would be lost to bfloat16's rounding. What
    # is frozen is not updated, and stays in the dtype of its files.
    dtype = jnp.float32 if lora is None else stored_dtype(folder, config)
    model = read_weights(folder, config, dtype, remat=training.remat)
    if lora is not None:
        add_adapters(model, lora_settings(lora), seed=training.seed)
    return Trainer(
        model,
        optimizer_settings(training, profile.contract.optimizer_steps),
        trained=nnx.Param if lora is None else AdapterWeight,
        accumulate=training.accumulate,
    )


def lora_settings(table: LoraTable) -> LoraSettings:
    """Call the projections that the profile names as the model calls them.

    Example:
        q_proj is query, gate_proj is gate.
    """
    names = {name.rpartition(".")[2]: leaf for name, (_, leaf) in PROJECTIONS.items()}
    targets = tuple(names[target] for target in table.targets)
    return LoraSettings(rank=table.rank, alpha=table.alpha, targets=targets)
