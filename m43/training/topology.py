"""The topology: a card that is not there, for which XLA compiles all the same.

The process must have been started for it: `m43.harness.plan_command` says with what.
"""

from collections.abc import Callable
from importlib import metadata

import jax
import numpy as np
from jax.experimental import topologies
from jaxtyping import PyTree

from m43.errors import FailureClass, M43Error
from m43.training.target import Target

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
