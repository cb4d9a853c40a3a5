"""The exchange check: every device computes, and what a mesh exchanges is right to the bit.

Known whole numbers in float32, so small that no order of adding them rounds: one wrong bit is an
error of a device or of what connects them. A collective that loses, doubles or exchanges parts is
seen as well, as each device contributes other numbers at each place.
"""

import functools
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from m43.core import EVERY
from m43.records import Collective, Exchange
from m43.training.device import device_name

# Values of a device, 4 KiB and 4 MiB: libraries of collectives send short and long ones by
# different protocols. The second is what is timed.
SHORT, LONG = 1 << 10, 1 << 20
_TIMED = 3
_SIZE = 256

COLLECTIVES: Mapping[Collective, Callable[[jax.Array, str], jax.Array]] = {
    "all-reduce": lax.psum,
    "all-gather": functools.partial(lax.all_gather, axis=1),
}
"""By name; each takes a device's part [1, N] and the axis, and returns [1, N] or [1, A, N]."""


class ComputedProduct(NamedTuple):
    """A product on one device: which one, as "id platform:kind", and how many values are wrong."""

    device: str
    wrong_values: int


def check_devices() -> tuple[ComputedProduct, ...]:
    """Multiply whole numbers on every device of this process.

    Below 64, they are exact in every format that a device may round a float32 to on its way into
    a product, and the sums stay below 2^24.
    """
    random = np.random.default_rng(_SIZE)
    left, right = (random.integers(0, 64, (_SIZE, _SIZE)) for _ in "ab")
    exact = (left @ right).astype(np.float32)
    found = []
    for device in jax.local_devices():
        parts = (jax.device_put(part.astype(np.float32), device) for part in (left, right))
        product = jnp.matmul(*parts, preferred_element_type=jnp.float32)
        # Where it was computed, rather than where it was asked for.
        (where,) = product.devices()
        name = f"{where.id} {device_name(where)}"
        found.append(ComputedProduct(name, count_wrong(np.asarray(product), exact)))
    return tuple(found)


def exchange_along(mesh: Mesh, axis: str) -> tuple[Exchange, ...]:
    """Exchange known values along an axis by each collective; all processes do so at once.

    The values are counted that this process sees, on its own devices.
    """
    return tuple(_exchange(mesh, axis, name) for name in COLLECTIVES)


def _exchange(mesh: Mesh, axis: str, name: Collective) -> Exchange:
    by_device, collective = PartitionSpec(EVERY), COLLECTIVES[name]
    program = jax.jit(
        jax.shard_map(
            lambda part: collective(part, axis),
            mesh=mesh,
            in_specs=by_device,
            out_specs=by_device,
            check_vma=False,
        )
    )
    values = wrong = 0
    for count in (SHORT, LONG):
        rows = _spread(mesh, count)
        for shard in program(rows).addressable_shards:
            number = list(mesh.devices.flat).index(shard.device)
            exact = _exact(mesh, axis, name, number, count)
            values += exact.size
            wrong += count_wrong(np.asarray(shard.data)[0], exact)
    return Exchange(
        axis=axis,
        operation=name,
        devices=mesh.shape[axis],
        values=values,
        wrong_values=wrong,
        payload_bytes=rows.nbytes // mesh.size,
        duration_s=statistics.median(_durations_s(program, rows)),
    )


def _durations_s(program: Callable[[jax.Array], jax.Array], rows: jax.Array) -> Iterable[float]:
    for _ in range(_TIMED):
        begun = time.monotonic()
        jax.block_until_ready(program(rows))
        yield time.monotonic() - begun


def known_values(devices: np.ndarray, count: int) -> np.ndarray:
    """Return what devices of these numbers contribute, a row each.

    Below 2^15: of 512 devices the sum stays below 2^24, to where float32 holds every whole number.

    Example:
        >>> known_values(np.array([0, 1]), 3)
        array([[   43.,  7962., 15881.],
               [ 6525., 14444., 22363.]], dtype=float32)
    """
    places = np.arange(count, dtype=np.int64)
    return ((7919 * places + 104_729 * devices[:, None] + 43) % 32_749).astype(np.float32)


def _spread(mesh: Mesh, count: int) -> jax.Array:
    """Put on each device its own row, of [devices, count]."""
    numbers = np.arange(mesh.size)[:, None]
    return jax.make_array_from_callback(
        (mesh.size, count),
        NamedSharding(mesh, PartitionSpec(EVERY)),
        lambda index: known_values(numbers[index][:, 0], count),
    )


def _exact(mesh: Mesh, axis: str, name: Collective, device: int, count: int) -> np.ndarray:
    """Return by NumPy what a device of this number has to get: [count], or [devices, count]."""
    numbers = np.arange(mesh.size).reshape(mesh.devices.shape)
    place: list[int | slice] = list(map(int, np.unravel_index(device, numbers.shape)))
    place[mesh.axis_names.index(axis)] = slice(None)
    parts = known_values(numbers[tuple(place)], count)
    return parts if name == "all-gather" else parts.sum(axis=0, dtype=np.float64).astype(np.float32)


def count_wrong(found: np.ndarray, exact: np.ndarray) -> int:
    """Count the values of float32 that differ in any bit."""
    return int(np.count_nonzero(found.view(np.uint32) != exact.view(np.uint32)))


def seen_by_all(parts: Sequence[tuple[Exchange, ...]]) -> tuple[Exchange, ...]:
    """Put together what each process saw of the same exchanges: counts add up, the slowest counts.

    Raises: ValueError, where one made others.
    """
    return tuple(
        replace(
            same[0],
            values=sum(each.values for each in same),
            wrong_values=sum(each.wrong_values for each in same),
            duration_s=max(each.duration_s for each in same),
        )
        for same in zip(*parts, strict=True)
    )
