"""The KV cache: keys and values of every layer, kept while a completion is decoded."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Shaped

from m43.core.attention import Past, may_attend
from m43.core.gemma import Gemma, LayerView, Rotations
from m43.core.layer import Layer
from m43.core.numerics import bitcast_bf16, bitcast_like, register_pytree


@register_pytree
@dataclass(frozen=True, kw_only=True)
class Cache:
    """S slots per row; a slot of segment 0 is empty.

    Keys and values are stored bitcast (`bitcast_bf16`). A step reads one layer after the other
    and writes all layers at once: written layer by layer, the CPU would copy everything each time.
    For the order of the values' axes see `Past`.

    Shapes: layers, B rows, S slots, K key heads, H head size.
    """

    keys: Shaped[Array, "layers B S K H"]
    values: Shaped[Array, "layers B K H S"]
    positions: Int[Array, "B S"]
    segments: Int[Array, "B S"]


def prefill(
    model: Gemma,
    tokens: Int[Array, "B P"],
    lengths: Int[Array, " B"],
    *,
    slots: int,
) -> tuple[Float[Array, "B D"], Cache]:
    """Run right-padded prompts and return the hidden state of their last tokens, and the cache.

    Shapes: B rows, P padded prompt length.
    """
    batch, width = tokens.shape
    positions = jnp.broadcast_to(jnp.arange(width, dtype=jnp.int32)[None, :], (batch, width))
    segments = (positions < lengths[:, None]).astype(jnp.int32)
    rotations = Rotations.at(positions, model.config)

    def body(layer: Layer, view: LayerView, stream: Array) -> tuple[Array, tuple[Array, Array]]:
        query, key, value = layer.qkv(stream, rotations.of(view))
        mask = may_attend(positions, segments, positions, segments, view.window)
        return layer.finish(stream, query, key, value, mask), bitcast_bf16(
            (key, _slots_last(value))
        )

    stream, (keys, values) = model.scan_layers(body, model.embed(tokens)[0], differentiable=False)
    last = jnp.take_along_axis(stream, (lengths - 1)[:, None, None], axis=1)
    empty = slots - width
    cache = Cache(
        keys=jnp.pad(keys, ((0, 0), (0, 0), (0, empty), (0, 0), (0, 0))),
        values=jnp.pad(values, ((0, 0), (0, 0), (0, 0), (0, 0), (0, empty))),
        positions=jnp.pad(positions, ((0, 0), (0, empty))),
        segments=jnp.pad(segments, ((0, 0), (0, empty))),
    )
    return model.finish(last)[:, 0], cache


def advance(
    model: Gemma,
    cache: Cache,
    tokens: Int[Array, " B"],
    positions: Int[Array, " B"],
    slot: Int[Array, ""],
) -> tuple[Float[Array, "B D"], Cache]:
    """Run one token per row, write it into a slot, and return its hidden state.

    All rows use one slot, whatever their lengths, so that the write is a slice: what a row sees
    follows from the positions and segments of the slots, not from their order.
    """
    here = positions[:, None]
    real = jnp.ones_like(here)
    rotations = Rotations.at(here, model.config)

    def body(layer: Layer, view: LayerView, stream: Array) -> tuple[Array, tuple[Array, Array]]:
        query, key, value = layer.qkv(stream, rotations.of(view))
        past = Past(
            keys=bitcast_like(cache.keys[view.index], key),
            values=bitcast_like(cache.values[view.index], value),
            mask=may_attend(here, real, cache.positions, cache.segments, view.window),
        )
        stream = layer.finish_one_token(stream, query, past, key, value)
        return stream, bitcast_bf16((key, _slots_last(value)))

    stream, (keys, values) = model.scan_layers(
        body, model.embed(tokens[:, None])[0], differentiable=False
    )
    grown = Cache(
        keys=_put(cache.keys, keys, slot, axis=2),
        values=_put(cache.values, values, slot, axis=4),
        positions=_put(cache.positions, here, slot, axis=1),
        segments=_put(cache.segments, real, slot, axis=1),
    )
    return model.finish(stream)[:, 0], grown


def take_rows(cache: Cache, rows: Int[Array, " R"]) -> Cache:
    """Gather some rows of a cache, in the order that is given."""
    return Cache(
        keys=jnp.take(cache.keys, rows, axis=1),
        values=jnp.take(cache.values, rows, axis=1),
        positions=jnp.take(cache.positions, rows, axis=0),
        segments=jnp.take(cache.segments, rows, axis=0),
    )


def _put(whole: Shaped[Array, "..."], part: Shaped[Array, "..."], start: Array, axis: int) -> Array:
    return lax.dynamic_update_slice_in_dim(whole, part, start, axis=axis)


def _slots_last(values: Float[Array, "B S K H"]) -> Float[Array, "B K H S"]:
    return jnp.transpose(values, (0, 2, 3, 1))
