"""How a weight starts when no file is read: as transformers starts it."""

import jax
import jax.numpy as jnp
from flax import nnx

STANDARD_DEVIATION = 0.02
"""Source: transformers 5.23, GemmaConfig.initializer_range."""


def normal(rngs: nnx.Rngs, shape: tuple[int, ...], dtype: jnp.dtype) -> nnx.Param:
    """Draw a matrix from a normal distribution."""
    return nnx.Param(jax.random.normal(rngs.params(), shape, dtype) * STANDARD_DEVIATION)


def zeros(shape: tuple[int, ...], dtype: jnp.dtype) -> nnx.Param:
    """Make the weight of a norm: it is stored around 0, and 0 means scale 1."""
    return nnx.Param(jnp.zeros(shape, dtype))
