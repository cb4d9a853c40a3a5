"""The device that a plan is made for: the one that is here, or a card that is not.

For such a card the process must have been started: `m43.harness.commands.plan` says with what.
"""

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jaxtyping import PyTree

from m43.errors import FailureClass, M43Error, Problem, ProblemsError
from m43.records import Limits
from m43.training.device import device_name, free_host_bytes, memory_bytes
from m43.typed_json import read_table, read_toml

FOLDER = Path(__file__).parent / "targets"
_SUFFIX = ".toml"


class TargetError(ProblemsError):
    """A target that nobody has described, or that is described wrongly."""

    failure_class = FailureClass.PROFILE_INVALID


@dataclass(frozen=True, kw_only=True)
class Target:
    """A card's figures, for the roofline of a step.

    Attributes:
        usable_share: of its memory, that a run may fill.
        flops_per_s: peak, of bfloat16 products with float32 accumulation.
        sustained_share: the MFU that a good run reaches.
        link_bytes_per_s: from one card to others, each way; 0 where its maker names none.
        target_config: of a GPU, what XLA's compiler asks about it: an xla.GpuTargetConfigProto as
            text.
        topology: of a TPU, what libtpu calls its slices.
    """

    device_kind: str
    memory_bytes: int
    usable_share: float
    flops_per_s: float
    bytes_per_s: float
    sustained_share: float
    source: str
    target_config: str = field(default="", repr=False)
    link_bytes_per_s: float = 0.0
    topology: str = ""

    @property
    def limits(self) -> Limits:
        """What of it a run can use."""
        return Limits(
            device=f"{'tpu' if self.topology else 'gpu'}:{self.device_kind}",
            memory_bytes=int(self.memory_bytes * self.usable_share),
            flops_per_s=self.flops_per_s,
            bytes_per_s=self.bytes_per_s,
            sustained_share=self.sustained_share,
            source=self.source,
            link_bytes_per_s=self.link_bytes_per_s,
        )


def known_targets() -> tuple[str, ...]:
    """Return the names of the cards that m43 describes."""
    return tuple(sorted(path.stem for path in FOLDER.glob(f"*{_SUFFIX}")))


def read_target(name: str) -> Target:
    """Read a card's description: one of m43's by its name or JAX's, or a file by its path.

    Raises:
        TargetError: with everything that is wrong with it.
    """
    by_kind = target_of(name)
    if by_kind is not None:
        return by_kind
    return _read(FOLDER / f"{name}{_SUFFIX}" if name in known_targets() else Path(name), name)


def _read(path: Path, name: str) -> Target:
    data, problems = read_toml(path)
    if problems:
        expected = f"cpu, {', '.join(known_targets())}, or a file like those in {FOLDER}"
        raise TargetError((_problem(problems[0].found, expected, name),))
    target, problems = read_table(Target, data, str(path))
    problems = (*problems, *(_problems(target, str(path)) if target is not None else ()))
    if target is None or problems:
        raise TargetError(problems)
    return target


def target_of(device_kind: str) -> Target | None:
    """Return the description of a card by the name that JAX gives it."""
    found = (_read(FOLDER / f"{name}{_SUFFIX}", name) for name in known_targets())
    return next((target for target in found if target.device_kind == device_kind), None)


def _problems(target: Target, where: str) -> Iterator[Problem]:
    rules = (
        ("memory_bytes", target.memory_bytes, target.memory_bytes > 0, "a number above 0"),
        ("usable_share", target.usable_share, 0 < target.usable_share <= 1, "0 to 1"),
        ("flops_per_s", target.flops_per_s, target.flops_per_s > 0, "a number above 0"),
        ("bytes_per_s", target.bytes_per_s, target.bytes_per_s > 0, "a number above 0"),
        ("sustained_share", target.sustained_share, 0 < target.sustained_share <= 1, "0 to 1"),
        (
            "target_config",
            target.target_config,
            bool(target.target_config) != bool(target.topology),
            "a text for a GPU, or none and a topology for a TPU",
        ),
    )
    for key, found, kept, expected in rules:
        if not kept:
            yield _problem(repr(found), expected, f"{where}, {key}")


def _problem(found: str, expected: str, where: str) -> Problem:
    return Problem(found=found, expected=expected, where=where, action="correct the target")


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
    # The first array makes JAX take its share of a card.
    jax.block_until_ready(jnp.zeros(()))
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
            link_bytes_per_s=known.link_bytes_per_s,
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
    """Time `work` on its own result; the first call, which compiles, does not count."""
    values = jax.block_until_ready(work(values))
    times = []
    for _ in range(_TRIES):
        begun = clock()
        values = jax.block_until_ready(work(values))
        times.append(clock() - begun)
    return min(times)


_PLUGINS = ("jax-cuda13-plugin", "jax-cuda12-plugin")
# Source: jax 0.10.2, setup.py, _libtpu_version: each jax has its own.
_LIBTPU = "libtpu==0.0.42.*"
_SLICES = tuple(2**power for power in range(2, 9))
"""How many chips a slice of a TPU v5e has, arranged as a square or half of one."""


class NoCompilerError(M43Error):
    """An environment without XLA's compiler for the target."""

    failure_class = FailureClass.PACKAGE_MISMATCH


def devices_of(target: Target, count: int, hosts: int = 1) -> list[jax.Device]:
    """Return cards of a kind that are not here, in as many hosts, so that a step can be compiled.

    Raises:
        NoCompilerError: if JAX's CUDA plugin, or for a TPU libtpu, is not installed.
        TargetError: if no slice of a TPU has so many chips.
    """
    if target.topology:
        return _chips(target, count)
    found = [name for name in _PLUGINS if _installed(name)]
    if not found:
        raise NoCompilerError(
            found="no JAX plugin for CUDA",
            expected=" or ".join(_PLUGINS),
            where="this environment",
            action="make one with the compiler and plan from there: python3 -m venv .venv-plan && "
            ".venv-plan/bin/pip install '.[cuda13]' && .venv-plan/bin/python -m m43 plan …; "
            "no card is needed",
        )
    topology = topologies.get_topology_desc(
        # Slices, hosts, cards of a host.
        platform="cuda",
        target_config=target.target_config,
        topology=f"1x{hosts}x{count // hosts}",
    )
    return list(topology.devices)


def _chips(target: Target, count: int) -> list[jax.Device]:
    """Return chips of a TPU; one or two are taken from the smallest slice."""
    if not _installed("libtpu"):
        raise NoCompilerError(
            found="no libtpu",
            expected=_LIBTPU,
            where="this environment",
            action="make one with the compiler and plan from there: python3 -m venv .venv-plan && "
            f".venv-plan/bin/pip install . '{_LIBTPU}' && .venv-plan/bin/python -m m43 plan …; "
            "no TPU is needed",
        )
    size = max(count, _SLICES[0])
    if size not in _SLICES:
        expected = f"{', '.join(map(str, _SLICES))} of them, or fewer than {_SLICES[0]}"
        raise TargetError((_problem(f"{count} devices", expected, target.device_kind),))
    rows = 1 << (size.bit_length() - 1) // 2
    name = f"{target.topology}:{rows}x{size // rows}"
    return list(topologies.get_topology_desc(name, platform="tpu").devices)[:count]


def place_on(card: jax.Device) -> Callable[[PyTree], PyTree]:
    """Return what places shapes on one card, so that what is lowered is compiled for it."""
    mesh = jax.sharding.Mesh(np.array([card]), ("card",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    def place(arguments: PyTree) -> PyTree:
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), arguments
        )

    return place


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
