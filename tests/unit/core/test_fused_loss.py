"""The fused loss in blocks of any size against NumPy, poisoned padding included."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from m43.core.loss import (
    Blocking,
    HeadInputs,
    HeadSettings,
    HeadSums,
    card_blocking,
    cpu_block,
    cpu_blocking,
    fused_sums,
)

ROWS, MODEL, VOCABULARY, CHUNK = 12, 6, 28, 4
WEIGHT = 0.25
WHOLE = Blocking(ids=VOCABULARY, rows=(CHUNK,))
"""Whole rows of logits: one block, and one count of rows."""
FOUR = Blocking(ids=7, rows=(1, 2, 3, 4))


def sums(
    settings: HeadSettings, inputs: HeadInputs, blocking: Blocking, *, trained: bool = True
) -> HeadSums:
    """Compile the sums once for each way to cut them."""
    return _compiled(settings, blocking, trained)(inputs)


@functools.cache
def _compiled(settings: HeadSettings, blocking: Blocking, trained: bool) -> jax.stages.Wrapped:
    return jax.jit(functools.partial(fused_sums, settings, trained=trained, blocking=blocking))


def inputs_of(count: int, seed: int, dtype: type = jnp.float32) -> HeadInputs:
    """Draw rows, of which those from `count` on are poison."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(ROWS, MODEL))
    rows[count:] = 1e30
    return HeadInputs(
        rows=jnp.asarray(rows, dtype),
        embedding=jnp.asarray(rng.normal(size=(VOCABULARY, MODEL)), dtype),
        targets=jnp.asarray(rng.integers(0, VOCABULARY, ROWS), jnp.int32),
        counted=jnp.int32(count),
        weight=jnp.float32(WEIGHT),
    )


def by_definition(
    inputs: HeadInputs, softcap: float | None
) -> tuple[float, np.ndarray, np.ndarray]:
    """Loss and both gradients in float64, the counted rows only."""
    count = int(inputs.counted)
    rows = np.asarray(inputs.rows, np.float64)[:count]
    table, targets = np.asarray(inputs.embedding, np.float64), np.asarray(inputs.targets)[:count]
    raw = rows @ table.T
    logits = raw if softcap is None else softcap * np.tanh(raw / softcap)
    share = np.exp(logits - logits.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    loss = -np.log(share[np.arange(count), targets]).sum() * WEIGHT
    share[np.arange(count), targets] -= 1
    if softcap is not None:
        share *= 1 - (logits / softcap) ** 2
    share *= WEIGHT
    d_rows = np.zeros((ROWS, MODEL))
    d_rows[:count] = share @ table
    return float(loss), d_rows, share.T @ rows


def settings(dtype: str, softcap: float | None = None, chunk: int = CHUNK) -> HeadSettings:
    """Describe the head of these tests."""
    return HeadSettings(final_softcap=softcap, compute_dtype=jnp.dtype(dtype), chunk=chunk)


@pytest.mark.parametrize("blocking", [FOUR, WHOLE, Blocking(ids=14, rows=(CHUNK,))])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("count", [1, 4, 6, 12])
def test_blocks_of_any_size_equal_the_definition(
    blocking: Blocking, softcap: float | None, count: int
) -> None:
    """For any number of counted rows; what stands in the others changes nothing."""
    inputs = inputs_of(count, seed=count)
    found = sums(settings("float32", softcap), inputs, blocking)
    loss, d_rows, d_embedding = by_definition(inputs, softcap)
    assert float(found.loss) == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(found.d_rows, d_rows, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.d_embedding, d_embedding, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("count", range(ROWS + 1))
def test_no_row_that_counts_is_left_out_of_a_quarter(count: int) -> None:
    """Of a chunk of 12, products are of 3, 6, 9 or 12 rows."""
    inputs = inputs_of(count, seed=20 + count)
    blocking = Blocking(ids=7, rows=cpu_blocking(VOCABULARY, ROWS).rows)
    found = sums(settings("float32", chunk=ROWS), inputs, blocking)
    _, d_rows, d_embedding = by_definition(inputs, None)
    np.testing.assert_allclose(found.d_rows, d_rows, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.d_embedding, d_embedding, rtol=1e-4, atol=1e-6)


def test_blocks_and_whole_rows_agree_in_bfloat16() -> None:
    """Operands are rounded alike, so that only the order of the sums differs."""
    inputs = inputs_of(9, seed=3, dtype=jnp.bfloat16)
    one, two = (sums(settings("bfloat16"), inputs, blocking) for blocking in (FOUR, WHOLE))
    assert float(one.loss) == pytest.approx(float(two.loss), rel=1e-5)
    np.testing.assert_allclose(one.d_embedding, two.d_embedding, rtol=1e-2, atol=1e-4)
    assert one.d_embedding.dtype == jnp.float32
    wide = (np.asarray(each.d_rows, np.float32) for each in (one, two))
    np.testing.assert_allclose(*wide, rtol=2e-2, atol=1e-3)


def test_an_embedding_that_is_not_trained_gets_no_gradient() -> None:
    """Its array is not made, and the rest is the same."""
    inputs = inputs_of(9, seed=4)
    found, other = (
        sums(settings("float32"), inputs, FOUR, trained=trained) for trained in (False, True)
    )
    assert found.d_embedding is None
    assert (found.d_rows == other.d_rows).all()


def test_blocks_divide_the_vocabularies_of_gemma() -> None:
    """Every id is in one block: 2B, 270M and 1B, multimodal; a prime has blocks of 1."""
    assert [cpu_block(size) for size in (256_000, 262_144, 262_208)] == [4000, 4096, 3856]
    assert cpu_block(8191) == 1


def test_a_card_has_whole_rows_of_a_frozen_embedding() -> None:
    """A trained one's gradient is made in blocks, beside the sum that is there anyway."""
    assert card_blocking(256_000, 128, trained=False) == Blocking(ids=256_000, rows=(128,))
    assert card_blocking(256_000, 128, trained=True) == Blocking(ids=32_000, rows=(128,))
