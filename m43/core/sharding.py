"""Sharding over several devices (SPMD): the mesh, where each array lies, what the step pins.

Two axes. Over `fsdp` go the rows of a batch, and a share of every matrix with its optimizer state;
over `tensor` go heads, feed-forward and vocabulary. Every matrix is cut along its first axis in the
files, so that a device reads one run of bytes of each; norms and adapters are on every device.

Left to itself XLA computes right numbers by a wrong plan: it keeps the whole batch on every device
and sums activations instead of gathering weights. The pins below are what tells it otherwise.
Without a mesh all of this is the identity: the program of one device is the same text.

Source: Xu et al. 2021, GSPMD; Zhao et al. 2023, PyTorch FSDP (fully sharded data parallel).
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

P = PartitionSpec
FSDP, TENSOR = "fsdp", "tensor"
EVERY = (FSDP, TENSOR)
"""Both axes: each device has a share of its own."""

# By the names of the model's parameters. Keys and values are never cut over `tensor`: Gemma 1 2B
# has one head of them, which all query heads read.
_STORED: dict[str, PartitionSpec] = {
    "query": P((TENSOR, FSDP), None),
    "gate": P((TENSOR, FSDP), None),
    "up": P((TENSOR, FSDP), None),
    "key": P(FSDP, None),
    "value": P(FSDP, None),
    "output": P(FSDP, TENSOR),
    "down": P(FSDP, TENSOR),
}

Result = TypeVar("Result")


def make_mesh(devices: Sequence[jax.Device], *, fsdp: int, tensor: int) -> Mesh:
    """Arrange devices, of which there are fsdp x tensor, with `tensor` between neighbours."""
    return Mesh(np.asarray(devices).reshape(fsdp, tensor), EVERY)


def under_mesh() -> bool:
    """Return whether what is traced now is for a mesh, rather than for one device alone.

    As it is inside a `shard_map`.
    """
    mesh = jax.sharding.get_abstract_mesh()
    return FSDP in mesh.axis_names and not mesh.manual_axes


def pin(array: Array, *axes: str | None) -> Array:
    """Pin the leading axes of an array to axes of the mesh; the others are whole everywhere."""
    return jax.lax.with_sharding_constraint(array, P(*axes)) if under_mesh() else array


def names_of(path: tuple[object, ...]) -> tuple[str, ...]:
    """Return the names along the path of a leaf in a tree of parameters or moments.

    Example:
        layers, feed_forward, gate, weight.
    """
    return tuple(str(getattr(key, "key", getattr(key, "name", key))) for key in path)


def spec_of(names: Sequence[str], axes: int) -> PartitionSpec:
    """Return where a parameter lies, or a moment of the optimizer that has its shape.

    Factored moments have fewer axes than the matrix they belong to, and are whole everywhere.

    Args:
        names: along its path in the model.
        axes: how many it has, that of the layers included.

    Example:
        >>> tuple(spec_of(("layers", "feed_forward", "down", "weight"), 3))
        (None, 'fsdp', 'tensor')
    """
    if "embedding" in names and axes == 2:
        return P(EVERY, None)
    stored = next((_STORED[name] for name in names if name in _STORED), None)
    if stored is None or "weight" not in names or axes != 3:
        return P()
    return P(None, *stored)


def shardings(tree: PyTree, mesh: Mesh) -> PyTree:
    """Return where each array of a state lies on a mesh, as `spec_of` says."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: NamedSharding(mesh, spec_of(names_of(path), leaf.ndim)), tree
    )


def gathered(paths: Sequence[tuple[object, ...]], layer: Sequence[Array]) -> list[Array]:
    """Pin the weights of one layer as its products read them: whole along `fsdp`.

    So each layer's are gathered when it is its turn, and their gradients are summed and cut again.
    """
    if not under_mesh():
        return list(layer)
    specs = [
        spec_of(names_of(path), leaf.ndim + 1) for path, leaf in zip(paths, layer, strict=True)
    ]
    return [
        jax.lax.with_sharding_constraint(leaf, P(*map(_without_fsdp, spec[1:])))
        for leaf, spec in zip(layer, specs, strict=True)
    ]


def _without_fsdp(axes: object) -> str | None:
    return TENSOR if axes == TENSOR or (isinstance(axes, tuple) and TENSOR in axes) else None


def on_every_device(
    work: Callable[..., Result], in_specs: PyTree, out_specs: PyTree
) -> Callable[..., Result]:
    """Run `work` on each device's own share of its arguments."""
    mapped: Callable[..., Result] = jax.shard_map(
        work, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )
    return mapped
