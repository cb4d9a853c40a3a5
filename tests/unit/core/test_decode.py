"""Greedy decoding with a cache against running everything again for every token."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from m43.core import decode as core_decode
from m43.core import loss as core_loss
from m43.core.config import GemmaConfig
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
    """Decode host arrays; stop ids that no token has fill up to one number, compiled once."""
    tokens, counts = greedy_decode(
        model,
        jnp.asarray(prompts),
        jnp.asarray(lengths),
        max_new_tokens=NEW,
        stop_ids=filled(model, stop_ids),
    )
    return np.asarray(tokens), np.asarray(counts)


def filled(model: Gemma, stop_ids: tuple[int, ...]) -> tuple[int, ...]:
    """Fill stop ids up to as many as there are tokens."""
    return (*stop_ids, *[-1] * (model.config.vocab_size - len(stop_ids)))


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
    # Two widths to be compiled: of the longest row its own, of the others the middle one's.
    for row, width in enumerate((LENGTHS[0], LENGTHS[1], LENGTHS[1])):
        alone, _ = decode(model, prompts[row : row + 1, :width], lengths[row : row + 1])
        assert alone[0].tolist() == together[row].tolist()
    padded = np.where(np.arange(prompts.shape[1]) < lengths[:, None], prompts, 9)
    assert decode(model, padded, lengths)[0].tolist() == together.tolist()


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
        jnp.arange(golden.config.vocab_size, dtype=jnp.int32),
        max_new_tokens=NEW,
    )
    assert (int(end.rounds), end.counts.tolist()) == (1, [1, 1, 1])


def test_rows_that_have_stopped_are_left_out_and_nobody_notices(
    golden: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight rows, halved thrice as they stop: each says what it says alone, in its own place."""
    monkeypatch.setattr(core_decode, "FEWEST_ROWS", 1)
    monkeypatch.setattr(core_decode, "LEAST_PRODUCTS", 0)
    prompts, lengths = prompts_of(golden)
    order = [2, 0, 1, 0, 2, 1, 0, 2]
    new = NEW - 2  # no other test compiles this one
    free, _ = decode(golden.float32, prompts, lengths)
    stops = (int(free[0, 1]), int(free[1, 4]))
    tokens, counts = greedy_decode(
        golden.float32,
        jnp.asarray(prompts[order]),
        jnp.asarray(lengths[order]),
        max_new_tokens=new,
        stop_ids=stops,
    )
    ends = [np.flatnonzero(np.isin(row[:new], stops)) for row in free]
    expected = [int(end[0]) + 1 if end.size else new for end in ends]
    assert len(set(expected)) > 1
    for place, row in enumerate(order):
        count = expected[row]
        assert counts[place] == count
        assert tokens[place].tolist() == [*free[row, :count], *[0] * (new - count)]


def test_a_batch_is_halved_only_where_that_is_worth_its_compilation(
    golden: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A toy is one loop; with as many products as it makes for a limit, eight rows are four."""
    monkeypatch.setattr(core_decode, "FEWEST_ROWS", 1)
    prompts, lengths = prompts_of(golden)
    graphdef, weights = nnx.split(golden.float32)
    products = 8 * sum(leaf.size for leaf in jax.tree.leaves(weights))
    loops = {}
    # Another number of tokens each time, or the trace of before would be taken.
    for limit, new in (("default", 2), ("just met", 3), ("just missed", 4)):
        if limit != "default":
            least = products * new + (limit == "just missed")
            monkeypatch.setattr(core_decode, "LEAST_PRODUCTS", least)
        lowered = _decode.lower(
            graphdef,
            weights,
            jnp.asarray(prompts[[0] * 8]),
            jnp.asarray(lengths[[0] * 8]),
            jnp.asarray([1]),
            max_new_tokens=new,
        )
        loops[limit] = lowered.as_text().count("stablehlo.while")
    assert loops["default"] == loops["just missed"] < loops["just met"]


@pytest.mark.parametrize("softcap", [None, 0.5])
def test_the_likeliest_in_blocks_is_the_likeliest(
    make_model: Callable[..., Gemma],
    make_config: Callable[..., GemmaConfig],
    monkeypatch: pytest.MonkeyPatch,
    softcap: float | None,
) -> None:
    """Ties over several blocks, logits that are not numbers, rows without any finite logit."""
    monkeypatch.setattr(core_loss, "CPU_BLOCK", 8)
    model = make_model(make_config(final_softcap=softcap))
    table = np.asarray(model.embedding[...]).copy()
    table[[3, 11, 30]] = 5.0
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=(20, table.shape[1])).astype(np.float32)
    hidden[3], hidden[4, 0], hidden[5, 0] = 1.0, np.nan, -np.inf
    for poisoned in (False, True):
        if poisoned:
            table[17] = np.nan
        model.embedding[...] = jnp.asarray(table)
        logits = model.logits(jnp.asarray(hidden)[:, None])[:, 0]
        found = core_decode.likeliest_token(model, jnp.asarray(hidden))
        assert found.tolist() == jnp.argmax(logits, axis=-1).tolist()
        assert not poisoned or int(found[0]) == 17
    assert int(jnp.argmax(logits[3])) == 17


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
