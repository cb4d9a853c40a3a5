"""Adafactor: scale a gradient by its factored second moments, in blocks on a CPU.

The mean squares and the size of an update are sums over a whole gradient. On a card XLA squares
and adds in one go; on a CPU it writes out first what it will add. Block by block that is next to
nothing, where it would be twice as much as all the weights.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float

from m43.core.sharding import under_mesh

LARGEST_BLOCK = 1 << 22
"""Numbers that are squared at a time on a CPU: 16 MB."""

# Source: Shazeer and Stern 2018, Adafactor, section 6; the sizes that optax factors by default.
_CLIPPED_AT = 1.0
_LEAST_FACTORED = 128


class Axes(NamedTuple):
    """The two axes of an array that its squares are averaged over, each for one factor."""

    second: int
    largest: int


class _Moments(NamedTuple):
    """The mean squares of one array; those that it does not have are a lone 0."""

    row: Array
    column: Array
    whole: Array


class _Scaled(NamedTuple):
    """What becomes of one array."""

    update: Array
    moments: _Moments


class _Rate(NamedTuple):
    """What is the same for all arrays of a step.

    Attributes:
        clip: what the gradient is multiplied by, so that its norm is not too large.
        kept: how much of the old moments.
        eps: added to each square.
    """

    clip: Float[Array, ""]
    kept: Float[Array, ""]
    eps: float


def scale_by_adafactor(
    *, decay: float, eps: float, clip_norm: float
) -> optax.GradientTransformation:
    """Clip a gradient by its global norm, scale it by factored moments, clip each array's update.

    Args:
        decay: the exponent c of the moments' decay, 1 - step ** -c.
        eps: added to each square.
        clip_norm: of the gradient.

    Source: Shazeer and Stern 2018, Adafactor, algorithm 4; optax 0.2.8, scale_by_factored_rms
    and clip_by_block_rms, whose state this keeps.
    """
    start = optax.scale_by_factored_rms(min_dim_size_to_factor=_LEAST_FACTORED)

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        del params
        rate = _Rate(
            # Apart from the gradient: their product would be written out for the blocks.
            clip=clip_norm / jnp.maximum(optax.tree.norm(updates), clip_norm),
            kept=1.0 - (state.count + 1).astype(jnp.float32) ** -decay,
            eps=eps,
        )
        leaves, treedef = jax.tree.flatten(updates)
        old = zip(*(map(jax.tree.leaves, (state.v_row, state.v_col, state.v))), strict=True)
        scaled = [
            _scale(leaf, _Moments(*each), rate) for leaf, each in zip(leaves, old, strict=True)
        ]
        rows, columns, wholes = zip(*(each.moments for each in scaled), strict=True)
        after = state._replace(
            count=state.count + 1,
            v_row=jax.tree.unflatten(treedef, rows),
            v_col=jax.tree.unflatten(treedef, columns),
            v=jax.tree.unflatten(treedef, wholes),
        )
        return jax.tree.unflatten(treedef, [each.update for each in scaled]), after

    return optax.GradientTransformation(start.init, update)


def factored_axes(shape: tuple[int, ...]) -> Axes | None:
    """Return the two largest axes; None where factoring would save too little.

    Source: optax 0.2.8, _factored_dims.

    Example:
        (18, 256, 2048) has 1 and 2; (2048,) and (18, 64) have none.
    """
    if len(shape) < 2:
        return None
    *_, second, largest = (int(axis) for axis in np.argsort(shape))
    return None if shape[second] < _LEAST_FACTORED else Axes(second=second, largest=largest)


def _scale(gradient: Array, moments: _Moments, rate: _Rate) -> _Scaled:
    axes = factored_axes(gradient.shape)
    if axes is None:
        clipped = gradient * rate.clip
        whole = _mixed(moments.whole, clipped * clipped + rate.eps, rate)
        update = clipped * whole**-0.5
        size = jnp.sqrt(jnp.mean(update * update))
        update = update / jnp.maximum(1.0, size / _CLIPPED_AT)
        return _Scaled(update=update, moments=moments._replace(whole=whole))
    # On a mesh in one go: a block of the embedding's rows would lie on one device only.
    rows = gradient.shape[0] if under_mesh() else block_rows(gradient.shape)
    over_second, over_largest = lax.platform_dependent(
        gradient,
        rate.clip,
        cpu=functools.partial(_squares, axes=axes, rows=rows),
        default=functools.partial(_squares, axes=axes, rows=gradient.shape[0]),
    )
    row = _mixed(moments.row, over_largest / gradient.shape[axes.largest] + rate.eps, rate)
    column = _mixed(moments.column, over_second / gradient.shape[axes.second] + rate.eps, rate)
    averaged = axes.second - (axes.second > axes.largest)
    of_row = (row / jnp.mean(row, axis=averaged, keepdims=True)) ** -0.5
    factors = (
        gradient,
        rate.clip.reshape((1,) * gradient.ndim),
        jnp.expand_dims(of_row, axes.largest),
        jnp.expand_dims(column**-0.5, axes.second),
    )
    total = lax.platform_dependent(
        *factors,
        cpu=functools.partial(_product_squares, rows=rows),
        default=functools.partial(_product_squares, rows=gradient.shape[0]),
    )
    # float: from 2 ** 31 numbers on the size is no int32, which is what JAX would make of it.
    shrunk = 1.0 / jnp.maximum(1.0, jnp.sqrt(total / float(gradient.size)) / _CLIPPED_AT)
    return _Scaled(
        update=_product(factors) * shrunk, moments=moments._replace(row=row, column=column)
    )


def _mixed(old: Array, new: Array, rate: _Rate) -> Array:
    return rate.kept * old + (1.0 - rate.kept) * new


def block_rows(shape: tuple[int, ...]) -> int:
    """Return the most rows of the first axis that make equal blocks of at most LARGEST_BLOCK.

    Example:
        (18, 16384, 2048) has 1, (256000, 2048) has 2048, (1280, 128) has 1280.
    """
    of_row = int(np.prod(shape[1:]))
    fitting = (
        rows
        for rows in range(1, shape[0] + 1)
        if shape[0] % rows == 0 and rows * of_row <= LARGEST_BLOCK
    )
    return max(fitting, default=1)


def _squares(
    gradient: Array, clip: Float[Array, ""], *, axes: Axes, rows: int
) -> tuple[Array, Array]:
    """Sum the squares over each of two axes, some rows of the first axis at a time."""

    def of_block(index: Array) -> tuple[Array, Array]:
        clipped = _block(gradient, index, rows) * clip
        squares = clipped * clipped
        return jnp.sum(squares, axis=axes.second), jnp.sum(squares, axis=axes.largest)

    def joined(sums: Array, axis: int) -> Array:
        return jnp.sum(sums, axis=0) if axis == 0 else sums.reshape(-1, *sums.shape[2:])

    over_second, over_largest = lax.map(of_block, jnp.arange(gradient.shape[0] // rows))
    return joined(over_second, axes.second), joined(over_largest, axes.largest)


def _product_squares(*factors: Array, rows: int) -> Float[Array, ""]:
    """Sum the squares of a product of arrays that broadcast to the first one's shape."""

    def of_block(index: Array) -> Array:
        product = _product([_block(each, index, rows) for each in factors])
        return jnp.sum(product * product)

    return jnp.sum(lax.map(of_block, jnp.arange(factors[0].shape[0] // rows)))


def _product(factors: tuple[Array, ...] | list[Array]) -> Array:
    return functools.reduce(jnp.multiply, factors)


def _block(array: Array, index: Array, rows: int) -> Array:
    """Slice a block of rows; an array of one row is broadcast to all blocks."""
    if array.shape[0] in (1, rows):
        return array
    return lax.dynamic_slice_in_dim(array, index * rows, rows)
