"""Numerics: bfloat16 bitcast to uint16, float32 gradients, embedding look-up, pytrees."""

import dataclasses
from collections.abc import Iterable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

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


# A cotangent has the dtype of what it belongs to, so the gradient of a bfloat16 array is bfloat16
# at every place that it passes. Where parts of it are added up that is too coarse, and where they
# are stacked (the layers of a scan) the CPU backend of jax 0.10 converts the whole stack to float32
# and back for every part. A tap is float32 zeros beside the array, which nobody reads, so that
# they are never made: their gradient is the array's.


@jax.custom_vjp
def tap_of(array: Float[Array, "..."]) -> Float[Array, "..."]:
    """Make the tap of an array; what it receives is rounded once to the array's dtype."""
    return jnp.zeros(array.shape, jnp.float32)


def _tap_forward(array: Array) -> tuple[Array, Array]:
    # A dtype is no residual: an empty array that has it is.
    return tap_of(array), jnp.zeros((0,), array.dtype)


def _tap_backward(like: Array, cotangent: Array) -> tuple[Array]:
    # Behind a barrier: XLA would otherwise stack in the narrow dtype after all.
    return (jax.lax.optimization_barrier(cotangent).astype(like.dtype),)


tap_of.defvjp(_tap_forward, _tap_backward)


@jax.custom_vjp
def tapped(array: Float[Array, "..."], tap: Float[Array, "..."]) -> Float[Array, "..."]:
    """Give the array, whose gradient then goes to the tap."""
    del tap
    return array


def _tapped_forward(array: Array, tap: Array) -> tuple[Array, None]:
    del tap
    # The very array: a scan then keeps no copy of it for the backward pass.
    return array, None


def _tapped_backward(_: None, cotangent: Array) -> tuple[None, Array]:
    return None, cotangent.astype(jnp.float32)


tapped.defvjp(_tapped_forward, _tapped_backward)


@jax.custom_vjp
def look_up(
    table: Float[Array, "V D"], tokens: Int[Array, "B L"]
) -> tuple[Float[Array, "B L D"], Float[Array, "V D"]]:
    """Take the row of every token, and make the tap for the table's other use.

    Both gradients meet here: those of the tokens are added into the array that the head made.
    Autodiff would make a second array of [V, D], mostly zeros, and add the two: 2 GB more at
    256 000 x 2048.

    They add up in float32: in bfloat16 the 300th addition of a frequent token changes nothing.

    A token outside the vocabulary gets a row of NaN: loud, where the nearest row would be quiet.

    Shapes: V vocabulary, D model, B batch, L length.

    Example:
        >>> rows, _ = look_up(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([[1, 0]]))
        >>> rows.tolist()
        [[[3.0, 4.0], [1.0, 2.0]]]
    """
    bits = to_bits(table)
    nothing = jnp.nan if bits.dtype == table.dtype else BF16_NAN
    rows = bits.at[tokens].get(mode="fill", fill_value=nothing)
    return from_bits(rows, table), jnp.zeros(table.shape, jnp.float32)


def _forward(table: Array, tokens: Array) -> tuple[tuple[Array, Array], Array]:
    return look_up(table, tokens), tokens


def _backward(tokens: Array, cotangents: tuple[Array, Array]) -> tuple[Float[Array, "V D"], None]:
    # The rows have the dtype of the table.
    d_rows, d_tap = cotangents
    return d_tap.at[tokens].add(d_rows.astype(jnp.float32)).astype(d_rows.dtype), None


look_up.defvjp(_forward, _backward)


T = TypeVar("T")

ArrayLike = jax.Array | np.ndarray | jax.ShapeDtypeStruct
"""An array on the device, on the host, or only planned."""


def register_pytree(cls: type[T]) -> type[T]:
    """Register a dataclass whose fields are all children.

    Unlike `jax.tree_util.register_dataclass` it rebuilds an instance without `__init__`: JAX puts
    shardings, None and bare objects where arrays were, and a check of shapes would refuse them.
    """
    names = tuple(field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]

    def flatten(value: T) -> tuple[tuple[object, ...], None]:
        return tuple(getattr(value, name) for name in names), None

    def flatten_with_keys(value: T) -> tuple[tuple[tuple[object, object], ...], None]:
        keys = (jax.tree_util.GetAttrKey(name) for name in names)
        return tuple((key, getattr(value, key.name)) for key in keys), None

    def unflatten(_: None, children: Iterable[object]) -> T:
        value = object.__new__(cls)
        for name, child in zip(names, children, strict=True):
            object.__setattr__(value, name, child)
        return value

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls
