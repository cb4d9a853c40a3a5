"""The gate of the feed-forward equals its plain definition, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from m43.core.layer import geglu


def plain(gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Compute the tanh form in float64."""
    inner = np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)
    return 0.5 * gate * (1 + np.tanh(inner)) * up


def drawn(dtype: type) -> tuple[jax.Array, jax.Array]:
    """Draw two operands; a third of them large, where the tanh is flat."""
    random = np.random.default_rng(5)
    values = random.normal(0.0, 2.0, (2, 1, 4, 32)) * random.choice([1, 1, 5], (2, 1, 4, 32))
    return jnp.asarray(values[0], dtype), jnp.asarray(values[1], dtype)


def test_the_value_is_the_definition_in_float64() -> None:
    """To the last digits of float32."""
    gate, up = drawn(jnp.float32)
    expected = plain(np.asarray(gate, np.float64), np.asarray(up, np.float64))
    np.testing.assert_allclose(geglu(gate, up), expected, rtol=1e-5, atol=1e-5)


def test_the_gradients_are_the_slopes_of_the_definition() -> None:
    """By central differences of the float64 definition."""
    gate, up = drawn(jnp.float32)
    weight = jnp.asarray(np.random.default_rng(6).normal(size=gate.shape), jnp.float32)
    found = jax.grad(lambda g, u: jnp.sum(geglu(g, u) * weight), argnums=(0, 1))(gate, up)
    g64, u64, w64 = (np.asarray(array, np.float64) for array in (gate, up, weight))
    step = 1e-5
    d_gate = (plain(g64 + step, u64) - plain(g64 - step, u64)) / (2 * step) * w64
    d_up = (plain(g64, u64 + step) - plain(g64, u64 - step)) / (2 * step) * w64
    np.testing.assert_allclose(found[0], d_gate, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[1], d_up, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "stored"), [(jnp.bfloat16, jnp.uint16), (jnp.float32, jnp.float32)]
)
def test_what_is_kept_are_the_operands_in_their_own_size(dtype: type, stored: type) -> None:
    """Nothing of the tanh, nothing in float32 that came in bfloat16, and that as its bits."""
    gate, up = drawn(dtype)
    value, pull = jax.vjp(geglu, gate, up)
    kept = [leaf for leaf in jax.tree.leaves(pull) if getattr(leaf, "shape", None) == gate.shape]
    assert value.dtype == dtype
    assert [leaf.dtype for leaf in kept] == [jnp.dtype(stored)] * 2
    assert [part.dtype for part in pull(value)] == [jnp.dtype(dtype)] * 2


def test_in_bfloat16_the_sums_are_rounded_once() -> None:
    """The value is the float32 one of the rounded operands, rounded."""
    gate, up = drawn(jnp.bfloat16)
    wide = geglu(gate.astype(jnp.float32), up.astype(jnp.float32))
    np.testing.assert_array_equal(geglu(gate, up), wide.astype(jnp.bfloat16))
