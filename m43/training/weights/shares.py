"""The shares of a model: of each tensor of its files the bytes that this process's devices hold.

Each process writes its own into files that all of them see: no tensor is gathered for it.
"""

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np

from m43.core import Gemma, GemmaConfig, Projection
from m43.files import ModelFolderError, sync, written_together
from m43.training.weights.folder import EMBEDDING, HEAD, TensorPlace, tensor_places
from m43.training.weights.safetensors_file import (
    DTYPES,
    SafetensorsFile,
    StoredTensor,
    bytes_of,
    open_safetensors,
)

_COMPARED_BYTES = 1 << 20


def places_by_name(config: GemmaConfig) -> dict[str, TensorPlace]:
    """Return the place of every tensor of the files, a second, tied head's included."""
    places = {place.name: place for place in tensor_places(config)}
    places[HEAD] = places[EMBEDDING]
    return places


def tensor_of(model: Gemma, place: TensorPlace) -> jax.Array:
    """Return one tensor of the files from a model; an adapter is merged into its projection.

    Where several processes hold the model, all of them ask for it, and it lies on all devices.
    """
    holder = functools.reduce(getattr, place.leaf[:-1], model)
    if isinstance(holder, Projection) and place.layer is not None:
        return holder.merged(place.layer)
    leaf: jax.Array = getattr(holder, place.leaf[-1])[...]
    return leaf if place.layer is None else leaf[place.layer]


def write_shares(model: Gemma, paths: Sequence[Path]) -> None:
    """Write this process's shares, until they are on the disk.

    Args:
        model: in any dtypes; each tensor is stored in that of its file.
        paths: of the model's files, which have their headers and lengths already.

    Raises:
        ModelFolderError: if a file is not there, or not one of this model.
    """
    for path in paths:
        file = _begun(path)
        with written_together(path) as descriptor:
            for _, first_byte, data in _own_bytes(model, file):
                write_at(descriptor, data, first_byte)
    for path in paths:
        sync(path)


def require_arrived(model: Gemma, paths: Sequence[Path]) -> None:
    """Read this process's shares back, and hold them against what its devices hold, bit by bit.

    It is for when all have written: who writes last could spoil what the others wrote.

    Args:
        model: that was written.
        paths: of its files.

    Raises:
        ModelFolderError: with the first tensor of which other bytes lie there.
    """
    for path in paths:
        file = _begun(path)
        # Opened after the meeting: a network file system then looks whether its cache still holds.
        with path.open("rb", buffering=0) as opened:
            for tensor, first_byte, data in _own_bytes(model, file):
                if not _lies_at(opened.fileno(), data, first_byte):
                    raise ModelFolderError(
                        found=f"other bytes of {tensor.name} than process {jax.process_index()} "
                        "wrote",
                        expected="those that its devices hold",
                        where=f"{path}, from byte {first_byte} on",
                        action="let nothing else write to the run folder; then look at the file "
                        "system that the hosts share",
                    )


def _begun(path: Path) -> SafetensorsFile:
    file, problems = open_safetensors(path)
    if file is None or problems:
        raise ModelFolderError(
            found="; ".join(problem.found for problem in problems),
            expected="the file that process 0 began",
            where=f"{path} in process {jax.process_index()}",
            action="let every host see the same run folder",
        )
    return file


def _own_bytes(
    model: Gemma, file: SafetensorsFile
) -> Iterator[tuple[StoredTensor, int, memoryview]]:
    """Yield runs of bytes of this process; what lies on several devices is the first one's."""
    places = places_by_name(model.config)
    for tensor in file.tensors:
        for shard in tensor_of(model, places[tensor.name]).addressable_shards:
            if shard.replica_id:
                continue
            # What float16 cannot hold becomes infinite there, which who reads it back will name.
            with np.errstate(over="ignore"):
                values = np.asarray(shard.data).astype(DTYPES[tensor.dtype], copy=False)
            cuts = zip(shard.index, tensor.shape, strict=True)
            within = [range(*cut.indices(size)) for cut, size in cuts]
            for first_byte, data in bytes_of(np.ascontiguousarray(values), tensor, within):
                yield tensor, first_byte, data


def write_at(descriptor: int, data: memoryview, first_byte: int) -> None:
    """Write all of it at its place; one call of the system takes less than 2 GiB."""
    while data:
        written = os.pwrite(descriptor, data, first_byte)
        data, first_byte = data[written:], first_byte + written


def _lies_at(descriptor: int, data: memoryview, first_byte: int) -> bool:
    parts = (
        (start, bytes(data[start : start + _COMPARED_BYTES]))
        for start in range(0, len(data), _COMPARED_BYTES)
    )
    return all(os.pread(descriptor, len(part), first_byte + start) == part for start, part in parts)
