"""The limits of the device that is here: what it has free, and how fast it multiplies and reads."""

import functools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from m43.plan_record import Limits
from m43.training.device import device_name, free_host_bytes, memory_bytes
from m43.training.target import target_of

_TRIES = 5
# A product of some milliseconds: long against starting it, short against anybody's patience.
_SIDE = {"cpu": 1024, "gpu": 8192}
_COPIED_BYTES = {"cpu": 1 << 26, "gpu": 1 << 30}
# Source: the bar of m43's own benchmark on a CPU, at 4 x 256 tokens.
_SUSTAINED_SHARE = 0.7


def measure_limits(clock: Callable[[], float] = time.perf_counter) -> Limits:
    """Measure the default device, in this process, as it is now.

    The figures of a card that m43 knows are its maker's: a card is not always at full clock.
    """
    device = jax.devices()[0]
    free = free_host_bytes() if device.platform == "cpu" else memory_bytes(device)
    known = target_of(device.device_kind)
    if known is not None:
        return Limits(
            device=device_name(device),
            memory_bytes=free,
            flops_per_s=known.flops_per_s,
            bytes_per_s=known.bytes_per_s,
            sustained_share=known.sustained_share,
            source=known.source,
        )
    side = _SIDE.get(device.platform, _SIDE["gpu"])
    copied = _COPIED_BYTES.get(device.platform, _COPIED_BYTES["gpu"])
    return Limits(
        device=device_name(device),
        memory_bytes=free,
        flops_per_s=2 * side**3 / _best_s(_product, _square(side), clock),
        bytes_per_s=2 * copied / _best_s(_add_one, jnp.zeros(copied // 4), clock),
        sustained_share=_SUSTAINED_SHARE,
        source=f"measured when the plan was made: a bfloat16 product of {side} x {side}, "
        f"and {copied >> 20} MiB read and written, the best of {_TRIES}",
    )


def _square(side: int) -> jax.Array:
    return jnp.ones((side, side), jnp.bfloat16)


@jax.jit
def _product(values: jax.Array) -> jax.Array:
    # The contracted axis last in both: the form that every backend has a fast path for. The result
    # goes into the next product, small again: ones would grow.
    product = jnp.einsum("ik,jk->ij", values, values, preferred_element_type=jnp.float32)
    return (product * (1.0 / values.shape[0])).astype(values.dtype)


# Donated: the pages of a new array would be what is measured.
@functools.partial(jax.jit, donate_argnums=0)
def _add_one(values: jax.Array) -> jax.Array:
    return values + 1.0


def _best_s(
    work: Callable[[jax.Array], jax.Array], values: jax.Array, clock: Callable[[], float]
) -> float:
    """Time some work on its own result; the first call, which compiles, does not count."""
    values = jax.block_until_ready(work(values))
    times = []
    for _ in range(_TRIES):
        begun = clock()
        values = jax.block_until_ready(work(values))
        times.append(clock() - begun)
    return min(times)
