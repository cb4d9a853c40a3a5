"""Attention of one token behind a past, against NumPy in float64."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from m43.core.attention import Attention, Past
from m43.core.config import GemmaConfig

ROWS, SLOTS = 3, 7
POISON = 1e4
"""Far from every real key and value, and small enough that its scores stay finite."""


def drawn(config: GemmaConfig, dtype: type, seed: int) -> tuple[Attention, list[np.ndarray]]:
    """Draw an attention, and query, past keys and values, mask, key and value."""
    attention = Attention(
        config,
        rngs=nnx.Rngs(seed),
        param_dtype=jnp.dtype("float32"),
        compute_dtype=jnp.dtype(dtype),
    )
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
