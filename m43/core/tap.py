"""Taps: where the gradient of an array that is not float32 is taken in float32."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

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
