"""Attention with grouped heads: RMSNorm, rotary position embedding, masks, and the heads."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from m43.core.config import GemmaConfig
from m43.core.linear import NewWeights, Projection, product, zeros
from m43.core.numerics import register_pytree


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


@register_pytree
@dataclass(frozen=True, kw_only=True)
class Rotation:
    """The sine and cosine of every angle of every position. Shapes: H/2 angles per head."""

    sin: Float[Array, "B L half"]
    cos: Float[Array, "B L half"]


def rotation(
    positions: Int[Array, "B L"], head_dim: int, theta: float, factor: float = 1.0
) -> Rotation:
    """Compute the angles position * theta ** (-2i / head_dim) / factor.

    The frequencies are rounded as transformers rounds them (every step in float32): at
    position 8191 one unit in the last place of a frequency is an angle of 5e-4.

    Source: transformers 5.23, GemmaRotaryEmbedding.compute_default_rope_parameters; of the factor,
    5.24, _compute_linear_scaling_rope_parameters.
    """
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    frequencies = np.float32(1.0) / np.power(np.float32(theta), exponents) / np.float32(factor)
    angles = positions[:, :, None].astype(jnp.float32) * jnp.asarray(frequencies)[None, None, :]
    return Rotation(sin=jnp.sin(angles), cos=jnp.cos(angles))


def rotate(heads: Float[Array, "B L N H"], by: Rotation) -> Float[Array, "B L N H"]:
    """Rotate the pair (i, i + H/2) of every head by its angle.

    Example:
        >>> quarter = Rotation(sin=jnp.ones((1, 1, 2)), cos=jnp.zeros((1, 1, 2)))
        >>> rotate(jnp.array([[[[1.0, 2.0, 3.0, 4.0]]]]), quarter).tolist()
        [[[[-3.0, -4.0, 1.0, 2.0]]]]

    Source: transformers 5.23, rotate_half and apply_rotary_pos_emb.
    """
    first, second = jnp.split(heads, 2, axis=-1)
    sin, cos = by.sin[:, :, None, :], by.cos[:, :, None, :]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


UNLIMITED = 2**31 - 1
"""The window of a global layer: more than any difference of two positions."""


def may_attend(
    query_positions: Int[Array, "B L"],
    query_segments: Int[Array, "B L"],
    key_positions: Int[Array, "B S"],
    key_segments: Int[Array, "B S"],
    window: Int[Array, ""],
) -> Bool[Array, "B L S"]:
    """Return for every query and key whether the one may attend to the other.

    Only positions and segments decide, never the place in the array: a packed row, a padded
    row and a cache with gaps all follow the same rule. Segment 0 is padding; nothing
    attends to it. A window of 1 sees the token itself only.

    Shapes: B batch, L queries, S keys.
    Source: transformers 5.23, masking_utils.sliding_window_overlay (key > query - window).

    Example:
        >>> import jax.numpy as jnp
        >>> positions, segments = jnp.array([[0, 1, 2]]), jnp.array([[1, 1, 1]])
        >>> may_attend(positions, segments, positions, segments, jnp.int32(2)).astype(int).tolist()
        [[[1, 0, 0], [1, 1, 0], [0, 1, 1]]]
    """
    distance = query_positions[:, :, None] - key_positions[:, None, :]
    same = query_segments[:, :, None] == key_segments[:, None, :]
    real = (key_segments != 0)[:, None, :]
    return same & real & (distance >= 0) & (distance < window)


MASKED_SCORE = -2.3819763e38
"""Finite on purpose: a padding row, where every score is masked, must not become NaN.

Source: google-deepmind/gemma, modules K_MASK.
"""


class Past(NamedTuple):
    """What one layer remembers of the tokens before one token.

    Shapes: B rows, S slots, K key heads, H head size. Values have their slots last, where the
    product with the attention's weights contracts them: a CPU would turn them round otherwise.
    """

    keys: Float[Array, "B S K H"]
    values: Float[Array, "B K H S"]
    mask: Bool[Array, "B 1 S"]


class Attention(nnx.Module):
    """The four projections, and in Gemma 3 the norms of queries and keys.

    Shapes: query [N*H, D], key and value [K*H, D], output [D, N*H]: [out, in], as in the files.
    """

    def __init__(self, config: GemmaConfig, new: NewWeights) -> None:
        queries, keys = config.q_heads * config.head_dim, config.kv_heads * config.head_dim
        self.config = config
        self.compute_dtype = new.compute_dtype
        self.query = Projection(queries, config.d_model, new)
        self.key = Projection(keys, config.d_model, new)
        self.value = Projection(keys, config.d_model, new)
        self.output = Projection(config.d_model, queries, new)
        if config.qk_norm:
            self.query_norm = zeros((config.head_dim,), new.param_dtype)
            self.key_norm = zeros((config.head_dim,), new.param_dtype)

    def qkv(
        self, inputs: Float[Array, "B L D"], by: Rotation
    ) -> tuple[Float[Array, "B L N H"], Float[Array, "B L K H"], Float[Array, "B L K H"]]:
        """Project to rotated queries, rotated keys and values, in the compute dtype."""
        batch, length, _ = inputs.shape
        split = (batch, length, -1, self.config.head_dim)
        query = self.query(inputs).reshape(split)
        key = self.key(inputs).reshape(split)
        value = self.value(inputs).reshape(split)
        if self.config.qk_norm:
            query = rms_norm(query, self.query_norm[...], self.config.norm_eps)
            key = rms_norm(key, self.key_norm[...], self.config.norm_eps)
        return (
            rotate(query, by).astype(self.compute_dtype),
            rotate(key, by).astype(self.compute_dtype),
            value.astype(self.compute_dtype),
        )

    def attend(
        self,
        query: Float[Array, "B L N H"],
        key: Float[Array, "B S K H"],
        value: Float[Array, "B S K H"],
        mask: Bool[Array, "B L S"],
    ) -> Float[Array, "B L D"]:
        """Average the values weighted by the softmax of the scores, and project back, in float32.

        Query head n reads key head n // (N / K). The soft cap comes before the mask.

        Shapes: B batch, L queries, S keys, N query heads, K key heads, G = N / K, H head size.
        Source: transformers 5.23, eager_attention_forward of gemma, gemma2 and gemma3.
        """
        weights = jax.nn.softmax(self._scores(query, key, mask), axis=-1)
        mixed = product("BKGLS,BSKH->BLKGH", weights, value, self.compute_dtype)
        return self._joined(mixed)

    def attend_one_token(
        self,
        query: Float[Array, "B 1 N H"],
        past: Past,
        key: Float[Array, "B 1 K H"],
        value: Float[Array, "B 1 K H"],
    ) -> Float[Array, "B 1 D"]:
        """Attend to a past and to the token itself, which no mask hides from itself.

        Equal to `attend` over the past with the token's own key and value behind it, but without an
        array that holds both: the past is read where it lies.

        Shapes: as in `attend`.
        """
        slots = past.keys.shape[1]
        itself = jnp.ones((query.shape[0], 1, 1), jnp.bool_)
        scores = (self._scores(query, past.keys, past.mask), self._scores(query, key, itself))
        weights = jax.nn.softmax(jnp.concatenate(scores, axis=-1), axis=-1)
        of_past, own = weights[..., :slots], weights[..., slots:]
        mixed = product("BKGLS,BKHS->BLKGH", of_past, past.values, self.compute_dtype)
        mixed = mixed + product("BKGLS,BSKH->BLKGH", own, value, self.compute_dtype)
        return self._joined(mixed)

    def _scores(
        self,
        query: Float[Array, "B L N H"],
        key: Float[Array, "B S K H"],
        mask: Bool[Array, "B L S"],
    ) -> Float[Array, "B K G L S"]:
        """Compute the masked attention scores."""
        batch, length, heads, size = query.shape
        groups = heads // key.shape[2]
        grouped = query.reshape(batch, length, key.shape[2], groups, size)
        scores = product("BLKGH,BSKH->BKGLS", grouped, key, self.compute_dtype)
        scores = scores * self.config.query_scale
        if self.config.attention_softcap is not None:
            scores = soft_cap(scores, self.config.attention_softcap)
        return jnp.where(mask[:, None, None, :, :], scores, MASKED_SCORE)

    def _joined(self, mixed: Float[Array, "B L K G H"]) -> Float[Array, "B L D"]:
        """Concatenate the heads and project them back.

        Rounded first: in float32 the backward pass would keep them twice as large, and a CPU would
        turn them round twice.
        """
        rounded = mixed.astype(self.compute_dtype)
        return self.output(rounded.reshape(*mixed.shape[:2], -1))


def soft_cap(values: Float[Array, "..."], cap: float) -> Float[Array, "..."]:
    """Squash values into (-cap, cap) by a tanh (soft cap).

    Source: Gemma 2 report, section 2.3.
    """
    return jnp.tanh(values / cap) * cap
