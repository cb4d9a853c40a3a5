"""The rotation of queries and keys against complex numbers in float64."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from m43.core.attention import rotate, rotation

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
