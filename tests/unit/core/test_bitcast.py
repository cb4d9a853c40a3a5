"""bfloat16 arrays as integers and back."""

import jax.numpy as jnp
import numpy as np

from m43.core.numerics import bitcast_bf16, bitcast_like


def test_every_bfloat16_comes_back() -> None:
    """All 65,536 of them, infinities and NaN with their payload included."""
    bits = jnp.arange(1 << 16, dtype=jnp.uint16)
    values = bitcast_like(bits, jnp.zeros((0,), jnp.bfloat16))
    assert values.dtype == jnp.bfloat16
    assert (np.asarray(bitcast_bf16(values)) == np.asarray(bits)).all()


def test_other_dtypes_are_left_alone() -> None:
    """Only bfloat16 is moved with conversions."""
    tree = {"a": jnp.ones(2), "b": jnp.ones(2, jnp.bfloat16), "c": jnp.ones(2, jnp.int32)}
    moved = bitcast_bf16(tree)
    assert [leaf.dtype.name for leaf in moved.values()] == ["float32", "uint16", "int32"]
    assert bitcast_like(moved, tree)["b"].tolist() == [1.0, 1.0]
