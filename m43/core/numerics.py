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


def bitcast_bf16(tree: PyTree) -> PyTree:
    """Bitcast every bfloat16 array to uint16, so that a CPU copies it without a conversion.

    Around every slice, gather and update of bfloat16, the CPU backend of jax 0.10 converts the
    whole array to float32 and back, which takes time and twice the memory. Integers it leaves
    alone. Nothing is computed on them, and nothing can be differentiated through them.
    """
    return jax.tree.map(_bitcast_bf16, tree)


def bitcast_like(tree: PyTree, like: PyTree) -> PyTree:
    """Bitcast what `bitcast_bf16` made back to the dtypes of another tree."""
    return jax.tree.map(_bitcast_like, tree, like)


def bitcast_back(tree: PyTree) -> PyTree:
    """Bitcast every uint16 array to bfloat16, of a tree that had no integers of its own.

    For the residuals of a backward pass: where layers are scanned, each is an update of a stack.
    """
    return jax.tree.map(_bitcast_back, tree)


def _bitcast_back(array: Array) -> Array:
    if array.dtype != jnp.uint16:
        return array
    return jax.lax.bitcast_convert_type(array, jnp.bfloat16)


def _bitcast_bf16(array: Array) -> Array:
    if array.dtype != jnp.bfloat16:
        return array
    return jax.lax.bitcast_convert_type(array, jnp.uint16)


def _bitcast_like(array: Array, like: Array) -> Array:
    if array.dtype == like.dtype:
        return array
    return jax.lax.bitcast_convert_type(array, like.dtype)


# A cotangent has the dtype of its primal, so the gradient of a bfloat16 array is bfloat16 wherever
# it passes. Where parts of it are accumulated that is too coarse, and where they are stacked (the
# layers of a scan) the CPU backend of jax 0.10 converts the whole stack to float32 and back for
# every part. An accumulator is float32 zeros beside the array; nobody reads them, so they are never
# allocated, and their gradient is the array's.


@jax.custom_vjp
def gradient_accumulator(array: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return float32 zeros whose gradient becomes the array's, rounded once to its dtype."""
    return jnp.zeros(array.shape, jnp.float32)


def _accumulator_forward(array: Array) -> tuple[Array, Array]:
    # A dtype is no residual: an empty array that has it is.
    return gradient_accumulator(array), jnp.zeros((0,), array.dtype)


def _accumulator_backward(like: Array, cotangent: Array) -> tuple[Array]:
    # Behind a barrier: XLA would otherwise stack in the narrow dtype after all.
    return (jax.lax.optimization_barrier(cotangent).astype(like.dtype),)


gradient_accumulator.defvjp(_accumulator_forward, _accumulator_backward)


@jax.custom_vjp
def float32_gradient(
    array: Float[Array, "..."], accumulator: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return the array, and accumulate its gradient in float32 (custom VJP)."""
    del accumulator
    return array


def _float32_forward(array: Array, accumulator: Array) -> tuple[Array, None]:
    del accumulator
    # The very array: a scan then keeps no copy of it for the backward pass.
    return array, None


def _float32_backward(_: None, cotangent: Array) -> tuple[None, Array]:
    return None, cotangent.astype(jnp.float32)


float32_gradient.defvjp(_float32_forward, _float32_backward)


@jax.custom_vjp
def look_up(
    table: Float[Array, "V D"], tokens: Int[Array, "B L"]
) -> tuple[Float[Array, "B L D"], Float[Array, "V D"]]:
    """Look up the row of every token; return the gradient accumulator for the head as well.

    Both gradients meet here: those of the tokens are scattered into the array that the head made.
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
    bits = bitcast_bf16(table)
    nothing = jnp.nan if bits.dtype == table.dtype else BF16_NAN
    rows = bits.at[tokens].get(mode="fill", fill_value=nothing)
    return bitcast_like(rows, table), jnp.zeros(table.shape, jnp.float32)


def _forward(table: Array, tokens: Array) -> tuple[tuple[Array, Array], Array]:
    return look_up(table, tokens), tokens


def _backward(tokens: Array, cotangents: tuple[Array, Array]) -> tuple[Float[Array, "V D"], None]:
    # The rows have the dtype of the table.
    d_rows, d_accumulator = cotangents
    return d_accumulator.at[tokens].add(d_rows.astype(jnp.float32)).astype(d_rows.dtype), None


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
