"""Root-mean-square normalisation against NumPy float64."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from m43.core.attention import rms_norm

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
