"""Looking tokens up in the embedding table, which the head uses a second time."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from m43.core.bits import BF16_NAN, from_bits, to_bits


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
