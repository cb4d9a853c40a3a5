"""Looking tokens up in the embedding table, with a gradient that adds up in float32."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@jax.custom_vjp
def look_up(table: Float[Array, "V D"], tokens: Int[Array, "B L"]) -> Float[Array, "B L D"]:
    """Take the row of every token, in the table's dtype.

    Plain autodiff adds the gradients of a repeated token in the dtype of the table; in
    bfloat16 the 300th addition of a frequent token no longer changes the sum.

    Shapes: V vocabulary, D model, B batch, L length.
    """
    return jnp.take(table, tokens, axis=0)


def _look_up_forward(table: Array, tokens: Array) -> tuple[Array, tuple[Array, Array]]:
    return look_up(table, tokens), (tokens, jnp.zeros((table.shape[0], 0), table.dtype))


def _look_up_backward(
    residuals: tuple[Array, Array], cotangent: Array
) -> tuple[Float[Array, "V D"], None]:
    tokens, like = residuals
    total = jnp.zeros((like.shape[0], cotangent.shape[-1]), jnp.float32)
    total = total.at[tokens].add(cotangent.astype(jnp.float32))
    return total.astype(like.dtype), None


look_up.defvjp(_look_up_forward, _look_up_backward)
