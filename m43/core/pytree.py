"""Dataclasses of arrays as JAX pytrees, which may also hold what stands in for arrays."""

import dataclasses
from collections.abc import Iterable
from typing import TypeVar

import jax
import numpy as np

T = TypeVar("T")

ArrayLike = jax.Array | np.ndarray | jax.ShapeDtypeStruct
"""An array on the device, on the host, or only planned."""


def register_pytree(cls: type[T]) -> type[T]:
    """Register a dataclass whose fields are all children.

    Unlike `jax.tree_util.register_dataclass` it rebuilds an instance without `__init__`: JAX puts
    shardings, None and bare objects where arrays were, and a check of shapes would refuse them.
    """
    names = tuple(field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]

    def flatten(value: T) -> tuple[tuple[object, ...], None]:
        return tuple(getattr(value, name) for name in names), None

    def flatten_with_keys(value: T) -> tuple[tuple[tuple[object, object], ...], None]:
        keys = (jax.tree_util.GetAttrKey(name) for name in names)
        return tuple((key, getattr(value, key.name)) for key in keys), None

    def unflatten(_: None, children: Iterable[object]) -> T:
        value = object.__new__(cls)
        for name, child in zip(names, children, strict=True):
            object.__setattr__(value, name, child)
        return value

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls
