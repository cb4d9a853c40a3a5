"""Greedy decoding of a batch of prompts: one compiled program per shape."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from m43.core.cache import Cache, advance, prefill
from m43.core.gemma import Gemma


class Decoded(NamedTuple):
    """What the loop made, and how many rounds it took. Shapes: B rows, T new tokens at most."""

    tokens: Int[Array, "B T"]
    counts: Int[Array, " B"]
    rounds: Int[Array, ""]


class _Decoding(NamedTuple):
    """Where the loop stands. Shapes: B rows, T new tokens at most."""

    made: Int[Array, ""]
    last: Int[Array, " B"]
    stopped: Bool[Array, " B"]
    tokens: Int[Array, "B T"]
    counts: Int[Array, " B"]
    cache: Cache


def greedy_decode(
    model: Gemma,
    prompts: Int[Array, "B P"],
    lengths: Int[Array, " B"],
    *,
    max_new_tokens: int,
    stop_ids: tuple[int, ...],
) -> tuple[Int[Array, "B T"], Int[Array, " B"]]:
    """Continue every prompt with the likeliest token until a stop id or the limit.

    Args:
        model: the weights that answer.
        prompts: right-padded; what stands in the padding does not matter.
        lengths: of each prompt, at least 1.
        max_new_tokens: T; the width of the result.
        stop_ids: ids that end a row.

    Returns:
        The new tokens, padded with the model's pad id, and how many of them are real. The stop
        id that ended a row is among both; a row of T tokens without one was cut.

    A row's answer depends neither on its padding nor on the other rows. The loop ends when all
    rows have stopped. Compiled once for each pair of shape and limit.

    Shapes: B rows, P padded prompt length, T new tokens.
    """
    graphdef, weights = nnx.split(model)
    end = _decode(
        graphdef, weights, prompts, lengths, max_new_tokens=max_new_tokens, stop_ids=stop_ids
    )
    return end.tokens, end.counts


@functools.partial(jax.jit, static_argnames=("graphdef", "max_new_tokens", "stop_ids"))
def _decode(
    graphdef: nnx.GraphDef,
    weights: PyTree,
    prompts: Array,
    lengths: Array,
    *,
    max_new_tokens: int,
    stop_ids: tuple[int, ...],
) -> Decoded:
    model = nnx.merge(graphdef, weights)
    batch, width = prompts.shape
    stops = jnp.asarray(stop_ids, jnp.int32)

    def choose(hidden: Array) -> Array:
        return likeliest(model.logits(hidden[:, None])[:, 0])

    def record(state: _Decoding, token: Array, cache: Cache) -> _Decoding:
        """Write the token of the rows that still run, and stop those whose token says so."""
        kept = jnp.where(state.stopped, model.config.pad_id, token)
        return _Decoding(
            made=state.made + 1,
            last=kept,
            stopped=state.stopped | jnp.any(kept[:, None] == stops[None, :], axis=1),
            tokens=lax.dynamic_update_slice_in_dim(state.tokens, kept[:, None], state.made, 1),
            counts=state.counts + (~state.stopped).astype(jnp.int32),
            cache=cache,
        )

    def goes_on(state: _Decoding) -> Array:
        return (state.made < max_new_tokens) & ~jnp.all(state.stopped)

    def body(state: _Decoding) -> _Decoding:
        position = lengths + state.made - 1
        hidden, cache = advance(model, state.cache, state.last, position, width + state.made - 1)
        return record(state, choose(hidden), cache)

    # The last token that is chosen is never run, so it needs no slot.
    hidden, cache = prefill(model, prompts, lengths, slots=width + max_new_tokens - 1)
    start = _Decoding(
        made=jnp.int32(0),
        last=jnp.zeros((batch,), jnp.int32),
        stopped=jnp.zeros((batch,), jnp.bool_),
        tokens=jnp.full((batch, max_new_tokens), model.config.pad_id, jnp.int32),
        counts=jnp.zeros((batch,), jnp.int32),
        cache=cache,
    )
    end = lax.while_loop(goes_on, body, record(start, choose(hidden), cache))
    return Decoded(tokens=end.tokens, counts=end.counts, rounds=end.made)


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
