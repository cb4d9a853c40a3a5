"""The tensors of the production model, name by name, without a weight of it."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx

from m43.core.gemma import abstract_gemma
from m43.training.weights.folder import tensor_places
from tests.unit.training.gemma_2b import GEMMA_2B

TABLE = Path(__file__).with_name("gemma_2b.tensors.txt")
"""Name, dtype and shape of every tensor of google/gemma-2b's two shards, sorted by name.

Source: the layer and its sizes as transformers 5.23 builds them from the config.json of the model
(GemmaForCausalLM: 18 layers of 9 tensors, the embedding and the last norm), stored in bfloat16.
"""
DTYPES = {"BF16": jnp.dtype("bfloat16")}


def committed() -> dict[str, tuple[jnp.dtype, tuple[int, ...]]]:
    """Read the table."""
    lines = (line.split() for line in TABLE.read_text().splitlines())
    return {
        name: (DTYPES[dtype], tuple(int(size) for size in shape.split("x")))
        for name, dtype, shape in lines
    }


def of_layer(stacked: jax.Array, *, layer: int | None) -> jax.Array:
    """Give the part of a parameter that is one tensor of the files."""
    return stacked if layer is None else stacked[layer]


def test_gemma_2b_has_the_tensors_of_the_table() -> None:
    """All 164, and no other: each is one layer of an abstract parameter, of its shape and dtype."""
    state = nnx.state(abstract_gemma(GEMMA_2B, jnp.bfloat16))
    leaves = dict(nnx.to_flat_state(state))
    found = {}
    for place in tensor_places(GEMMA_2B):
        leaf = leaves[place.leaf]
        one = jax.eval_shape(functools.partial(of_layer, layer=place.layer), leaf.get_value())
        assert one.shape == place.shape
        found[place.name] = (one.dtype, one.shape)
    assert len(found) == 164
    assert found == committed()
