"""The large Gemmas that a plan knows by name, against what is published of them."""

import math

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from m43.core.gemma import abstract_gemma
from m43.harness.commands.plan import MODELS
from m43.training.weights.config_json import declared_dtype, describes_more, read_model_config
from m43.training.weights.folder import tensor_places

# Source: the number of parameters that the hub shows of google/gemma-2-9b, gemma-3-4b-it,
# gemma-3-12b-it and gemma-3-27b-it, counted over their safetensors.
PUBLISHED = {
    "gemma-2-9b": 9_241_705_984,
    "gemma-3-4b": 4_300_079_472,
    "gemma-3-12b": 12_187_325_040,
    "gemma-3-27b": 27_432_406_640,
}
# Source: the Gemma 3 report, table 1, 417 M for the vision tower of all sizes: SigLIP, 896 x 896
# in patches of 14, as transformers 5.24 builds it (SiglipVisionConfig: 27 layers, 1152, 4304).
WIDTH, WIDER, LAYERS, PATCH, IMAGE = 1152, 4304, 27, 14, 896


def vision_parameters(d_model: int) -> int:
    """Count the vision tower and the projector into the text model.

    Source: transformers 5.24, SiglipVisionModel without a head and Gemma3MultiModalProjector.
    """
    attention = 4 * (WIDTH * WIDTH + WIDTH)
    feed_forward = 2 * WIDTH * WIDER + WIDER + WIDTH
    norm = 2 * WIDTH
    patches = (IMAGE // PATCH) ** 2
    embeddings = WIDTH * 3 * PATCH * PATCH + WIDTH + patches * WIDTH
    tower = embeddings + LAYERS * (attention + feed_forward + 2 * norm) + norm
    return tower + WIDTH * d_model + WIDTH


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_described_model_has_its_published_size(name: str) -> None:
    """By its config, by its shapes, and by the tensors of its files; no weight is made."""
    folder = MODELS / name
    config = read_model_config(folder)
    leaves = jax.tree.leaves(nnx.state(abstract_gemma(config, jnp.bfloat16)))
    stored = sum(math.prod(place.shape) for place in tensor_places(config))
    vision = vision_parameters(config.d_model) if describes_more(folder) else 0
    assert sum(leaf.size for leaf in leaves) == config.parameters == stored
    assert config.parameters + vision == PUBLISHED[name]
    assert declared_dtype(folder) == jnp.bfloat16


def test_every_described_model_is_among_them() -> None:
    """A name that the plan takes has been held against what is published."""
    assert {path.name for path in MODELS.iterdir()} == PUBLISHED.keys()
