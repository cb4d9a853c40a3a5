"""One decoder layer: attention and a GeGLU feed-forward around a residual stream."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from m43.core.attention import Attention, Past, Rotation, rms_norm
from m43.core.config import GemmaConfig
from m43.core.linear import NewWeights, Projection, zeros
from m43.core.numerics import bitcast_back, bitcast_bf16


@jax.custom_vjp
def geglu(gate: Float[Array, "B L F"], up: Float[Array, "B L F"]) -> Float[Array, "B L F"]:
    """Return gelu(gate) * up, computed in float32 and rounded to the dtype of its operands.

    Only the two operands are kept for the backward pass, bitcast. Autodiff would keep every step
    of the tanh in float32: of all arrays of a layer these are the widest, and in bfloat16 two of
    them are a quarter of what autodiff keeps.

    The tanh form of GELU, also where a config.json of Gemma 1 says "gelu".

    Shapes: B batch, L length, F feed-forward.
    Source: transformers 5.23, GemmaMLP and GemmaConfig.__post_init__.

    Example:
        >>> geglu(jnp.array([[[0.0, 10.0]]]), jnp.array([[[5.0, 5.0]]])).tolist()
        [[[0.0, 50.0]]]
    """
    return _value(gate.astype(jnp.float32), up.astype(jnp.float32)).astype(gate.dtype)


def _value(gate: Array, up: Array) -> Array:
    return jax.nn.gelu(gate, approximate=True) * up


def _forward(gate: Array, up: Array) -> tuple[Array, tuple[Array, Array]]:
    return geglu(gate, up), bitcast_bf16((gate, up))


def _backward(operands: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    gate, up = bitcast_back(operands)
    _, pull = jax.vjp(_value, gate.astype(jnp.float32), up.astype(jnp.float32))
    d_gate, d_up = pull(cotangent.astype(jnp.float32))
    return d_gate.astype(gate.dtype), d_up.astype(up.dtype)


geglu.defvjp(_forward, _backward)


class FeedForward(nnx.Module):
    """Two projections up, one gating the other, and one down.

    Shapes: gate and up [F, D], down [D, F]: [out, in], as in the files.
    """

    def __init__(self, config: GemmaConfig, new: NewWeights) -> None:
        self.compute_dtype = new.compute_dtype
        self.gate = Projection(config.d_ff, config.d_model, new)
        self.up = Projection(config.d_ff, config.d_model, new)
        self.down = Projection(config.d_model, config.d_ff, new)

    def __call__(self, inputs: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
        """Return down(gelu(gate(x)) * up(x)) in float32."""
        gate = self.gate(inputs).astype(self.compute_dtype)
        up = self.up(inputs).astype(self.compute_dtype)
        return self.down(geglu(gate, up))


class Layer(nnx.Module):
    """A layer in two halves, so that a KV cache can stand between projections and attention.

    The norms carry the names of what they do. In the files Gemma 1 calls its norm before the
    feed-forward `post_attention_layernorm`; in Gemma 2 and 3 that name is a true norm after
    attention. `m43.training.weights.read_write` keeps the two apart.
    """

    def __init__(self, config: GemmaConfig, new: NewWeights) -> None:
        self.config = config
        self.compute_dtype = new.compute_dtype
        self.attention = Attention(config, new)
        self.feed_forward = FeedForward(config, new)
        self.pre_attention_norm = zeros((config.d_model,), new.param_dtype)
        self.pre_feed_forward_norm = zeros((config.d_model,), new.param_dtype)
        if config.post_norms:
            self.post_attention_norm = zeros((config.d_model,), new.param_dtype)
            self.post_feed_forward_norm = zeros((config.d_model,), new.param_dtype)

    def qkv(
        self, stream: Float[Array, "B L D"], by: Rotation
    ) -> tuple[Float[Array, "B L N H"], Float[Array, "B L K H"], Float[Array, "B L K H"]]:
        """Normalise the stream and project it to queries, keys and values."""
        normed = rms_norm(stream, self.pre_attention_norm[...], self.config.norm_eps)
        return self.attention.qkv(normed, by)

    def finish(
        self,
        stream: Float[Array, "B L D"],
        query: Float[Array, "B L N H"],
        key: Float[Array, "B S K H"],
        value: Float[Array, "B S K H"],
        mask: Bool[Array, "B L S"],
    ) -> Float[Array, "B L D"]:
        """Add attention to the residual stream, then the feed-forward."""
        return self._finish(stream, self.attention.attend(query, key, value, mask))

    def finish_one_token(
        self,
        stream: Float[Array, "B 1 D"],
        query: Float[Array, "B 1 N H"],
        past: Past,
        key: Float[Array, "B 1 K H"],
        value: Float[Array, "B 1 K H"],
    ) -> Float[Array, "B 1 D"]:
        """Do the same for one token against the cache of its past."""
        return self._finish(stream, self.attention.attend_one_token(query, past, key, value))

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
