"""The gate of the feed-forward: gelu(gate) * up, and what of it is kept for the backward pass."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from m43.core.bits import restored, to_bits


@jax.custom_vjp
def gated_gelu(gate: Float[Array, "B L F"], up: Float[Array, "B L F"]) -> Float[Array, "B L F"]:
    """Return gelu(gate) * up, computed in float32 and rounded to the dtype of its operands.

    Only the two operands are kept for the backward pass, as `to_bits` makes them. Autodiff would
    keep every step of the tanh in float32: of all arrays of a layer these are the widest, and in
    bfloat16 two of them are a quarter of what autodiff keeps.

    The tanh form of GELU, also where a config.json of Gemma 1 says "gelu".

    Shapes: B batch, L length, F feed-forward.
    Source: transformers 5.23, GemmaMLP and GemmaConfig.__post_init__.

    Example:
        >>> gated_gelu(jnp.array([[[0.0, 10.0]]]), jnp.array([[[5.0, 5.0]]])).tolist()
        [[[0.0, 50.0]]]
    """
    return _value(gate.astype(jnp.float32), up.astype(jnp.float32)).astype(gate.dtype)


def _value(gate: Array, up: Array) -> Array:
    return jax.nn.gelu(gate, approximate=True) * up


def _forward(gate: Array, up: Array) -> tuple[Array, tuple[Array, Array]]:
    return gated_gelu(gate, up), to_bits((gate, up))


def _backward(operands: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    gate, up = restored(operands)
    _, pull = jax.vjp(_value, gate.astype(jnp.float32), up.astype(jnp.float32))
    d_gate, d_up = pull(cotangent.astype(jnp.float32))
    return d_gate.astype(gate.dtype), d_up.astype(up.dtype)


gated_gelu.defvjp(_forward, _backward)
