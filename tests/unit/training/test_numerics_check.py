"""The canary notices wrong numbers."""

import jax.numpy as jnp
import numpy as np
import pytest

from m43.training import device


def test_this_device_passes() -> None:
    """Far inside the contract's limits, and not exactly right by accident."""
    result = device.check_numerics()

    assert result.device == "cpu:cpu"
    assert 0 < result.product_relative_error < 1e-5
    assert 0 < result.softmax_relative_error < 1e-4


@pytest.mark.parametrize(
    ("spoil", "product", "softmax"),
    [
        (lambda a, b: (a.at[3, 4].multiply(1.02), b), True, False),
        (lambda a, b: (a.astype(jnp.bfloat16).astype(jnp.float32) * 1.01, b), True, False),
        (lambda a, b: (a, b.at[0, 0].multiply(1.001)), False, True),
        (lambda a, b: (a.at[0, 0].set(jnp.nan), b.at[9, 9].set(jnp.inf)), True, True),
    ],
)
def test_one_wrong_element_is_enough(
    monkeypatch: pytest.MonkeyPatch, spoil: object, product: bool, softmax: bool
) -> None:
    """The largest error counts, so a single bad element breaks the promise."""
    compute = device._compute
    monkeypatch.setattr(device, "_compute", lambda *inputs: spoil(*compute(*inputs)))

    result = device.check_numerics()

    assert (result.product_relative_error >= 0.01) == product
    assert (result.softmax_relative_error >= 0.0001) == softmax
    assert np.isfinite([result.product_relative_error, result.softmax_relative_error]).all()
