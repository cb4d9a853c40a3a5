"""Greedy decoding with a cache against running everything again for every token."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from m43.core.decode import _decode, greedy_decode, likeliest
from m43.core.gemma import Gemma

NEW = 9
LENGTHS = (12, 5, 1)
"""With NEW more the longest and the middle row pass the window of 8."""


def prompts_of(golden: Any) -> tuple[np.ndarray, np.ndarray]:
    """Cut three prompts of different lengths out of the golden tokens."""
    prompts = np.zeros((3, max(LENGTHS)), np.int32)
    for row, length in enumerate(LENGTHS):
        prompts[row, :length] = golden.tokens[0, row : row + length]
    return prompts, np.asarray(LENGTHS, np.int32)


def decode(
    model: Gemma, prompts: np.ndarray, lengths: np.ndarray, stop_ids: tuple[int, ...] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Decode host arrays."""
    tokens, counts = greedy_decode(
        model,
        jnp.asarray(prompts),
        jnp.asarray(lengths),
        max_new_tokens=NEW,
        stop_ids=stop_ids,
    )
    return np.asarray(tokens), np.asarray(counts)


def decode_without_cache(
    model: Gemma, prompt: np.ndarray, logits_of: Callable[..., np.ndarray]
) -> list[int]:
    """Run the whole row again for every token."""
    width = max(LENGTHS) + NEW
    row, length = np.zeros((1, width), np.int32), len(prompt)
    row[0, :length] = prompt
    positions = np.arange(width)[None]
    for here in range(length, length + NEW):
        logits = logits_of(model, row, positions, positions < here)
        row[0, here] = logits[0, here - 1].argmax()
    return row[0, length : length + NEW].tolist()


def test_cached_decoding_equals_running_everything_again(
    golden: Any, logits_of: Callable[..., np.ndarray]
) -> None:
    """Token for token, for every family, for rows of different lengths, past the window."""
    prompts, lengths = prompts_of(golden)
    tokens, counts = decode(golden.float32, prompts, lengths)
    expected = [
        decode_without_cache(golden.float32, prompt[:length], logits_of)
        for prompt, length in zip(prompts, lengths, strict=True)
    ]
    assert tokens.tolist() == expected
    assert counts.tolist() == [NEW] * 3
    # Rows that repeat one token would pass with a broken cache as well.
    assert min(len(set(row)) for row in expected) > 1


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_row_depends_neither_on_padding_nor_on_company(golden: Any, precision: str) -> None:
    """Batched, alone, and with other padding: the same tokens."""
    model = getattr(golden, precision)
    prompts, lengths = prompts_of(golden)
    together, _ = decode(model, prompts, lengths)
    for row, length in enumerate(LENGTHS):
        alone, _ = decode(model, prompts[row : row + 1, :length], lengths[row : row + 1])
        assert alone[0].tolist() == together[row].tolist()
    filled = np.where(np.arange(prompts.shape[1]) < lengths[:, None], prompts, 9)
    assert decode(model, filled, lengths)[0].tolist() == together.tolist()


def test_a_row_ends_with_its_stop_id(golden: Any) -> None:
    """The stop id is kept and counted, the rest is padding, other rows go on."""
    prompts, lengths = prompts_of(golden)
    free, _ = decode(golden.float32, prompts, lengths)
    stop = int(free[0, 3])
    tokens, counts = decode(golden.float32, prompts, lengths, stop_ids=(stop,))
    for row in range(len(LENGTHS)):
        hits = np.flatnonzero(free[row] == stop)
        count = int(hits[0]) + 1 if hits.size else NEW
        assert counts[row] == count
        assert tokens[row].tolist() == [*free[row, :count], *[0] * (NEW - count)]
    assert counts[0] <= 4


def test_the_loop_ends_when_all_rows_have_stopped(golden: Any) -> None:
    """When every id stops a row, one round is made, not nine."""
    prompts, lengths = prompts_of(golden)
    graphdef, weights = nnx.split(golden.float32)
    end = _decode(
        graphdef,
        weights,
        jnp.asarray(prompts),
        jnp.asarray(lengths),
        max_new_tokens=NEW,
        stop_ids=tuple(range(golden.config.vocab_size)),
    )
    assert (int(end.rounds), end.counts.tolist()) == (1, [1, 1, 1])


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.just(3), st.integers(1, 9)),
        elements=st.sampled_from([-np.inf, -1.0, 0.0, 2.0, np.nan]),
    )
)
def test_likeliest_is_argmax(logits: np.ndarray) -> None:
    """For any row, ties and NaN included, whether the blocks divide it or not."""
    found = likeliest(jnp.asarray(logits), block=4)
    assert found.tolist() == jnp.argmax(jnp.asarray(logits), axis=-1).tolist()
