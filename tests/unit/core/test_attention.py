"""Attention's parts against NumPy: norm, rotation, masks, and one token behind a past."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from m43.core.attention import UNLIMITED, Attention, Past, may_attend, rms_norm, rotate, rotation
from m43.core.config import GemmaConfig
from m43.core.linear import NewWeights

VALUES = arrays(np.float32, (3, 4), elements=st.floats(-1e3, 1e3, width=32))


@settings(max_examples=20, deadline=None)
@given(inputs=VALUES, weight=arrays(np.float32, 4, elements=st.floats(-2, 2, width=32)))
def test_norm_equals_its_definition(inputs: np.ndarray, weight: np.ndarray) -> None:
    """X / sqrt(mean(x^2) + eps) * (1 + w), whatever the numbers."""
    x, w = inputs.astype(np.float64), weight.astype(np.float64)
    expected = x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6) * (1 + w)
    found = rms_norm(jnp.asarray(inputs), jnp.asarray(weight), 1e-6)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_norm_of_bfloat16_is_computed_in_float32() -> None:
    """257 squares of 1/16 add up to more than bfloat16 could hold; the result is not rounded."""
    inputs = jnp.full((1, 257), 0.0625, jnp.bfloat16)
    found = rms_norm(inputs, jnp.zeros(257, jnp.bfloat16), 0.0)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, 1.0, rtol=1e-6)


HEAD_DIM = 8


def rotated(heads: np.ndarray, positions: list[int], theta: float = 1e4) -> np.ndarray:
    """Rotate [L, H] as one row with one head."""
    by = rotation(jnp.asarray([positions], jnp.int32), heads.shape[-1], theta)
    return np.asarray(rotate(jnp.asarray(heads[None, :, None, :], jnp.float32), by))[0, :, 0]


def test_rotation_multiplies_complex_pairs() -> None:
    """The pair (i, i + H/2) is a complex number turned by position * theta ** (-2i / H)."""
    heads = np.random.default_rng(0).normal(size=(3, HEAD_DIM))
    positions = [0, 5, 8191]
    halves = heads[:, : HEAD_DIM // 2] + 1j * heads[:, HEAD_DIM // 2 :]
    frequencies = 1e4 ** (-2 * np.arange(HEAD_DIM // 2) / HEAD_DIM)
    turned = halves * np.exp(1j * np.outer(positions, frequencies))
    expected = np.concatenate([turned.real, turned.imag], axis=-1)
    # At 8191 one unit in the last place of an angle is 5e-4.
    np.testing.assert_allclose(rotated(heads, positions), expected, atol=2e-3)
    np.testing.assert_allclose(rotated(heads, positions)[:2], expected[:2], atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.sampled_from([1e4, 1e6]))
def test_scores_depend_on_distance_only(query: int, key: int, shift: int, theta: float) -> None:
    """A query and a key that move together keep their product."""
    heads = np.random.default_rng(1).normal(size=(2, HEAD_DIM))
    here = rotated(heads, [query, key], theta)
    there = rotated(heads, [query + shift, key + shift], theta)
    np.testing.assert_allclose(here[0] @ here[1], there[0] @ there[1], atol=2e-3)


PAIRS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=6, max_size=6)


def mask_of(queries: list, keys: list, window: int) -> list:
    """Call with one row of (position, segment) pairs."""
    (query_positions, query_segments), (key_positions, key_segments) = (
        [jnp.asarray([column], jnp.int32) for column in zip(*row, strict=True)]
        for row in (queries, keys)
    )
    found = may_attend(
        query_positions, query_segments, key_positions, key_segments, jnp.int32(window)
    )
    return np.asarray(found)[0].tolist()


def test_a_window_of_two_sees_itself_and_the_one_before() -> None:
    """The example of the docstring."""
    row = [(0, 1), (1, 1), (2, 1)]
    assert mask_of(row, row, 2) == [[True, False, False], [True, True, False], [False, True, True]]


@settings(max_examples=40, deadline=None)
@given(queries=PAIRS, keys=PAIRS, window=st.sampled_from([1, 2, 5, UNLIMITED]))
def test_mask_equals_the_rule(queries: list, keys: list, window: int) -> None:
    """Same segment, not padding, not later, and nearer than the window; order does not matter."""
    expected = [
        [
            query_segment == key_segment != 0 and 0 <= query - key < window
            for key, key_segment in keys
        ]
        for query, query_segment in queries
    ]
    assert mask_of(queries, keys, window) == expected


ROWS, SLOTS = 3, 7
POISON = 1e4
"""Far from every real key and value, and small enough that its scores stay finite."""


def drawn(config: GemmaConfig, dtype: type, seed: int) -> tuple[Attention, list[np.ndarray]]:
    """Draw an attention, and query, past keys and values, mask, key and value."""
    new = NewWeights(
        rngs=nnx.Rngs(seed), param_dtype=jnp.dtype("float32"), compute_dtype=jnp.dtype(dtype)
    )
    attention = Attention(config, new)
    random = np.random.default_rng(seed)
    heads, size = config.kv_heads, config.head_dim
    shapes = [
        (ROWS, 1, config.q_heads, size),
        *[(ROWS, SLOTS, heads, size)] * 2,
        *[(ROWS, 1, heads, size)] * 2,
    ]
    query, keys, values, key, value = (random.normal(size=shape) for shape in shapes)
    mask = random.random((ROWS, 1, SLOTS)) < 0.6
    # The first row's past is empty: it sees itself alone.
    mask[0] = False
    keys[~mask[:, 0]] = POISON
    values[~mask[:, 0]] = -POISON
    return attention, [query, keys, values, mask, key, value]


def by_definition(attention: Attention, arrays: list[np.ndarray]) -> np.ndarray:
    """Weigh row by row and head by head, over the visible slots and the token itself."""
    query, keys, values, mask, key, value = arrays
    config = attention.config
    groups = config.q_heads // config.kv_heads
    mixed = np.zeros((ROWS, config.q_heads, config.head_dim))
    for row in range(ROWS):
        for head in range(config.q_heads):
            of = head // groups
            seen = mask[row, 0]
            known = np.concatenate([keys[row, seen, of], key[row, :, of]])
            held = np.concatenate([values[row, seen, of], value[row, :, of]])
            scores = known @ query[row, 0, head] * config.query_scale
            if config.attention_softcap is not None:
                scores = np.tanh(scores / config.attention_softcap) * config.attention_softcap
            share = np.exp(scores - scores.max())
            mixed[row, head] = share / share.sum() @ held
    weight = np.asarray(attention.output.weight[...], np.float64)
    return (mixed.reshape(ROWS, 1, -1) @ weight.T).astype(np.float32)


def mixed_one(attention: Attention, arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    """Run `attend_one_token` on host arrays."""
    query, keys, values, mask, key, value = arrays
    past = Past(
        keys=jnp.asarray(keys, dtype),
        values=jnp.asarray(np.moveaxis(values, 1, 3), dtype),
        mask=jnp.asarray(mask),
    )
    own = (jnp.asarray(array, dtype) for array in (key, value))
    return np.asarray(attention.attend_one_token(jnp.asarray(query, dtype), past, *own))


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_token_behind_a_past_equals_the_definition(
    softcap: float | None, seed: int, make_config: Callable[..., GemmaConfig]
) -> None:
    """What stands in the slots that it must not see changes nothing."""
    config = make_config(q_heads=4, kv_heads=2, attention_softcap=softcap)
    attention, arrays = drawn(config, jnp.float32, seed)
    found = mixed_one(attention, arrays, jnp.float32)
    np.testing.assert_allclose(found, by_definition(attention, arrays), rtol=1e-4, atol=1e-5)


def test_one_token_behind_a_past_is_the_last_token_of_all(
    make_config: Callable[..., GemmaConfig],
) -> None:
    """In bfloat16 too: operands are rounded as `attend` rounds them, sums differ in their order."""
    attention, arrays = drawn(make_config(q_heads=4, kv_heads=2), jnp.bfloat16, seed=4)
    query, keys, values, mask, key, value = arrays
    whole = attention.attend(
        *(
            jnp.asarray(array, jnp.bfloat16)
            for array in (
                query,
                np.concatenate([keys, key], axis=1),
                np.concatenate([values, value], axis=1),
            )
        ),
        jnp.asarray(np.concatenate([mask, np.ones((ROWS, 1, 1), bool)], axis=2)),
    )
    found = mixed_one(attention, arrays, jnp.bfloat16)
    np.testing.assert_allclose(found, whole, rtol=1e-2, atol=1e-3)
