"""Rotary position embedding: angles in float32, the two halves of a head as the pair."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from m43.core.pytree import register_pytree


@register_pytree
@dataclass(frozen=True, kw_only=True)
class Rotation:
    """The sine and cosine of every angle of every position. Shapes: H/2 angles per head."""

    sin: Float[Array, "B L half"]
    cos: Float[Array, "B L half"]


def rotation(positions: Int[Array, "B L"], head_dim: int, theta: float) -> Rotation:
    """Compute the angles position * theta ** (-2i / head_dim).

    The frequencies are rounded as transformers rounds them (every step in float32): at
    position 8191 one unit in the last place of a frequency is an angle of 5e-4.

    Source: transformers 5.23, GemmaRotaryEmbedding.compute_default_rope_parameters.
    """
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    frequencies = np.float32(1.0) / np.power(np.float32(theta), exponents)
    angles = positions[:, :, None].astype(jnp.float32) * jnp.asarray(frequencies)[None, None, :]
    return Rotation(sin=jnp.sin(angles), cos=jnp.cos(angles))


def rotate(heads: Float[Array, "B L N H"], by: Rotation) -> Float[Array, "B L N H"]:
    """Turn the pair (i, i + H/2) of every head by its angle.

    Example:
        >>> quarter = Rotation(sin=jnp.ones((1, 1, 2)), cos=jnp.zeros((1, 1, 2)))
        >>> rotate(jnp.array([[[[1.0, 2.0, 3.0, 4.0]]]]), quarter).tolist()
        [[[[-3.0, -4.0, 1.0, 2.0]]]]

    Source: transformers 5.23, rotate_half and apply_rotary_pos_emb.
    """
    first, second = jnp.split(heads, 2, axis=-1)
    sin, cos = by.sin[:, :, None, :], by.cos[:, :, None, :]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
