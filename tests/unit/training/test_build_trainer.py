"""What each method of training makes of a base model, before the first step."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import pytest
from flax import nnx

from m43.core.linear import AdapterWeight
from m43.records import profile_check
from m43.records.profile import LoraTable, Profile
from m43.training.trainer import Trainer, build_trainer, lora_settings
from m43.training.weights.config_json import read_model_config
from m43.training.weights.read_write import write_weights

PROFILE = Path(__file__).parents[3] / "acceptance" / "rehearsal.toml"


@pytest.fixture(scope="module")
def full() -> Profile:
    """The bundled rehearsal."""
    return profile_check.load(PROFILE)


@pytest.fixture(scope="module")
def lora(full: Profile) -> Profile:
    """The same with adapters in two projections."""
    return replace(
        full,
        training=replace(full.training, method="lora"),
        lora=LoraTable(rank=2, alpha=4.0, targets=("q_proj", "gate_proj")),
    )


def start(profile: Profile, folder: Path) -> Trainer:
    """Start a trainer on a model folder."""
    return build_trainer(profile, folder, read_model_config(folder))


def test_full_training_trains_float32_masters_of_every_weight(
    full: Profile, tiny_gemma: Path
) -> None:
    """As many as the config counts."""
    trainer = start(full, tiny_gemma)

    dtypes = {leaf.dtype for leaf in jax.tree.leaves(nnx.state(trainer.model()))}
    assert trainer.trained_parameters == read_model_config(tiny_gemma).parameters
    assert dtypes == {jnp.dtype("float32")}


def test_lora_trains_float32_adapters_beside_the_base_as_it_is_stored(
    lora: Profile, tiny_gemma: Path
) -> None:
    """Two layers, rank 2: a query of 32 x 32 and a gate of 64 x 32."""
    trainer = start(lora, tiny_gemma)

    adapters, base = nnx.state(trainer.model(), AdapterWeight, nnx.Param)
    assert trainer.trained_parameters == 2 * 2 * ((32 + 32) + (64 + 32))
    assert {leaf.dtype for leaf in jax.tree.leaves(adapters)} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in jax.tree.leaves(base)} == {jnp.dtype("bfloat16")}


def test_the_seed_of_the_profile_draws_the_adapters(lora: Profile, tiny_gemma: Path) -> None:
    """The same seed gives the same adapters."""

    def drawn(seed: int) -> bytes:
        profile = replace(lora, training=replace(lora.training, seed=seed))
        model = start(profile, tiny_gemma).model()
        return bytes(jax.device_get(model.layers.attention.query.adapter.a[...]).data)

    assert drawn(43) == drawn(43) != drawn(44)


def test_lora_before_the_first_step_is_saved_as_the_base_bit_for_bit(
    lora: Profile, tiny_gemma: Path, tmp_path: Path
) -> None:
    """Merging adapters that learnt nothing changes no bit of any file."""
    model = start(lora, tiny_gemma).model()

    write_weights(model, tmp_path / "out", source=tiny_gemma, dtype=ml_dtypes.bfloat16)

    for path in tiny_gemma.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_every_projection_of_a_profile_has_a_name_in_the_model() -> None:
    """In the profile's order."""
    settings = lora_settings(LoraTable(rank=4, alpha=8.0))

    assert settings.targets == ("query", "key", "value", "output", "gate", "up", "down")
    assert (settings.rank, settings.scale) == (4, 2.0)
