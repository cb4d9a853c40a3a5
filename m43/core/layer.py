"""One decoder layer: attention and feed-forward around a residual stream."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from m43.core.attention import Attention, Past
from m43.core.feed_forward import FeedForward
from m43.core.gemma_config import GemmaConfig
from m43.core.norm import rms_norm
from m43.core.rope import Rotation
from m43.core.weight import zeros


class Layer(nnx.Module):
    """A layer in two halves, so that a cache can stand between projecting and mixing.

    The norms carry the names of what they do. In the files Gemma 1 calls its norm before the
    feed-forward `post_attention_layernorm`; in Gemma 2 and 3 that name is a true norm after
    attention. `m43.training.weights` keeps the two apart.
    """

    def __init__(
        self,
        config: GemmaConfig,
        *,
        rngs: nnx.Rngs,
        param_dtype: jnp.dtype,
        compute_dtype: jnp.dtype,
    ) -> None:
        self.config = config
        self.compute_dtype = compute_dtype
        dtypes = {"param_dtype": param_dtype, "compute_dtype": compute_dtype}
        self.attention = Attention(config, rngs=rngs, **dtypes)
        self.feed_forward = FeedForward(config, rngs=rngs, **dtypes)
        self.pre_attention_norm = zeros((config.d_model,), param_dtype)
        self.pre_feed_forward_norm = zeros((config.d_model,), param_dtype)
        if config.post_norms:
            self.post_attention_norm = zeros((config.d_model,), param_dtype)
            self.post_feed_forward_norm = zeros((config.d_model,), param_dtype)

    def heads(
        self, stream: Float[Array, "B L D"], by: Rotation
    ) -> tuple[Float[Array, "B L N H"], Float[Array, "B L K H"], Float[Array, "B L K H"]]:
        """Normalise the stream and project it to queries, keys and values."""
        normed = rms_norm(stream, self.pre_attention_norm[...], self.config.norm_eps)
        return self.attention.heads(normed, by)

    def finish(
        self,
        stream: Float[Array, "B L D"],
        query: Float[Array, "B L N H"],
        key: Float[Array, "B S K H"],
        value: Float[Array, "B S K H"],
        mask: Bool[Array, "B L S"],
    ) -> Float[Array, "B L D"]:
        """Mix the values into the stream, then add the feed-forward."""
        return self._finish(stream, self.attention.mix(query, key, value, mask))

    def finish_one(
        self,
        stream: Float[Array, "B 1 D"],
        query: Float[Array, "B 1 N H"],
        past: Past,
        key: Float[Array, "B 1 K H"],
        value: Float[Array, "B 1 K H"],
    ) -> Float[Array, "B 1 D"]:
        """Do the same for one token behind a past."""
        return self._finish(stream, self.attention.mix_one(query, past, key, value))

    def _finish(
        self, stream: Float[Array, "B L D"], mixed: Float[Array, "B L D"]
    ) -> Float[Array, "B L D"]:
        eps = self.config.norm_eps
        if self.config.post_norms:
            mixed = rms_norm(mixed, self.post_attention_norm[...], eps)
        stream = stream + mixed.astype(self.compute_dtype)
        fed = self.feed_forward(rms_norm(stream, self.pre_feed_forward_norm[...], eps))
        if self.config.post_norms:
            fed = rms_norm(fed, self.post_feed_forward_norm[...], eps)
        return stream + fed.astype(self.compute_dtype)
