"""The summed loss of gathered rows, a chunk of logits at a time, gradient included."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from m43.core.linear import linear, product

Primal = jax.custom_derivatives.CustomVJPPrimal


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """What is fixed when the head is compiled.

    Attributes:
        chunk: rows of logits that exist at once.
    """

    final_softcap: float | None
    compute_dtype: jnp.dtype
    chunk: int


class _Sums(NamedTuple):
    """What the chunks add up to; the gradients are None where nobody asks for them."""

    loss_nats: Float[Array, ""]
    d_rows: Float[Array, "R D"]
    d_embedding: Float[Array, "V D"] | None


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def summed_loss(
    settings: HeadSettings,
    rows: Float[Array, "R D"],
    embedding: Float[Array, "V D"],
    targets: Int[Array, " R"],
    count: Int[Array, ""],
) -> Float[Array, ""]:
    """Sum the cross-entropy of the first `count` rows against their targets.

    A sum's gradient does not wait for what comes later, so the forward pass of a training step
    makes it beside the loss, chunk by chunk: three products with the embedding where recomputing
    the logits in the backward pass takes four. The loop ends with the last counted row.

    Shapes: R rows, a multiple of the chunk; D model, V vocabulary.  Units: nats.
    Source: Hsu et al. 2024, Liger Kernel, section 3.2 (fused linear cross-entropy).
    """

    def add(index: Array, total: Array) -> Array:
        chunk = _Chunk.cut(settings, index, rows, targets, count)
        return total + chunk.loss(settings, embedding)[0]

    return lax.fori_loop(0, _chunks(settings, count), add, jnp.float32(0.0))


def _chunks(settings: HeadSettings, count: Array) -> Array:
    return (count + settings.chunk - 1) // settings.chunk


class _Chunk(NamedTuple):
    """Some consecutive rows, and which of them count.

    The axis of size 1 in front is there for the compiler: with it, the CPU backend of jax 0.10
    contracts the rows of the embedding's gradient in bfloat16, without it in float32, at half
    the speed.

    Shapes: C rows of a chunk, D model.
    """

    rows: Float[Array, "1 C D"]
    targets: Int[Array, "1 C"]
    counted: Float[Array, "1 C"]

    @classmethod
    def cut(
        cls, settings: HeadSettings, index: Array, rows: Array, targets: Array, count: Array
    ) -> "_Chunk":
        start = index * settings.chunk
        numbers = start + jnp.arange(settings.chunk, dtype=count.dtype)
        return cls(
            rows=lax.dynamic_slice_in_dim(rows, start, settings.chunk)[None],
            targets=lax.dynamic_slice_in_dim(targets, start, settings.chunk)[None],
            counted=(numbers < count).astype(jnp.float32)[None],
        )

    def loss(self, settings: HeadSettings, embedding: Array) -> tuple[Array, Array, Array]:
        """Return the summed loss, the logits and their log-sum-exp."""
        logits = linear(self.rows, embedding, settings.compute_dtype)
        if settings.final_softcap is not None:
            logits = settings.final_softcap * jnp.tanh(logits / settings.final_softcap)
        log_sum = jax.nn.logsumexp(logits, axis=-1)
        of_target = jnp.take_along_axis(logits, self.targets[..., None], axis=-1)[..., 0]
        return jnp.sum((log_sum - of_target) * self.counted), logits, log_sum

    def d_logits(self, settings: HeadSettings, logits: Array, log_sum: Array) -> Array:
        """Return softmax minus the target's 1, through the soft cap, before any rounding.

        The comparison with the ids is fused into the exponential: no one-hot array exists.
        """
        ids = lax.broadcasted_iota(self.targets.dtype, logits.shape, logits.ndim - 1)
        share = jnp.exp(logits - log_sum[..., None])
        gradient = jnp.where(ids == self.targets[..., None], share - 1.0, share)
        if settings.final_softcap is not None:
            gradient = gradient * (1.0 - jnp.square(logits / settings.final_softcap))
        return gradient * self.counted[..., None]


def _forward(
    settings: HeadSettings,
    rows: Primal,
    embedding: Primal,
    targets: Primal,
    count: Primal,
) -> tuple[Array, tuple[Array, Array | None, Array]]:
    arrays = (rows.value, embedding.value, targets.value, count.value)
    # A frozen embedding (LoRA) gets no gradient: its [V, D] array is never made.
    sums_of = functools.partial(_chunk_sums, settings, arrays, wanted=embedding.perturbed)

    def add(index: Array, total: _Sums) -> _Sums:
        part = sums_of(index)
        return _Sums(
            loss_nats=total.loss_nats + part.loss_nats,
            d_rows=_put(total.d_rows, part.d_rows, index * settings.chunk),
            # Over two Nones nothing is mapped.
            d_embedding=jax.tree.map(jnp.add, total.d_embedding, part.d_embedding),
        )

    # The first chunk starts the sums: adding it to zeros would move [V, D] three times more.
    first = sums_of(jnp.int32(0))
    first = first._replace(d_rows=_put(jnp.zeros_like(rows.value), first.d_rows, jnp.int32(0)))
    total = lax.fori_loop(1, jnp.maximum(_chunks(settings, count.value), 1), add, first)
    like = jnp.zeros((0,), embedding.value.dtype)
    return total.loss_nats, (total.d_rows, total.d_embedding, like)


def _put(whole: Array, part: Array, start: Array) -> Array:
    return lax.dynamic_update_slice_in_dim(whole, part.astype(whole.dtype), start, 0)


def _chunk_sums(
    settings: HeadSettings,
    arrays: tuple[Array, Array, Array, Array],
    index: Array,
    *,
    wanted: bool,
) -> _Sums:
    rows, embedding, targets, count = arrays
    chunk = _Chunk.cut(settings, index, rows, targets, count)
    loss_nats, logits, log_sum = chunk.loss(settings, embedding)
    gradient = chunk.d_logits(settings, logits, log_sum)
    dtype = settings.compute_dtype
    return _Sums(
        loss_nats=loss_nats,
        d_rows=product("BCV,VD->BCD", gradient, embedding, dtype)[0],
        d_embedding=product("BCV,BCD->VD", gradient, chunk.rows, dtype) if wanted else None,
    )


def _backward(
    settings: HeadSettings, residuals: tuple[Array, Array | None, Array], cotangent: Array
) -> tuple[Array, Array | None, None, None]:
    d_rows, d_embedding, like = residuals
    if d_embedding is not None:
        d_embedding = (d_embedding * cotangent).astype(like.dtype)
    scaled = d_rows.astype(jnp.float32) * cotangent
    return scaled.astype(d_rows.dtype), d_embedding, None, None


summed_loss.defvjp(_forward, _backward, symbolic_zeros=True)
