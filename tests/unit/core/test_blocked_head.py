"""The head in blocks against whole rows of logits and against NumPy, poisoned padding included."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from m43.core import blocked_head
from m43.core.blocked_head import HeadInputs, HeadSettings, HeadSums, block_size, blocked_sums
from m43.core.loss import whole_sums

ROWS, MODEL, VOCABULARY, BLOCK, CHUNK = 12, 6, 28, 7, 4
WEIGHT = 0.25


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the vocabulary of these tests into four blocks."""
    monkeypatch.setattr(blocked_head, "LARGEST_BLOCK", BLOCK)


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


@pytest.mark.parametrize("way", [blocked_sums, whole_sums])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("count", [1, 4, 6, 12])
def test_both_ways_equal_the_definition(way: object, softcap: float | None, count: int) -> None:
    """For any number of counted rows; what stands in the others changes nothing."""
    inputs = inputs_of(count, seed=count)
    found: HeadSums = jax.jit(functools.partial(way, settings("float32", softcap), wanted=True))(
        inputs
    )
    loss, d_rows, d_embedding = by_definition(inputs, softcap)
    assert float(found.loss) == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(found.d_rows, d_rows, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.d_embedding, d_embedding, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("count", range(ROWS + 1))
def test_no_row_that_counts_is_left_out_of_a_quarter(count: int) -> None:
    """Of a chunk of 12, products are of 3, 6, 9 or 12 rows."""
    inputs = inputs_of(count, seed=20 + count)
    found = blocked_sums(settings("float32", chunk=ROWS), inputs, wanted=True)
    _, d_rows, d_embedding = by_definition(inputs, None)
    np.testing.assert_allclose(found.d_rows, d_rows, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.d_embedding, d_embedding, rtol=1e-4, atol=1e-6)


def test_both_ways_agree_in_bfloat16() -> None:
    """Operands are rounded alike, so that only the order of the sums differs."""
    inputs = inputs_of(9, seed=3, dtype=jnp.bfloat16)
    one, two = (
        way(settings("bfloat16"), inputs, wanted=True) for way in (blocked_sums, whole_sums)
    )
    assert float(one.loss) == pytest.approx(float(two.loss), rel=1e-5)
    np.testing.assert_allclose(one.d_embedding, two.d_embedding, rtol=1e-2, atol=1e-4)
    assert one.d_embedding.dtype == jnp.float32
    wide = (np.asarray(each.d_rows, np.float32) for each in (one, two))
    np.testing.assert_allclose(*wide, rtol=2e-2, atol=1e-3)


def test_an_embedding_that_is_not_trained_gets_no_gradient() -> None:
    """Its array is not made, and the rest is the same."""
    inputs = inputs_of(9, seed=4)
    found, other = (blocked_sums(settings("float32"), inputs, wanted=one) for one in (False, True))
    assert found.d_embedding is None
    assert (found.d_rows == other.d_rows).all()


def test_blocks_divide_the_vocabularies_of_gemma(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every id is in one block: 2B, 270M and 1B, multimodal; a prime has blocks of 1."""
    monkeypatch.undo()
    assert [block_size(size) for size in (256_000, 262_144, 262_208)] == [4000, 4096, 3856]
    assert block_size(8191) == 1
