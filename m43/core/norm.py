"""Root-mean-square normalisation as Gemma does it: float32 inside, weights stored around 0."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def rms_norm(
    inputs: Float[Array, "*axes D"], weight: Float[Array, " D"], eps: float
) -> Float[Array, "*axes D"]:
    """Scale each vector to unit root mean square, then by 1 + weight.

    Returns float32: the caller casts last, after everything that wants the precision.

    Source: transformers 5.23, GemmaRMSNorm, Gemma2RMSNorm, Gemma3RMSNorm.
    """
    values = inputs.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(values), axis=-1, keepdims=True)
    scale = jnp.expand_dims(1.0 + weight.astype(jnp.float32), tuple(range(inputs.ndim - 1)))
    return values * jax.lax.rsqrt(mean_square + eps) * scale
