"""The loss on completions, without ever holding the logits of a whole batch."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from m43.core.attention import soft_cap
from m43.core.batch import Batch
from m43.core.blocked_head import CARD_BLOCK, HeadInputs, HeadSettings, HeadSums, blocked_sums
from m43.core.gemma import Gemma
from m43.core.linear import linear, product

Primal = jax.custom_derivatives.CustomVJPPrimal


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def weighted_loss(
    settings: HeadSettings,
    rows: Float[Array, "R D"],
    embedding: Float[Array, "V D"],
    tap: Float[Array, "V D"],
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

    The gradient of the embedding goes to its tap, in float32; the embedding itself gets none.

    Shapes: R rows, a multiple of the chunk; D model, V vocabulary.  Units: nats.
    Source: Hsu et al. 2024, Liger Kernel, section 3.2 (fused linear cross-entropy).
    """
    del tap
    inputs = HeadInputs(rows, embedding, targets, count, weight)

    def add(index: Array, total: Array) -> Array:
        return total + _Chunk.cut(settings, inputs, index).loss

    return lax.fori_loop(0, settings.chunks(count), add, jnp.float32(0.0))


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
    def cut(cls, settings: HeadSettings, inputs: HeadInputs, index: Array) -> "_Chunk":
        """Score the rows of one chunk; rows past the count get weight 0."""
        start = index * settings.chunk
        rows = lax.dynamic_slice_in_dim(inputs.rows, start, settings.chunk)[None]
        targets = lax.dynamic_slice_in_dim(inputs.targets, start, settings.chunk)
        numbers = start + jnp.arange(settings.chunk, dtype=inputs.counted.dtype)
        logits = linear(rows, inputs.embedding, settings.compute_dtype)
        if settings.final_softcap is not None:
            logits = soft_cap(logits, settings.final_softcap)
        return cls(
            rows=rows,
            targets=targets[None, :, None],
            weights=jnp.where(numbers < inputs.counted, inputs.weight, 0.0)[None, :, None],
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
    tap: Primal,
    targets: Primal,
    count: Primal,
    weight: Primal,
) -> tuple[Array, tuple[Array, Array | None]]:
    inputs = HeadInputs(rows.value, embedding.value, targets.value, count.value, weight.value)
    # A frozen embedding (LoRA) gets no gradient: its [V, D] array is never made.
    wanted = tap.perturbed
    # On a card too where the embedding is trained: of whole rows, the gradient of one chunk is a
    # second [V, D] beside the sum. The step of Gemma 2B for an RTX 5090 then takes 19.8 GiB
    # instead of 21.0.
    on_card = (
        functools.partial(blocked_sums, settings, wanted=wanted, largest=CARD_BLOCK)
        if wanted
        else functools.partial(whole_sums, settings, wanted=wanted)
    )
    total = lax.platform_dependent(
        inputs,
        cpu=functools.partial(blocked_sums, settings, wanted=wanted),
        default=on_card,
    )
    return total.loss, (total.d_rows, total.d_embedding)


def whole_sums(settings: HeadSettings, inputs: HeadInputs, *, wanted: bool) -> HeadSums:
    """Add up loss and gradients over the chunks of counted rows, whole rows of logits at a time.

    Args:
        settings: of the head.
        inputs: of the head.
        wanted: is the gradient of the embedding asked for?
    """
    sums_of = functools.partial(_sums, settings, inputs, wanted=wanted)
    # The first chunk starts the sums: adding it to zeros would move [V, D] three times more.
    first = sums_of(jnp.int32(0))
    nothing = jax.tree.map(jnp.zeros_like, first)
    chunks = settings.chunks(inputs.counted)

    def add(index: Array, total: HeadSums) -> HeadSums:
        # Always true. But out of a branch the compiler cannot move what is the same in every
        # round: it would transpose the embedding before the loop, even for a loop of no round.
        part = lax.cond(index < chunks, sums_of, lambda _: nothing, index)
        return HeadSums(
            loss=total.loss + part.loss,
            d_rows=_put(total.d_rows, part.d_rows, index * settings.chunk),
            # Over two Nones nothing is mapped.
            d_embedding=jax.tree.map(jnp.add, total.d_embedding, part.d_embedding),
        )

    start = first._replace(d_rows=_put(jnp.zeros_like(inputs.rows), first.d_rows, jnp.int32(0)))
    return lax.fori_loop(1, jnp.maximum(chunks, 1), add, start)


def _sums(settings: HeadSettings, inputs: HeadInputs, index: Array, *, wanted: bool) -> HeadSums:
    chunk = _Chunk.cut(settings, inputs, index)
    gradient, dtype = chunk.d_logits(settings), settings.compute_dtype
    return HeadSums(
        loss=chunk.loss,
        d_rows=product("ACV,VD->ACD", gradient, inputs.embedding, dtype)[0],
        d_embedding=product("ACV,ACD->VD", gradient, chunk.rows, dtype) if wanted else None,
    )


def _put(whole: Array, part: Array, start: Array) -> Array:
    return lax.dynamic_update_slice_in_dim(whole, part.astype(whole.dtype), start, 0)


def _backward(
    settings: HeadSettings, residuals: tuple[Array, Array | None], cotangent: Array
) -> tuple[Array, None, Array | None, None, None, None]:
    d_rows, d_embedding = residuals
    if d_embedding is not None:
        d_embedding = d_embedding * cotangent
    scaled = d_rows.astype(jnp.float32) * cotangent
    return scaled.astype(d_rows.dtype), None, d_embedding, None, None, None


weighted_loss.defvjp(_forward, _backward, symbolic_zeros=True)


DEFAULT_CHUNK = 512
"""Rows of logits that exist at once; 512 of 256 000 in float32 are 0.5 GB."""


def next_token_loss(
    logits: Float[Array, "B L V"], targets: Int[Array, "B L"], counted: Bool[Array, "B L"]
) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Sum the cross-entropy over the counted targets, and count them.

    Sum and count are returned apart: the mean of batch means is not the mean
    over tokens when batches count different numbers of targets.

    Shapes: B batch, L length, V vocabulary.  Units: nats, tokens.
    Source: optax 0.2.8, softmax_cross_entropy_with_integer_labels.
    """
    # float32: in bfloat16 a log-sum-exp over 256 000 logits keeps under 3 digits.
    losses = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), targets)
    return jnp.sum(losses, where=counted), jnp.sum(counted)


def completion_loss(
    model: Gemma,
    batch: Batch,
    *,
    chunk: int = DEFAULT_CHUNK,
    weight: Float[Array, ""] | float = 1.0,
) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Sum the loss of every supervised token of a batch, and count them.

    Equal to `next_token_loss` of the whole logits, the targets one place to the left. The hidden
    states that predict a supervised token are gathered to the front, and only as many chunks of
    them as there are get logits: the cost follows the completions, not the padding.

    Args:
        model: as trained, or with any part of it frozen.
        batch: rows of examples.
        chunk: how many rows of logits exist at once.
        weight: what the sum is multiplied by. To differentiate a mean, give 1 / count here
            rather than divide by it: that spares a pass over the gradient of the embedding.

    Units: nats, tokens.
    """
    arrays = jax.tree.map(jnp.asarray, batch)
    hidden, tap = model.hidden_and_tap(arrays.tokens, arrays.positions, arrays.segments)
    targets = arrays.tokens[:, 1:].reshape(-1)
    counted = arrays.supervised[:, 1:].reshape(-1)
    count = jnp.sum(counted)
    # Rounded up to whole chunks; places past the end gather zeros and scatter nowhere.
    size = -(-targets.size // chunk) * chunk
    (places,) = jnp.nonzero(counted, size=size, fill_value=targets.size)
    rows = hidden[:, :-1].reshape(targets.size, -1).at[places].get(mode="fill", fill_value=0)
    chosen = targets.at[places].get(mode="fill", fill_value=0)
    head = HeadSettings(
        final_softcap=model.config.final_softcap, compute_dtype=model.compute_dtype, chunk=chunk
    )
    table = jax.lax.stop_gradient(model.embedding[...])
    loss = weighted_loss(head, rows, table, tap, chosen, count, jnp.asarray(weight, jnp.float32))
    return loss, count
