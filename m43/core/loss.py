"""The loss on completions: a fused linear cross-entropy.

One file: loss and gradient are one loop.

The loss is a sum, so the gradient w.r.t. the logits is known in the forward pass: each chunk of
rows is scored, differentiated and forgotten, and no batch's logits ever exist. The products of a
chunk are cut into blocks of the vocabulary; CPU and card differ in the size of a block only.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from m43.core.attention import soft_cap
from m43.core.linear import linear, product
from m43.core.sharding import EVERY, P, on_every_device, under_mesh

Carry = TypeVar("Carry")
Part = TypeVar("Part")
Primal = jax.custom_derivatives.CustomVJPPrimal

CPU_BLOCK = 4096
"""Most ids of a block: 4096 x 640 in bfloat16 are 5 MB. Measured in tests/benchmarks/NOTES.md."""

CARD_BLOCK = 32_000
"""For a card: the gradient of a block is small beside [V, D], and its products are large."""


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """What is fixed when the head is compiled.

    Attributes:
        chunk: rows of logits that exist at once.
        shared_over: the axes of the mesh over which the vocabulary is cut, inside a `shard_map`.
    """

    final_softcap: float | None
    compute_dtype: jnp.dtype
    chunk: int
    shared_over: tuple[str, ...] = ()

    def chunks(self, count: Int[Array, ""]) -> Int[Array, ""]:
        """Return how many chunks hold so many rows."""
        return (count + self.chunk - 1) // self.chunk


class HeadInputs(NamedTuple):
    """The arrays of `weighted_loss`. Shapes: R rows, D model, V vocabulary."""

    rows: Float[Array, "R D"]
    embedding: Float[Array, "V D"]
    targets: Int[Array, " R"]
    counted: Int[Array, ""]
    weight: Float[Array, ""]


class HeadSums(NamedTuple):
    """The loss and its gradients; that of a frozen embedding is None.

    Shapes: R rows (of all chunks or of one), D model, V vocabulary.
    """

    loss: Float[Array, ""]
    d_rows: Float[Array, "... R D"]
    d_embedding: Float[Array, "V D"] | None


@dataclass(frozen=True, kw_only=True)
class Blocking:
    """How the products of a chunk are cut.

    Attributes:
        ids: of a block; they divide the vocabulary.
        rows: counts of rows that products are compiled for, rising to a whole chunk.
    """

    ids: int
    rows: tuple[int, ...]


def cpu_block(vocabulary: int) -> int:
    """Return the largest block that divides a vocabulary and that a CPU's caches hold.

    Example:
        256 000 has 4000, 262 144 has 4096.
    """
    return _largest_divisor(vocabulary, CPU_BLOCK)


def _largest_divisor(number: int, most: int) -> int:
    return max(size for size in range(1, most + 1) if number % size == 0)


def cpu_blocking(vocabulary: int, chunk: int) -> Blocking:
    """Size blocks for a CPU's caches, and round the counted rows up to quarters of a chunk.

    A product with 256 000 columns reads and writes memory at every step; of a block of some
    thousand, weights, logits and gradient stay in the cache, and its products are more than twice
    as fast. Of 90 supervised tokens 96 rows are multiplied instead of 128.

    Example:
        >>> cpu_blocking(256_000, 128)
        Blocking(ids=4000, rows=(32, 64, 96, 128))
    """
    quarter = chunk // 4 if chunk % 4 == 0 else chunk
    return Blocking(ids=cpu_block(vocabulary), rows=tuple(range(quarter, chunk + 1, quarter)))


def card_blocking(vocabulary: int, chunk: int, *, trained: bool) -> Blocking:
    """Size blocks for a card: of ids where the embedding is trained, never of rows (a branch).

    In one block, the gradient of a chunk is a second [V, D] beside the sum: the step of Gemma 2B
    for an RTX 5090 then takes 21.0 GiB instead of 19.8. A frozen embedding (LoRA) has none: whole
    rows stay one block, 6.26 GiB, until a card has timed smaller ones against it.
    """
    ids = _largest_divisor(vocabulary, CARD_BLOCK) if trained else vocabulary
    return Blocking(ids=ids, rows=(chunk,))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def weighted_loss(
    settings: HeadSettings,
    rows: Float[Array, "R D"],
    embedding: Float[Array, "V D"],
    accumulator: Float[Array, "V D"],
    targets: Int[Array, " R"],
    count: Int[Array, ""],
    weight: Float[Array, ""],
) -> Float[Array, ""]:
    """Sum the cross-entropy of the first `count` rows against their targets, times a weight.

    The forward pass makes the gradient beside the loss, chunk by chunk: three products with the
    embedding where recomputing the logits in the backward pass takes four. The loop ends with the
    last counted row.

    The weight (1 / count for a mean) is part of the gradient from the logits on; multiplied later
    it would cost one more pass over [V, D].

    The gradient of the embedding goes to its float32 accumulator; the embedding itself gets none.

    Shapes: R rows, a multiple of the chunk; D model, V vocabulary.  Units: nats.
    Source: Hsu et al. 2024, Liger Kernel, section 3.2 (fused linear cross-entropy).
    """
    del accumulator
    return _sums(settings, HeadInputs(rows, embedding, targets, count, weight), trained=False).loss


def _forward(
    settings: HeadSettings,
    rows: Primal,
    embedding: Primal,
    accumulator: Primal,
    targets: Primal,
    count: Primal,
    weight: Primal,
) -> tuple[Array, tuple[Array, Array | None]]:
    inputs = HeadInputs(rows.value, embedding.value, targets.value, count.value, weight.value)
    # A frozen embedding (LoRA) gets no gradient: its [V, D] array is never made.
    found = _sums(settings, inputs, trained=accumulator.perturbed)
    return found.loss, (found.d_rows, found.d_embedding)


def _backward(
    settings: HeadSettings, residuals: tuple[Array, Array | None], cotangent: Array
) -> tuple[Array, None, Array | None, None, None, None]:
    d_rows, d_embedding = residuals
    if d_embedding is not None:
        d_embedding = d_embedding * cotangent
    scaled = d_rows.astype(jnp.float32) * cotangent
    return scaled.astype(d_rows.dtype), None, d_embedding, None, None, None


weighted_loss.defvjp(_forward, _backward, symbolic_zeros=True)


def _sums(settings: HeadSettings, inputs: HeadInputs, *, trained: bool) -> HeadSums:
    if not under_mesh():
        return _own_sums(settings, inputs, trained=trained)
    # Each device scores all rows against its own share of the vocabulary, which never moves.
    shared = replace(settings, shared_over=EVERY)
    return on_every_device(
        functools.partial(_own_sums, shared, trained=trained),
        (HeadInputs._make((P(), P(EVERY, None), P(), P(), P())),),
        HeadSums._make((P(), P(), P(EVERY, None) if trained else None)),
    )(inputs)


def _own_sums(settings: HeadSettings, inputs: HeadInputs, *, trained: bool) -> HeadSums:
    size, chunk = inputs.embedding.shape[0], settings.chunk
    work = functools.partial(fused_sums, settings, trained=trained)
    return lax.platform_dependent(
        inputs,
        cpu=functools.partial(work, blocking=cpu_blocking(size, chunk)),
        default=functools.partial(work, blocking=card_blocking(size, chunk, trained=trained)),
    )


def fused_sums(
    settings: HeadSettings, inputs: HeadInputs, *, trained: bool, blocking: Blocking
) -> HeadSums:
    """Accumulate loss and gradients over the chunks of counted rows.

    Args:
        settings: of the head.
        inputs: of the head.
        trained: whether the gradient of the embedding is wanted.
        blocking: how the products are cut; the result is the same but for the order of sums.
    """
    head, shared_over = _Head(settings, inputs.embedding, blocking), settings.shared_over
    if shared_over:
        first = lax.axis_index(shared_over) * inputs.embedding.shape[0]
        inputs = inputs._replace(targets=inputs.targets - first.astype(inputs.targets.dtype))

    def add(index: Array, sums: HeadSums) -> HeadSums:
        start = index * settings.chunk
        part = head.differentiate(_cut(settings, inputs, start), sums.d_embedding)
        put = lax.dynamic_update_slice_in_dim(
            sums.d_rows, part.d_rows[0].astype(sums.d_rows.dtype), start, 0
        )
        return HeadSums(loss=sums.loss + part.loss, d_rows=put, d_embedding=part.d_embedding)

    nothing = HeadSums(
        loss=jnp.float32(0.0),
        # Of a share of the vocabulary it is a part of a sum, which is rounded once, at the end.
        d_rows=jnp.zeros(inputs.rows.shape, jnp.float32 if shared_over else inputs.rows.dtype),
        d_embedding=jnp.zeros(inputs.embedding.shape, jnp.float32) if trained else None,
    )
    sums = lax.fori_loop(0, settings.chunks(inputs.counted), add, nothing)
    if not shared_over:
        return sums
    return sums._replace(d_rows=lax.psum(sums.d_rows, shared_over).astype(inputs.rows.dtype))


class _Chunk(NamedTuple):
    """Consecutive rows, and what belongs to them.

    The axis of size 1 in front tells the CPU backend of jax 0.10 that it may contract the rows of
    the embedding's gradient in bfloat16; without it that product is float32, at half the speed.

    Shapes: C rows, D model.

    Attributes:
        counted: rows from here on are padding.
    """

    rows: Float[Array, "1 C D"]
    targets: Int[Array, "1 C 1"]
    weights: Float[Array, "1 C 1"]
    counted: Int[Array, ""]

    def first(self, size: int) -> "_Chunk":
        """Return the first rows only."""
        return self._replace(
            rows=self.rows[:, :size],
            targets=self.targets[:, :size],
            weights=self.weights[:, :size],
        )


def _cut(settings: HeadSettings, inputs: HeadInputs, start: Array) -> _Chunk:
    """Slice the rows of one chunk; rows past the count get weight 0."""
    rows = lax.dynamic_slice_in_dim(inputs.rows, start, settings.chunk)
    targets = lax.dynamic_slice_in_dim(inputs.targets, start, settings.chunk)
    numbers = start + jnp.arange(settings.chunk, dtype=inputs.counted.dtype)
    weights = jnp.where(numbers < inputs.counted, inputs.weight, 0.0)
    return _Chunk(
        rows=rows[None],
        targets=targets[None, :, None],
        weights=weights[None, :, None],
        counted=inputs.counted - start,
    )


class _Scores(NamedTuple):
    """All logits of a chunk block by block, and the running log-sum-exp.

    Shapes: n blocks, C rows, b ids of a block.
    """

    logits: Float[Array, "n 1 C b"]
    most: Float[Array, "1 C 1"]
    total: Float[Array, "1 C 1"]
    of_target: Float[Array, "1 C 1"]


class _Head:
    """The embedding in blocks of ids."""

    def __init__(
        self, settings: HeadSettings, embedding: Float[Array, "V D"], blocking: Blocking
    ) -> None:
        self._settings = settings
        self._embedding = embedding
        self._blocking = blocking
        self._count = embedding.shape[0] // blocking.ids

    def score(self, chunk: _Chunk) -> _Scores:
        """Multiply block by block, and keep a running log-sum-exp.

        Source: Milakov and Gimelshein 2018, Online normalizer calculation for softmax, algorithm 3.
        """

        def add(number: Array, found: _Scores) -> _Scores:
            block, dtype = self._block(number), self._settings.compute_dtype
            logits = self._on_counted(
                chunk, lambda size: self._padded(linear(chunk.rows[:, :size], block, dtype))
            )
            if self._settings.final_softcap is not None:
                logits = soft_cap(logits, self._settings.final_softcap)
            most = jnp.maximum(found.most, jnp.max(logits, axis=-1, keepdims=True))
            total = jnp.sum(jnp.exp(logits - most), axis=-1, keepdims=True)
            hit = self._hits(number, chunk.targets)
            return _Scores(
                logits=lax.dynamic_update_index_in_dim(found.logits, logits, number, 0),
                most=most,
                total=found.total * jnp.exp(found.most - most) + total,
                of_target=found.of_target
                + jnp.sum(jnp.where(hit, logits, 0.0), axis=-1, keepdims=True),
            )

        rows = chunk.rows.shape[1]
        zero = jnp.zeros((1, rows, 1), jnp.float32)
        start = _Scores(
            logits=jnp.zeros((self._count, 1, rows, self._blocking.ids), jnp.float32),
            most=jnp.full_like(zero, -jnp.inf),
            total=zero,
            of_target=zero,
        )
        return self._joined(self._over_blocks(add, start))

    def _joined(self, own: _Scores) -> _Scores:
        """Join the log-sum-exps of all shares of the vocabulary: three sums of a number a row."""
        if not (axes := self._settings.shared_over):
            return own
        most = lax.pmax(own.most, axes)
        total, of_target = lax.psum((own.total * jnp.exp(own.most - most), own.of_target), axes)
        return own._replace(most=most, total=total, of_target=of_target)

    def differentiate(self, chunk: _Chunk, d_embedding: Array | None) -> HeadSums:
        """Return the chunk's loss and its rows' gradient; add to that of the embedding."""
        scores, dtype = self.score(chunk), self._settings.compute_dtype
        log_sum = scores.most + jnp.log(scores.total)

        def add(number: Array, found: tuple[Array, Array | None]) -> tuple[Array, Array | None]:
            d_rows, d_embedding = found
            logits, block = scores.logits[number], self._block(number)

            def parts(size: int) -> tuple[Array, Array | None]:
                some = jax.tree.map(lambda rows: rows[:, :size], (logits, log_sum))
                d_logits = self._d_logits(number, chunk.first(size), *some)
                rows = self._padded(product("ACV,VD->ACD", d_logits, block, dtype))
                if d_embedding is None:
                    return rows, None
                return rows, product("ACV,ACD->VD", d_logits, chunk.rows[:, :size], dtype)

            of_rows, of_block = self._on_counted(chunk, parts)
            if d_embedding is not None and of_block is not None:
                start = number * self._blocking.ids
                before = lax.dynamic_slice_in_dim(d_embedding, start, self._blocking.ids)
                d_embedding = lax.dynamic_update_slice_in_dim(
                    d_embedding, before + of_block, start, 0
                )
            return d_rows + of_rows, d_embedding

        start = jnp.zeros(chunk.rows.shape, jnp.float32), d_embedding
        d_rows, d_embedding = self._over_blocks(add, start)
        loss = jnp.sum((log_sum - scores.of_target) * chunk.weights)
        return HeadSums(loss=loss, d_rows=d_rows, d_embedding=d_embedding)

    def _over_blocks(self, add: Callable[[Array, Carry], Carry], start: Carry) -> Carry:
        """Carry a value over all blocks; over a single one without a loop."""
        if self._count == 1:
            return add(jnp.int32(0), start)
        return lax.fori_loop(0, self._count, add, start)

    def _on_counted(self, chunk: _Chunk, work: Callable[[int], Part]) -> Part:
        """Run `work` on the smallest compiled row count that covers the counted rows."""
        sizes = self._blocking.rows
        # A number past the last size takes the last.
        number = (chunk.counted + sizes[0] - 1) // sizes[0] - 1
        part: Part = lax.switch(number, [lambda size=size: work(size) for size in sizes])
        return part

    def _padded(self, part: Array) -> Array:
        """Pad with zeros the rows that were left out."""
        return jnp.pad(part, ((0, 0), (0, self._settings.chunk - part.shape[1]), (0, 0)))

    def _d_logits(self, number: Array, chunk: _Chunk, logits: Array, log_sum: Array) -> Array:
        """Return softmax minus the target's 1, through the soft cap, before any rounding.

        The comparison with the ids is fused into the exponential: no one-hot array exists.
        """
        share = jnp.exp(logits - log_sum)
        gradient = jnp.where(self._hits(number, chunk.targets), share - 1.0, share)
        if self._settings.final_softcap is not None:
            gradient = gradient * (1.0 - jnp.square(logits / self._settings.final_softcap))
        return gradient * chunk.weights

    def _hits(self, number: Array, targets: Array) -> Array:
        """Mark the logits of a block that belong to the targets."""
        shape = (1, targets.shape[1], self._blocking.ids)
        return lax.broadcasted_iota(targets.dtype, shape, 2) + number * shape[2] == targets

    def _block(self, number: Array) -> Float[Array, "b D"]:
        ids = self._blocking.ids
        return lax.dynamic_slice_in_dim(self._embedding, number * ids, ids)
