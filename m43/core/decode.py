"""Greedy decoding of a batch of prompts: one compiled program per shape."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, PyTree

from m43.core.gemma import Gemma, head_logits
from m43.core.kv_cache import Cache, advance, prefill, take_rows
from m43.core.loss import cpu_block
from m43.core.numerics import bitcast_bf16, bitcast_like
from m43.core.sharding import EVERY, P

FEWEST_ROWS = 8
"""Below this a batch is not halved any more: each halving is one more loop to compile."""

LEAST_PRODUCTS = 10**10
"""Multiplications of all rounds below which a batch is not halved at all: they take a processor a
second at most, and each smaller loop takes it as long to compile."""


class Decoded(NamedTuple):
    """The decoded tokens, and the rounds that it took. Shapes: B rows, T new tokens at most."""

    tokens: Int[Array, "B T"]
    counts: Int[Array, " B"]
    rounds: Int[Array, ""]


class _Decoding(NamedTuple):
    """The state of the loop. Shapes: R rows that are still run, B rows, T new tokens at most.

    Attributes:
        rows: which of the B rows the running ones are.
    """

    made: Int[Array, ""]
    rows: Int[Array, " R"]
    lengths: Int[Array, " R"]
    last: Int[Array, " R"]
    stopped: Bool[Array, " R"]
    cache: Cache
    tokens: Int[Array, "B T"]
    counts: Int[Array, " B"]


def greedy_decode(
    model: Gemma,
    prompts: Int[Array, "B P"],
    lengths: Int[Array, " B"],
    *,
    max_new_tokens: int,
    stop_ids: tuple[int, ...],
    mesh: Mesh | None = None,
) -> tuple[Int[Array, "B T"], Int[Array, " B"]]:
    """Continue every prompt with the likeliest token until a stop id or the limit.

    Args:
        model: the weights that answer.
        prompts: right-padded; what stands in the padding does not matter.
        lengths: of each prompt, at least 1.
        max_new_tokens: T; the width of the result.
        stop_ids: ids that end a row.
        mesh: whose devices each have all weights; they share the rows, which are a multiple of
            them, and say nothing to one another: each ends when its own rows have stopped.

    Returns:
        The new tokens, padded with the model's pad id, and how many of them are real. The stop
        id that ended a row is among both; a row of T tokens without one was cut.

    A row's answer depends neither on its padding nor on the other rows. The loop ends when all
    rows have stopped. Compiled once for each shape, limit and number of stop ids.

    Shapes: B rows, P padded prompt length, T new tokens.
    """
    graphdef, weights = nnx.split(model)
    stops = jnp.asarray(stop_ids, jnp.int32)
    if mesh is None:
        end = _decode(graphdef, weights, prompts, lengths, stops, max_new_tokens=max_new_tokens)
        return end.tokens, end.counts
    return _decode_on(mesh, graphdef, weights, prompts, lengths, stops, most=max_new_tokens)


@functools.partial(jax.jit, static_argnames=("mesh", "graphdef", "most"))
def _decode_on(
    mesh: Mesh,
    graphdef: nnx.GraphDef,
    weights: PyTree,
    prompts: Array,
    lengths: Array,
    stops: Int[Array, " S"],
    *,
    most: int,
) -> tuple[Array, Array]:
    def own(weights: PyTree, stops: Array, prompts: Array, lengths: Array) -> tuple[Array, Array]:
        end = _decoded(graphdef, weights, prompts, lengths, stops, max_new_tokens=most)
        return end.tokens, end.counts

    rows = P(EVERY)
    given = (P(), P(), rows, rows)
    return jax.shard_map(own, mesh=mesh, in_specs=given, out_specs=(rows, rows), check_vma=False)(
        weights, stops, prompts, lengths
    )


def _decoded(
    graphdef: nnx.GraphDef,
    weights: PyTree,
    prompts: Array,
    lengths: Array,
    stops: Int[Array, " S"],
    *,
    max_new_tokens: int,
) -> Decoded:
    model = nnx.merge(graphdef, weights)
    batch, width = prompts.shape
    # Bitcast once: inside the loop it would be done again in every round. Of the embedding only
    # blocks are read, which needs no bitcast.
    bits = bitcast_bf16(weights)
    bits["embedding"] = weights["embedding"]
    loop = _Loop(graphdef, bits, stops, like=weights, width=width, most=max_new_tokens)
    # The last token that is chosen is never run, so it needs no slot.
    hidden, cache = prefill(model, prompts, lengths, slots=width + max_new_tokens - 1)
    start = _Decoding(
        made=jnp.int32(0),
        rows=jnp.arange(batch, dtype=jnp.int32),
        lengths=lengths,
        last=jnp.zeros((batch,), jnp.int32),
        stopped=jnp.zeros((batch,), jnp.bool_),
        cache=cache,
        tokens=jnp.full((batch, max_new_tokens), model.config.pad_id, jnp.int32),
        counts=jnp.zeros((batch,), jnp.int32),
    )
    # Rows that have stopped still cost a CPU their share of every round; a GPU hardly notices them.
    begun = loop.record(start, likeliest_token(model, hidden), cache)
    return lax.platform_dependent(begun, cpu=loop.shrinking, default=loop.whole)


_decode = jax.jit(_decoded, static_argnames=("graphdef", "max_new_tokens"))


class _Loop:
    """Round after round, until all rows have stopped or the limit is reached."""

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        bits: PyTree,
        stops: Int[Array, " S"],
        *,
        like: PyTree,
        width: int,
        most: int,
    ) -> None:
        self._graphdef, self._bits, self._like = graphdef, bits, like
        self._pad_id = self._model.config.pad_id
        self._width = width
        self._most = most
        self._stops = stops

    @property
    def _model(self) -> Gemma:
        """The model, bitcast back where this is called."""
        model: Gemma = nnx.merge(self._graphdef, bitcast_like(self._bits, self._like))
        return model

    def whole(self, state: _Decoding) -> Decoded:
        """Run all rows in every round."""
        end = self._run(state, until=0)
        return Decoded(tokens=end.tokens, counts=end.counts, rounds=end.made)

    def shrinking(self, state: _Decoding) -> Decoded:
        """Whenever half of the rows have stopped, compact the batch to the other half."""
        weights = sum(leaf.size for leaf in jax.tree.leaves(self._bits))
        worth = len(state.rows) * weights * self._most >= LEAST_PRODUCTS
        while worth and (half := len(state.rows) // 2) >= FEWEST_ROWS:
            state = _keep_running(self._run(state, until=half), half)
        return self.whole(state)

    def _run(self, state: _Decoding, *, until: int) -> _Decoding:
        """Make rounds until no more than so many rows run."""

        def goes_on(state: _Decoding) -> Array:
            return (state.made < self._most) & (jnp.sum(~state.stopped) > until)

        return lax.while_loop(goes_on, self._round, state)

    def _round(self, state: _Decoding) -> _Decoding:
        position = state.lengths + state.made - 1
        slot = self._width + state.made - 1
        model = self._model
        hidden, cache = advance(model, state.cache, state.last, position, slot)
        return self.record(state, likeliest_token(model, hidden), cache)

    def record(self, state: _Decoding, token: Array, cache: Cache) -> _Decoding:
        """Record the token of the rows that still run, and stop those whose token is a stop id."""
        kept = jnp.where(state.stopped, self._pad_id, token)
        ends = jnp.any(kept[:, None] == self._stops[None, :], axis=1)
        return state._replace(
            made=state.made + 1,
            last=kept,
            stopped=state.stopped | ends,
            cache=cache,
            tokens=state.tokens.at[state.rows, state.made].set(kept),
            counts=state.counts.at[state.rows].add((~state.stopped).astype(jnp.int32)),
        )


def _keep_running(state: _Decoding, most: int) -> _Decoding:
    """Drop rows that have stopped; their tokens are in the result already."""
    # Stable: the rows that run keep their order.
    order = jnp.argsort(state.stopped, stable=True)[:most]
    return state._replace(
        rows=state.rows[order],
        lengths=state.lengths[order],
        last=state.last[order],
        stopped=state.stopped[order],
        cache=take_rows(state.cache, order),
    )


def likeliest_token(model: Gemma, hidden: Float[Array, "B D"]) -> Int[Array, " B"]:
    """Return every row's likeliest token. Shapes: B rows, D model."""
    return lax.platform_dependent(
        hidden,
        cpu=functools.partial(_likeliest_in_blocks, model),
        default=lambda hidden: likeliest(model.logits(hidden[:, None])[:, 0]),
    )


def _likeliest_in_blocks(model: Gemma, hidden: Float[Array, "B D"]) -> Int[Array, " B"]:
    """Score the vocabulary block by block, so that the logits of a block never leave the cache.

    The first of several largest wins, and before all of them a logit that is not a number: what
    argmax says.
    """
    table = model.embedding[...]
    size = cpu_block(table.shape[0])

    def look(number: Array, best: tuple[Array, Array]) -> tuple[Array, Array]:
        most, token = best
        block = lax.dynamic_slice_in_dim(table, number * size, size)
        logits = head_logits(
            hidden[:, None], block, model.config.final_softcap, model.compute_dtype
        )[:, 0]
        here = likeliest(logits)
        value = jnp.take_along_axis(logits, here[:, None], axis=1)[:, 0]
        better = (value > most) | (jnp.isnan(value) & ~jnp.isnan(most))
        return jnp.where(better, value, most), jnp.where(better, here + number * size, token)

    rows = hidden.shape[0]
    # Token 0 stands where all logits are minus infinity, as with argmax.
    start = jnp.full((rows,), -jnp.inf, jnp.float32), jnp.zeros((rows,), jnp.int32)
    return lax.fori_loop(0, table.shape[0] // size, look, start)[1]


def likeliest(logits: Float[Array, "B V"], *, block: int = 256) -> Int[Array, " B"]:
    """Return the index of the largest logit of every row, the first of several.

    Equal to argmax, which on a CPU takes 4 times as long over a large vocabulary: here the search
    for an index goes over the maxima of blocks, and then over one block.

    Shapes: B rows, V vocabulary.
    """
    rows, size = logits.shape
    filled = jnp.pad(logits, ((0, 0), (0, -size % block)), constant_values=-jnp.inf)
    blocks = filled.reshape(rows, -1, block)
    best = jnp.argmax(jnp.max(blocks, axis=-1), axis=-1)
    inside = jnp.take_along_axis(blocks, best[:, None, None], axis=1)[:, 0]
    return (best * block + jnp.argmax(inside, axis=-1)).astype(jnp.int32)
