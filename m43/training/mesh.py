"""The mesh of a run: the profile's arrangement of the devices that its processes have."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from m43.core import EVERY, FSDP, Batch, GemmaConfig, make_mesh, shardings, spec_of
from m43.errors import FailureClass, M43Error, Problem, ProblemsError
from m43.gemma_families import SHAPES, uneven_sizes
from m43.records import MeshTable, Profile


class DeviceCountError(M43Error):
    """Another number of devices than the contract promises."""

    failure_class = FailureClass.WRONG_DEVICE


class UnevenMeshError(ProblemsError):
    """A model that the mesh of the profile cannot share evenly."""

    failure_class = FailureClass.PROFILE_INVALID


Placed = Callable[[tuple[Any, ...], int], NamedSharding]
"""Says where a parameter lies, by its path in the model and its number of axes."""


def settle_devices(profile: Profile, processes: int = 1) -> None:
    """Have a CPU be as many devices for JAX as the contract promises; cards are what they are.

    To be called before JAX's first computation, which settles it for the process.

    Args:
        profile: says how many.
        processes: that share them; of a process that works alone it is all of them.
    """
    devices = profile.contract.devices // processes
    if devices > 1:
        jax.config.update("jax_num_cpu_devices", devices)


def mesh_of(
    profile: Profile, config: GemmaConfig, devices: Sequence[jax.Device] | None = None
) -> Mesh | None:
    """Arrange the devices as the profile says; None where one device is promised.

    Args:
        profile: says how.
        config: of the model, which the mesh must be able to share evenly.
        devices: to arrange; None for all that this process and those it has met have.

    Raises:
        DeviceCountError: as `arranged`.
        UnevenMeshError: with every size of the model that cannot be shared evenly.
    """
    mesh = arranged(profile, devices)
    sizes = {size: getattr(config, size) for size in SHAPES}
    if mesh is not None and (problems := tuple(_uneven(sizes, profile.mesh))):
        raise UnevenMeshError(problems)
    return mesh


def arranged(profile: Profile, devices: Sequence[jax.Device] | None = None) -> Mesh | None:
    """Arrange the devices as the profile says, for whatever model.

    Raises:
        DeviceCountError: if they are more or fewer than the contract promises. All cards of a
            host are used: one that is left over would be idle, and nobody would say so.
    """
    table = profile.mesh
    if table.devices == 1:
        return None
    found = jax.devices() if devices is None else devices
    if len(found) != table.devices:
        raise DeviceCountError(
            found=f"{len(found)} devices ({', '.join(sorted({d.device_kind for d in found}))})",
            expected=f"{profile.contract.devices}, arranged as {table}",
            where="JAX in the training environment",
            action="set CUDA_VISIBLE_DEVICES to as many cards, or contract.devices and [mesh] to "
            "what is there",
        )
    return make_mesh(found, fsdp=table.fsdp, tensor=table.tensor)


def _uneven(sizes: Mapping[str, int], table: MeshTable) -> list[Problem]:
    return [
        Problem(
            found=f"{SHAPES[size]} {sizes[size]}",
            expected=f"a multiple of {parts}, so that the mesh ({table}) can share it evenly",
            where="config.json",
            action="arrange the devices by another [mesh]",
        )
        for size, parts in uneven_sizes(sizes, table.fsdp, table.tensor)
    ]


def spread(batch: Batch, mesh: Mesh | None) -> Batch:
    """Put a batch where the step reads it: each device gets its own rows, and reads no others.

    Of several processes each is asked for the rows of its own devices only.
    """
    if mesh is None:
        return jax.tree.map(jnp.asarray, batch)
    by_rows = NamedSharding(mesh, PartitionSpec(FSDP))
    return jax.tree.map(
        lambda rows: jax.make_array_from_callback(
            rows.shape, by_rows, lambda index: np.asarray(rows[index])
        ),
        batch,
    )


def rows_on(mesh: Mesh | None, batch: Batch) -> Batch:
    """Return a batch of shapes with where its rows lie."""
    if mesh is None:
        return batch
    by_rows = NamedSharding(mesh, PartitionSpec(FSDP))
    return jax.tree.map(
        lambda rows: jax.ShapeDtypeStruct(rows.shape, rows.dtype, sharding=by_rows), batch
    )


def shapes_on(mesh: Mesh | None, tree: PyTree) -> PyTree:
    """Return a state of shapes with where each array of it lies."""
    if mesh is None:
        return tree
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        shardings(tree, mesh),
    )


def spread_rows(rows: np.ndarray, mesh: Mesh | None) -> jax.Array:
    """Put prompts where they are answered: over all devices of a mesh, which share them."""
    if mesh is None:
        return jnp.asarray(rows)
    by_rows = NamedSharding(mesh, PartitionSpec(EVERY))
    return jax.make_array_from_callback(rows.shape, by_rows, lambda index: rows[index])


def whole(array: jax.Array) -> np.ndarray:
    """Return an array on this host, gathered where other processes hold parts of it.

    Those ask for it too: it waits for them.
    """
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    gathered: np.ndarray = multihost_utils.process_allgather(array, tiled=True)
    return gathered


def table_of(mesh: Mesh | AbstractMesh | None) -> MeshTable:
    """Return the arrangement of a mesh, as a record has it."""
    return MeshTable() if mesh is None else MeshTable(**mesh.shape)


def shared(mesh: Mesh | None) -> Placed | None:
    """Return where the weights of a training lie: each device has its share."""
    if mesh is None:
        return None
    return lambda path, axes: NamedSharding(mesh, spec_of([str(part) for part in path], axes))


def copied(mesh: Mesh | None) -> Placed | None:
    """Return where the weights of an evaluation lie: each device has all of them."""
    if mesh is None:
        return None
    return lambda path, axes: NamedSharding(mesh, PartitionSpec())
