"""What each method of training makes of a base model, before the first step."""

import math
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import jax
import jax.numpy as jnp
import ml_dtypes
import pytest
from flax import nnx

from m43.core.gemma import abstract_gemma, projections
from m43.core.linear import AdapterWeight
from m43.records import profile_check
from m43.records.profile import LoraTable, Profile, TrainingTable
from m43.records.profile_check import problems_of
from m43.training.trainer import Trainer, build_trainer, lora_settings, optimizer_settings
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


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("warmup_steps", 301),
        ("warmup_steps", -1),
        ("end_learning_rate_ratio", 1.5),
        ("weight_decay", -0.1),
        ("weight_decay", math.inf),
        ("clip_norm", 0.0),
    ],
)
def test_no_optimizer_out_of_range_comes_from_a_checked_profile(
    full: Profile, field: str, value: float
) -> None:
    """The optimizer itself checks nothing: the profile's rules name each of these."""
    spoilt = replace(full, training=replace(full.training, **{field: value}))

    (problem,) = problems_of(spoilt, "p")

    assert (problem.where, problem.found) == (f"p, training.{field}", repr(value))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rank", 0),
        ("alpha", 0.0),
        ("alpha", math.inf),
        ("targets", ()),
        ("targets", ("q_proj", "q_proj")),
    ],
)
def test_no_adapter_out_of_range_comes_from_a_checked_profile(
    lora: Profile, field: str, value: object
) -> None:
    """Nor do the adapters check themselves."""
    (problem,) = problems_of(replace(lora, lora=replace(lora.lora, **{field: value})), "p")

    assert (problem.where, problem.found) == (f"p, lora.{field}", repr(value))


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_what_the_profile_leaves_open_is_in_range(full: Profile, name: str) -> None:
    """Both optimizers' own constants, and the name is one that the profile's type admits."""
    settings = optimizer_settings(replace(full.training, optimizer=name), 300)

    assert settings.name == name
    assert 0 <= settings.beta1 < 1
    assert 0 < settings.beta2 < 1
    assert 0 < settings.eps < 1
    assert set(get_args(get_type_hints(TrainingTable)["optimizer"])) == {"adamw", "adafactor"}


def test_every_projection_that_a_profile_can_name_is_one_of_the_model(tiny_gemma: Path) -> None:
    """So that no adapter is asked of a projection that is not there."""
    every = lora_settings(LoraTable(rank=1, alpha=1.0))

    assert sorted(every.targets) == sorted(
        projections(abstract_gemma(read_model_config(tiny_gemma)))
    )
