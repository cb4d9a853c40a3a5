"""The tensors of the production model, name by name, without a weight of it."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx

from m43.core.gemma import abstract_gemma
from m43.core.gemma_config import GemmaConfig
from m43.training.weight_names import tensor_places

TABLE = Path(__file__).with_name("gemma_2b.tensors.txt")
"""Name, dtype and shape of every tensor of google/gemma-2b's two shards, sorted by name.

Source: the layer and its sizes as transformers 5.23 builds them from the config.json of the model
(GemmaForCausalLM: 18 layers of 9 tensors, the embedding and the last norm), stored in bfloat16.
"""
DTYPES = {"BF16": jnp.dtype("bfloat16")}
GEMMA_2B = GemmaConfig(
    family="gemma",
    layers=18,
    d_model=2048,
    d_ff=16384,
    q_heads=8,
    kv_heads=1,
    head_dim=256,
    vocab_size=256_000,
    query_scale=256**-0.5,
    norm_eps=1e-6,
    rope_theta_global=10_000.0,
    rope_theta_local=10_000.0,
    sliding_window=None,
    global_layers=(True,) * 18,
    attention_softcap=None,
    final_softcap=None,
    post_norms=False,
    qk_norm=False,
    max_positions=8192,
    bos_id=2,
    eos_ids=(1,),
    pad_id=0,
)


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
