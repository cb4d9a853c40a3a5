"""The canary: two small computations whose right results are known, run on the real device."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from m43.training.device import device_of

SIZE = 256
SEED = 43


@dataclass(frozen=True, kw_only=True)
class CanaryResult:
    """Where the canary ran and how wrong it was; errors are relative, the largest of all."""

    device: str
    product_relative_error: float
    softmax_relative_error: float


def run_canary() -> CanaryResult:
    """Multiply bfloat16 matrices into float32 and take a float32 softmax; compare with float64.

    The matrices are rounded to bfloat16 before both products, so that only the device's own
    arithmetic is measured. Their elements are positive: a sum that cancels has no relative error
    worth the name.
    """
    random = np.random.default_rng(SEED)
    left, right = (jnp.asarray(random.uniform(0.5, 1.5, (SIZE, SIZE)), jnp.bfloat16) for _ in "ab")
    scores = jnp.asarray(random.normal(0.0, 4.0, (SIZE, SIZE)), jnp.float32)
    product, shares = _compute(left, right, scores)
    exact_scores = np.asarray(scores, np.float64)
    powers = np.exp(exact_scores - exact_scores.max(axis=-1, keepdims=True))
    return CanaryResult(
        device=device_of(product),
        product_relative_error=_error(
            product, np.asarray(left, np.float64) @ np.asarray(right, np.float64)
        ),
        softmax_relative_error=_error(shares, powers / powers.sum(axis=-1, keepdims=True)),
    )


@jax.jit
def _compute(left: jax.Array, right: jax.Array, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    product = jnp.matmul(left, right, preferred_element_type=jnp.float32)
    return product, jax.nn.softmax(scores, axis=-1)


def _error(found: jax.Array, exact: np.ndarray) -> float:
    error = float(np.max(np.abs(np.asarray(found, np.float64) - exact) / np.abs(exact)))
    # JSON has no infinity; a result that is not a number is as wrong as one can be.
    return error if np.isfinite(error) else float(np.finfo(np.float64).max)
