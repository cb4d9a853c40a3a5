"""The numerics check: a product, a softmax, operations one by one, and whole optimizer steps."""

import time
from statistics import NormalDist
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from m43.records import NumericsRecord
from m43.training.device import device_of
from m43.training.numerics.small_gemma import hashed
from m43.training.numerics.small_steps import finite, take_small_steps

SIZE = 256
SEED = 43


class Checked(NamedTuple):
    """What the numerics check measured, and the device that it really ran on."""

    device: str
    record: NumericsRecord


def check_numerics() -> Checked:
    """Compute on the default device, and compare with float64.

    A product of bfloat16 matrices into float32 and a float32 softmax first. The matrices are
    rounded to bfloat16 before both products, so that only the device's own arithmetic is measured.
    Their elements are positive: a sum that cancels has no relative error worth the name.
    """
    begun = time.monotonic()
    random = np.random.default_rng(SEED)
    left, right = (jnp.asarray(random.uniform(0.5, 1.5, (SIZE, SIZE)), jnp.bfloat16) for _ in "ab")
    scores = jnp.asarray(random.normal(0.0, 4.0, (SIZE, SIZE)), jnp.float32)
    product, shares = _compute(left, right, scores)
    exact_product = np.asarray(left, np.float64) @ np.asarray(right, np.float64)
    exact_scores = np.asarray(scores, np.float64)
    powers = np.exp(exact_scores - exact_scores.max(axis=-1, keepdims=True))
    exact_shares = powers / powers.sum(axis=-1, keepdims=True)
    worst = max(single_operations(), key=lambda each: each.error)
    record = NumericsRecord(
        product_relative_error=_error(product, exact_product, np.abs(exact_product)),
        softmax_relative_error=_error(shares, exact_shares, np.abs(exact_shares)),
        operation_relative_error=worst.error,
        operation_worst=worst.name,
        steps=take_small_steps(),
        duration_s=time.monotonic() - begun,
    )
    return Checked(device_of(product), record)


@jax.jit
def _compute(left: jax.Array, right: jax.Array, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    product = jnp.matmul(left, right, preferred_element_type=jnp.float32)
    return product, jax.nn.softmax(scores, axis=-1)


class Operation(NamedTuple):
    """A single operation, or a few, and their error relative to the largest exact value."""

    name: str
    error: float


def single_operations() -> tuple[Operation, ...]:
    """Compute a root, a sum and random numbers, each operation compiled and run by itself.

    jax 0.11.0 and 0.11.1 on an RTX A6000 gave sqrt(512) = 0, ones(4) + 1 = 513 right behind it and
    NaN for normal numbers this way, and right numbers on a CPU and where all was compiled as one;
    a compiled training was right for one step and NaN from the second on, which is why
    `small_steps` takes two.

    The random numbers are not `jax.random`'s, whose bits may change from version to version: a hash
    of the index, scaled to [0, 1) and bent to a normal distribution as it does.

    Source: JAX issue 40633; Giles 2010, Approximating the erfinv function, as in XLA's erf_inv.
    """
    name, count = "single operations", 1000
    with jax.disable_jit():
        root = jnp.sqrt(jnp.float32(512.0))
        two = jnp.ones(4, jnp.float32) + 1.0
        bits = hashed(jnp.arange(count, dtype=jnp.uint32), name)
        one_to_two = lax.bitcast_convert_type(bits >> 9 | jnp.uint32(0x3F800000), jnp.float32)
        uniform = one_to_two - 1.0
        normal = lax.erf_inv(uniform * 2.0 - 1.0) * jnp.float32(np.sqrt(2.0))
    exact_bits = hashed(np.arange(count, dtype=np.uint32), name)
    exact_uniform = (exact_bits >> 9) / 2.0**23
    exact_normal = np.array([NormalDist().inv_cdf(share) for share in exact_uniform])
    compared = {
        "sqrt(512)": (root, np.sqrt(512.0)),
        "ones(4) + 1": (two, np.full(4, 2.0)),
        "hashed bits": (bits, exact_bits.astype(np.float64)),
        "uniform numbers": (uniform, exact_uniform),
        "normal numbers": (normal, exact_normal),
    }
    return tuple(
        Operation(name, _error(found, exact, np.max(np.abs(exact))))
        for name, (found, exact) in compared.items()
    )


def _error(found: jax.Array, exact: np.ndarray, scale: np.ndarray) -> float:
    return finite(float(np.max(np.abs(np.asarray(found, np.float64) - exact) / scale)))
