"""The loss of gathered rows for a CPU: the vocabulary in blocks that its caches hold.

The same sums as `chunked_head` makes of whole rows of logits. On a CPU a product with 256 000
columns reads and writes memory at every step; of a block of some thousand, the weights, the logits
and the gradient stay in the cache, and its products run more than twice as fast.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from m43.core.attention import soft_cap
from m43.core.linear import linear, product


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """What is fixed when the head is compiled.

    Attributes:
        chunk: rows of logits that exist at once.
    """

    final_softcap: float | None
    compute_dtype: jnp.dtype
    chunk: int

    def chunks(self, count: Int[Array, ""]) -> Int[Array, ""]:
        """Tell how many chunks hold so many rows."""
        return (count + self.chunk - 1) // self.chunk


class HeadInputs(NamedTuple):
    """The arrays of `weighted_loss`. Shapes: R rows, D model, V vocabulary."""

    rows: Float[Array, "R D"]
    embedding: Float[Array, "V D"]
    targets: Int[Array, " R"]
    counted: Int[Array, ""]
    weight: Float[Array, ""]


class HeadSums(NamedTuple):
    """What the chunks add up to; a gradient is None where nobody asks for it.

    Shapes: R rows, D model, V vocabulary.
    """

    loss: Float[Array, ""]
    d_rows: Float[Array, "R D"]
    d_embedding: Float[Array, "V D"] | None


Part = TypeVar("Part")

LARGEST_BLOCK = 4096
"""4096 x 640 in bfloat16 are 5 MB. Measured in tests/benchmarks/NOTES.md."""


CARD_BLOCK = 32_000
"""For a card: the gradient of a block is small beside that of the embedding, its products large."""


def block_size(vocabulary: int, largest: int | None = None) -> int:
    """Find the largest block that divides a vocabulary, for a CPU unless told how large it may be.

    Example:
        256 000 has 4000, 262 144 has 4096.
    """
    return max(size for size in range(1, (largest or LARGEST_BLOCK) + 1) if vocabulary % size == 0)


class _Rows(NamedTuple):
    """The rows of one chunk. The axis in front is explained in `chunked_head`.

    Shapes: C rows, D model.

    Attributes:
        counted: rows from here on are padding.
    """

    rows: Float[Array, "1 C D"]
    targets: Int[Array, "1 C 1"]
    weights: Float[Array, "1 C 1"]
    counted: Int[Array, ""]

    def first(self, size: int) -> "_Rows":
        """Take the first rows only."""
        return self._replace(
            rows=self.rows[:, :size],
            targets=self.targets[:, :size],
            weights=self.weights[:, :size],
        )


class _Scores(NamedTuple):
    """All logits of a chunk block by block, and what is known of the blocks so far.

    Shapes: n blocks, C rows, b ids of a block.
    """

    logits: Float[Array, "n 1 C b"]
    most: Float[Array, "1 C 1"]
    total: Float[Array, "1 C 1"]
    of_target: Float[Array, "1 C 1"]


def blocked_sums(
    settings: HeadSettings, inputs: HeadInputs, *, wanted: bool, largest: int | None = None
) -> HeadSums:
    """Add up loss and gradients over the chunks of counted rows.

    Args:
        settings: of the head.
        inputs: of the head.
        wanted: is the gradient of the embedding asked for?
        largest: ids of a block, at most; None for what a CPU's caches hold.
    """
    blocks = _Blocks(settings, inputs.embedding, largest)

    def add(index: Array, sums: HeadSums) -> HeadSums:
        start = index * settings.chunk
        chunk = _cut(settings, inputs, start)
        scores = blocks.score(chunk)
        loss, d_rows, d_embedding = blocks.differentiate(chunk, scores, sums.d_embedding)
        put = lax.dynamic_update_slice_in_dim(
            sums.d_rows, d_rows.astype(sums.d_rows.dtype), start, 0
        )
        return HeadSums(loss=sums.loss + loss, d_rows=put, d_embedding=d_embedding)

    nothing = HeadSums(
        loss=jnp.float32(0.0),
        d_rows=jnp.zeros_like(inputs.rows),
        d_embedding=jnp.zeros(inputs.embedding.shape, jnp.float32) if wanted else None,
    )
    return lax.fori_loop(0, settings.chunks(inputs.counted), add, nothing)


def _cut(settings: HeadSettings, inputs: HeadInputs, start: Array) -> _Rows:
    """Take the rows of one chunk; rows past the count get weight 0."""
    rows = lax.dynamic_slice_in_dim(inputs.rows, start, settings.chunk)
    targets = lax.dynamic_slice_in_dim(inputs.targets, start, settings.chunk)
    numbers = start + jnp.arange(settings.chunk, dtype=inputs.counted.dtype)
    weights = jnp.where(numbers < inputs.counted, inputs.weight, 0.0)
    return _Rows(
        rows=rows[None],
        targets=targets[None, :, None],
        weights=weights[None, :, None],
        counted=inputs.counted - start,
    )


def _sizes(chunk: int) -> list[int]:
    """Give the numbers of rows that products are compiled for on a CPU: quarters of a chunk.

    The last chunk is seldom full: of 90 supervised tokens all 128 rows would be multiplied.

    Example:
        >>> _sizes(128)
        [32, 64, 96, 128]
    """
    quarter = chunk // 4 if chunk % 4 == 0 else chunk
    return list(range(quarter, chunk + 1, quarter))


class _Blocks:
    """The embedding in blocks of ids."""

    def __init__(
        self, settings: HeadSettings, embedding: Float[Array, "V D"], largest: int | None
    ) -> None:
        self._settings = settings
        self._size = block_size(embedding.shape[0], largest)
        self._count = embedding.shape[0] // self._size
        self._embedding = embedding
        # On a card, rows that are multiplied in vain cost less than a branch.
        self._sizes = [settings.chunk] if largest else _sizes(settings.chunk)

    def _of_counted(self, chunk: _Rows, work: Callable[[int], Part]) -> Part:
        """Do something with as many rows as count, rounded up to a size that it is compiled for."""
        first = self._sizes[0]
        # A number past the last size takes the last.
        number = (chunk.counted + first - 1) // first - 1
        part: Part = lax.switch(number, [lambda size=size: work(size) for size in self._sizes])
        return part

    def _padded(self, part: Array) -> Array:
        """Put zeros where rows were left out."""
        return jnp.pad(part, ((0, 0), (0, self._settings.chunk - part.shape[1]), (0, 0)))

    def score(self, chunk: _Rows) -> _Scores:
        """Multiply block by block, and keep a running log-sum-exp.

        Source: Milakov and Gimelshein 2018, Online normalizer calculation for softmax, algorithm 3.
        """
        rows = chunk.rows.shape[1]

        def add(number: Array, found: _Scores) -> _Scores:
            block, dtype = self._block(number), self._settings.compute_dtype
            logits = self._of_counted(
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

        zero = jnp.zeros((1, rows, 1), jnp.float32)
        start = _Scores(
            logits=jnp.zeros((self._count, 1, rows, self._size), jnp.float32),
            most=jnp.full_like(zero, -jnp.inf),
            total=zero,
            of_target=zero,
        )
        return lax.fori_loop(0, self._count, add, start)

    def differentiate(
        self, chunk: _Rows, scores: _Scores, d_embedding: Array | None
    ) -> tuple[Array, Array, Array | None]:
        """Return the loss, the gradient of the rows, and add to that of the embedding."""
        log_sum = scores.most + jnp.log(scores.total)
        dtype = self._settings.compute_dtype

        def add(number: Array, found: tuple[Array, Array | None]) -> tuple[Array, Array | None]:
            d_rows, d_embedding = found
            logits, block = scores.logits[number], self._block(number)

            def parts(size: int) -> tuple[Array, Array | None]:
                some = jax.tree.map(lambda rows: rows[:, :size], (logits, log_sum))
                d_logits = self._d_logits(number, chunk.first(size), *some)
                rows = product("ACV,VD->ACD", d_logits, block, dtype)
                if d_embedding is None:
                    return self._padded(rows), None
                return self._padded(rows), product(
                    "ACV,ACD->VD", d_logits, chunk.rows[:, :size], dtype
                )

            of_rows, of_block = self._of_counted(chunk, parts)
            if d_embedding is not None and of_block is not None:
                start = number * self._size
                before = lax.dynamic_slice_in_dim(d_embedding, start, self._size)
                after = before + of_block
                d_embedding = lax.dynamic_update_slice_in_dim(d_embedding, after, start, 0)
            d_rows = d_rows + of_rows
            return d_rows, d_embedding

        start = jnp.zeros(chunk.rows.shape, jnp.float32), d_embedding
        d_rows, d_embedding = lax.fori_loop(0, self._count, add, start)
        loss = jnp.sum((log_sum - scores.of_target) * chunk.weights)
        return loss, d_rows[0], d_embedding

    def _d_logits(self, number: Array, chunk: _Rows, logits: Array, log_sum: Array) -> Array:
        """Return softmax minus the target's 1, through the soft cap, before any rounding."""
        share = jnp.exp(logits - log_sum)
        gradient = jnp.where(self._hits(number, chunk.targets), share - 1.0, share)
        if self._settings.final_softcap is not None:
            gradient = gradient * (1.0 - jnp.square(logits / self._settings.final_softcap))
        return gradient * chunk.weights

    def _hits(self, number: Array, targets: Array) -> Array:
        """Tell which logits of a block belong to the targets."""
        shape = (1, targets.shape[1], self._size)
        return lax.broadcasted_iota(targets.dtype, shape, 2) + number * self._size == targets

    def _block(self, number: Array) -> Float[Array, "b D"]:
        return lax.dynamic_slice_in_dim(self._embedding, number * self._size, self._size)
