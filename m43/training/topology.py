"""The topology: a card that is not there, for which XLA compiles all the same."""

from collections.abc import Callable, Mapping
from importlib import metadata

import jax
import numpy as np
from jax.experimental import topologies
from jaxtyping import PyTree

from m43.errors import FailureClass, M43Error
from m43.training.target import Target

ENVIRONMENT: Mapping[str, str] = {
    # The plugin must not look for the driver of a card that is not there.
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
    # Autotuning would run kernels on it.
    "XLA_FLAGS": "--xla_gpu_autotune_level=0",
    "JAX_PLATFORMS": "cpu",
}
"""What a process that compiles for a card that is not there must have been started with."""

_PLUGINS = ("jax-cuda13-plugin", "jax-cuda12-plugin")


class NoCompilerError(M43Error):
    """An environment without XLA's compiler for the target."""

    failure_class = FailureClass.PACKAGE_MISMATCH


def place_on(target: Target) -> Callable[[PyTree], PyTree]:
    """Give what puts shapes on the target, so that what is lowered is compiled for it.

    Raises:
        NoCompilerError: if JAX's CUDA plugin is not installed.
    """
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
        platform="cuda", target_config=target.target_config, topology="1x1x1"
    )
    mesh = jax.sharding.Mesh(np.array(topology.devices).reshape(1), ("card",))
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
