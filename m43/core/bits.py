"""bfloat16 arrays moved about as the 16-bit integers that they are made of."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

BF16_NAN = 0x7FC0
"""The bits of a bfloat16 that is not a number."""


def to_bits(tree: PyTree) -> PyTree:
    """Reinterpret every bfloat16 array as integers; others stay as they are.

    The CPU backend of jax 0.10 moves no bfloat16: around every slice, gather and update it puts a
    conversion of the whole array to float32, which takes time and twice the memory. Integers it
    leaves alone. Nothing is computed on them, and nothing can be differentiated through them.
    """
    return jax.tree.map(_to_bits, tree)


def from_bits(tree: PyTree, like: PyTree) -> PyTree:
    """Turn what `to_bits` made back into the dtypes that it came from."""
    return jax.tree.map(_from_bits, tree, like)


def restored(tree: PyTree) -> PyTree:
    """Turn what `to_bits` made back where no array of the tree was of integers before.

    For what is kept for a backward pass: where layers are scanned, keeping is an update of a stack.
    """
    return jax.tree.map(_restored, tree)


def _restored(array: Array) -> Array:
    if array.dtype != jnp.uint16:
        return array
    return jax.lax.bitcast_convert_type(array, jnp.bfloat16)


def _to_bits(array: Array) -> Array:
    if array.dtype != jnp.bfloat16:
        return array
    return jax.lax.bitcast_convert_type(array, jnp.uint16)


def _from_bits(array: Array, like: Array) -> Array:
    if array.dtype == like.dtype:
        return array
    return jax.lax.bitcast_convert_type(array, like.dtype)
