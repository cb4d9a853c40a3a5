"""Attention with grouped heads, as all three Gemma families do it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from m43.core.gemma_config import GemmaConfig
from m43.core.linear import product
from m43.core.norm import rms_norm
from m43.core.projection import Projection
from m43.core.rope import Rotation, rotate
from m43.core.weight import zeros

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

    def __init__(
        self,
        config: GemmaConfig,
        *,
        rngs: nnx.Rngs,
        param_dtype: jnp.dtype,
        compute_dtype: jnp.dtype,
    ) -> None:
        queries, keys = config.q_heads * config.head_dim, config.kv_heads * config.head_dim
        self.config = config
        self.compute_dtype = compute_dtype
        dtypes = {"param_dtype": param_dtype, "compute_dtype": compute_dtype}
        self.query = Projection(queries, config.d_model, rngs=rngs, **dtypes)
        self.key = Projection(keys, config.d_model, rngs=rngs, **dtypes)
        self.value = Projection(keys, config.d_model, rngs=rngs, **dtypes)
        self.output = Projection(config.d_model, queries, rngs=rngs, **dtypes)
        if config.qk_norm:
            self.query_norm = zeros((config.head_dim,), param_dtype)
            self.key_norm = zeros((config.head_dim,), param_dtype)

    def heads(
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

    def mix(
        self,
        query: Float[Array, "B L N H"],
        key: Float[Array, "B S K H"],
        value: Float[Array, "B S K H"],
        mask: Bool[Array, "B L S"],
    ) -> Float[Array, "B L D"]:
        """Weigh the values by the softmax of the scores, and project back, in float32.

        Query head n reads key head n // (N / K). The soft cap comes before the mask.

        Shapes: B batch, L queries, S keys, N query heads, K key heads, G = N / K, H head size.
        Source: transformers 5.23, eager_attention_forward of gemma, gemma2 and gemma3.
        """
        weights = jax.nn.softmax(self._scores(query, key, mask), axis=-1)
        mixed = product("BKGLS,BSKH->BLKGH", weights, value, self.compute_dtype)
        return self._joined(mixed)

    def mix_one(
        self,
        query: Float[Array, "B 1 N H"],
        past: Past,
        key: Float[Array, "B 1 K H"],
        value: Float[Array, "B 1 K H"],
    ) -> Float[Array, "B 1 D"]:
        """Weigh the values of a past and of the token itself, which no mask hides from itself.

        Equal to `mix` over the past with the token's own key and value behind it, but without an
        array that holds both: the past is read where it lies.

        Shapes: as in `mix`.
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
        """Score every key for every query, masked."""
        batch, length, heads, size = query.shape
        groups = heads // key.shape[2]
        grouped = query.reshape(batch, length, key.shape[2], groups, size)
        scores = product("BLKGH,BSKH->BKGLS", grouped, key, self.compute_dtype)
        scores = scores * self.config.query_scale
        if self.config.attention_softcap is not None:
            scores = soft_cap(scores, self.config.attention_softcap)
        return jnp.where(mask[:, None, None, :, :], scores, MASKED_SCORE)

    def _joined(self, mixed: Float[Array, "B L K G H"]) -> Float[Array, "B L D"]:
        """Lay the heads side by side and project them back.

        Rounded first: in float32 the backward pass would keep them twice as large, and a CPU would
        turn them round twice.
        """
        rounded = mixed.astype(self.compute_dtype)
        return self.output(rounded.reshape(*mixed.shape[:2], -1))


def soft_cap(values: Float[Array, "..."], cap: float) -> Float[Array, "..."]:
    """Bend values smoothly into (-cap, cap).

    Source: Gemma 2 report, section 2.3.
    """
    return jnp.tanh(values / cap) * cap
