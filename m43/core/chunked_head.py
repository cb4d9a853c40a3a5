"""The loss of gathered rows, a chunk of logits at a time, gradient included."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from m43.core.attention import soft_cap
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
    """What the chunks add up to; a gradient is None where nobody asks for it.

    Shapes: R rows, D model, V vocabulary.
    """

    loss: Float[Array, ""]
    d_rows: Float[Array, "R D"]
    d_embedding: Float[Array, "V D"] | None


@dataclass(frozen=True)
class _Inputs:
    """The arrays of `weighted_loss`."""

    rows: Float[Array, "R D"]
    embedding: Float[Array, "V D"]
    targets: Int[Array, " R"]
    count: Int[Array, ""]
    weight: Float[Array, ""]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def weighted_loss(
    settings: HeadSettings,
    rows: Float[Array, "R D"],
    embedding: Float[Array, "V D"],
    targets: Int[Array, " R"],
    count: Int[Array, ""],
    weight: Float[Array, ""],
) -> Float[Array, ""]:
    """Sum the cross-entropy of the first `count` rows against their targets, times a weight.

    A sum's gradient does not wait for what comes later, so the forward pass of a training step
    makes it beside the loss, chunk by chunk: three products with the embedding where recomputing
    the logits in the backward pass takes four. The loop ends with the last counted row.

    The weight (1 / count for a mean) is part of the gradient from the logits on; multiplied later
    it would cost one more pass over [V, D].

    Shapes: R rows, a multiple of the chunk; D model, V vocabulary.  Units: nats.
    Source: Hsu et al. 2024, Liger Kernel, section 3.2 (fused linear cross-entropy).
    """
    inputs = _Inputs(rows, embedding, targets, count, weight)

    def add(index: Array, total: Array) -> Array:
        return total + _Chunk.cut(settings, inputs, index).loss

    return lax.fori_loop(0, _chunks(settings, count), add, jnp.float32(0.0))


def _chunks(settings: HeadSettings, count: Array) -> Array:
    return (count + settings.chunk - 1) // settings.chunk


class _Chunk(NamedTuple):
    """The logits of some consecutive rows, and what belongs to them.

    The axis of size 1 in front tells the CPU backend of jax 0.10 that it may contract the rows of
    the embedding's gradient in bfloat16; without it that product is float32, at half the speed.

    Shapes: C rows of a chunk, V vocabulary, D model.
    """

    rows: Float[Array, "1 C D"]
    targets: Int[Array, "1 C 1"]
    weights: Float[Array, "1 C 1"]
    logits: Float[Array, "1 C V"]
    log_sum: Float[Array, "1 C 1"]

    @classmethod
    def cut(cls, settings: HeadSettings, inputs: _Inputs, index: Array) -> "_Chunk":
        """Score the rows of one chunk; rows past the count get weight 0."""
        start = index * settings.chunk
        rows = lax.dynamic_slice_in_dim(inputs.rows, start, settings.chunk)[None]
        targets = lax.dynamic_slice_in_dim(inputs.targets, start, settings.chunk)
        numbers = start + jnp.arange(settings.chunk, dtype=inputs.count.dtype)
        logits = linear(rows, inputs.embedding, settings.compute_dtype)
        if settings.final_softcap is not None:
            logits = soft_cap(logits, settings.final_softcap)
        return cls(
            rows=rows,
            targets=targets[None, :, None],
            weights=jnp.where(numbers < inputs.count, inputs.weight, 0.0)[None, :, None],
            logits=logits,
            log_sum=jax.nn.logsumexp(logits, axis=-1, keepdims=True),
        )

    @property
    def loss(self) -> Array:
        """The weighted sum of the losses."""
        of_target = jnp.take_along_axis(self.logits, self.targets, axis=-1)
        return jnp.sum((self.log_sum - of_target) * self.weights)

    def d_logits(self, settings: HeadSettings) -> Array:
        """Return softmax minus the target's 1, through the soft cap, before any rounding.

        The comparison with the ids is fused into the exponential: no one-hot array exists.
        """
        ids = lax.broadcasted_iota(self.targets.dtype, self.logits.shape, 2)
        share = jnp.exp(self.logits - self.log_sum)
        gradient = jnp.where(ids == self.targets, share - 1.0, share)
        if settings.final_softcap is not None:
            gradient = gradient * (1.0 - jnp.square(self.logits / settings.final_softcap))
        return gradient * self.weights


def _forward(
    settings: HeadSettings,
    rows: Primal,
    embedding: Primal,
    targets: Primal,
    count: Primal,
    weight: Primal,
) -> tuple[Array, tuple[Array, Array | None, Array]]:
    inputs = _Inputs(rows.value, embedding.value, targets.value, count.value, weight.value)
    # A frozen embedding (LoRA) gets no gradient: its [V, D] array is never made.
    sums_of = functools.partial(_sums, settings, inputs, wanted=embedding.perturbed)

    # The first chunk starts the sums: adding it to zeros would move [V, D] three times more.
    first = sums_of(jnp.int32(0))
    nothing = jax.tree.map(jnp.zeros_like, first)
    chunks = _chunks(settings, inputs.count)

    def add(index: Array, total: _Sums) -> _Sums:
        # Always true. But out of a branch the compiler cannot move what is the same in every
        # round: it would transpose the embedding before the loop, even for a loop of no round.
        part = lax.cond(index < chunks, sums_of, lambda _: nothing, index)
        return _Sums(
            loss=total.loss + part.loss,
            d_rows=_put(total.d_rows, part.d_rows, index * settings.chunk),
            # Over two Nones nothing is mapped.
            d_embedding=jax.tree.map(jnp.add, total.d_embedding, part.d_embedding),
        )

    start = first._replace(d_rows=_put(jnp.zeros_like(inputs.rows), first.d_rows, jnp.int32(0)))
    total = lax.fori_loop(1, jnp.maximum(chunks, 1), add, start)
    like = jnp.zeros((0,), inputs.embedding.dtype)
    return total.loss, (total.d_rows, total.d_embedding, like)


def _sums(settings: HeadSettings, inputs: _Inputs, index: Array, *, wanted: bool) -> _Sums:
    chunk = _Chunk.cut(settings, inputs, index)
    gradient, dtype = chunk.d_logits(settings), settings.compute_dtype
    return _Sums(
        loss=chunk.loss,
        d_rows=product("ACV,VD->ACD", gradient, inputs.embedding, dtype)[0],
        d_embedding=product("ACV,ACD->VD", gradient, chunk.rows, dtype) if wanted else None,
    )


def _put(whole: Array, part: Array, start: Array) -> Array:
    return lax.dynamic_update_slice_in_dim(whole, part.astype(whole.dtype), start, 0)


def _backward(
    settings: HeadSettings, residuals: tuple[Array, Array | None, Array], cotangent: Array
) -> tuple[Array, Array | None, None, None, None]:
    d_rows, d_embedding, like = residuals
    if d_embedding is not None:
        d_embedding = (d_embedding * cotangent).astype(like.dtype)
    scaled = d_rows.astype(jnp.float32) * cotangent
    return scaled.astype(d_rows.dtype), d_embedding, None, None, None


weighted_loss.defvjp(_forward, _backward, symbolic_zeros=True)
