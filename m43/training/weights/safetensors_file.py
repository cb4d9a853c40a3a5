"""One safetensors file: its header, checked, and the bytes of its tensors."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import ml_dtypes
import numpy as np

from m43.errors import FailureClass, M43Error, Problem
from m43.text import BINARY, brief, clipped, other_kind
from m43.typed_json import read_json

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 1 << 24
"""A Gemma's header has 60 KB. The format's own limit of 100 MB would be gigabytes in Python."""
MAX_TENSORS, MAX_AXES, MAX_NAME = 1 << 15, 8, 255
"""Beyond these a header is damaged or made to keep its reader busy."""
ALIGNMENT = 64
"""JAX takes over a NumPy array on the CPU without a copy if it is aligned like this."""

_BEGINNING = 1024
BLOCK = 1 << 20
"""Numbers that are converted at a time."""

FLOAT32 = np.dtype(np.float32)
DTYPES = {
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F32": FLOAT32,
    "F16": np.dtype(np.float16),
}
"""What m43 reads and stores. F16 only stores: Gemma's activations overflow it at 65,504, so nothing
is computed in it. bfloat16 reaches as far as float32, with 8 bits where float16 has 11."""
_QUANTISED = ("F4", "F6", "F8", "I", "U", "BOOL")
"""Source: the safetensors crate 0.6, enum Dtype: numbers that mean nothing without their scales."""


_AGAIN = "fetch the file again, whole"


class FileShrankError(M43Error):
    """A file that was whole when its header was read and is no longer."""

    failure_class = FailureClass.MODEL_INVALID


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """One tensor in a file. `start_byte` counts from the beginning of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start_byte: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class SafetensorsFile:
    """A file whose header is sound; the tensors in the order of their bytes."""

    path: Path
    header: bytes = field(repr=False)
    metadata: tuple[tuple[str, str], ...]
    tensors: tuple[StoredTensor, ...] = field(repr=False)


def open_safetensors(path: Path) -> tuple[SafetensorsFile | None, list[Problem]]:
    """Read and check the header: length, JSON, names, offsets, and that no byte is missing.

    Source: the safetensors format, huggingface/safetensors README, section Format.
    """
    if not path.is_file():
        # A pipe or a device would never end.
        return None, [_problem(path, "no regular file", "a safetensors file")]
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            too_long = length > min(MAX_HEADER_BYTES, size - LENGTH_BYTES)
            header = b"" if too_long else file.read(length)
            file.seek(0)
            # The length of a good header has zeros in it, like no text and no other kind of file.
            other = other_kind(file.read(_BEGINNING)) if too_long else None
    except OSError as error:
        return None, [_problem(path, f"{type(error).__name__}: {error}", "a readable file")]
    if other is not None and other.found != BINARY:
        return None, [_problem(path, other.found, "a safetensors file", other.action)]
    if size < LENGTH_BYTES or too_long:
        found = f"{size} bytes, of which the header claims {length}"
        return None, [_problem(path, found, "a whole safetensors file, not cut off")]
    try:
        metadata, tensors = _entries(read_json(header.decode("utf-8")), LENGTH_BYTES + length)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return None, [_problem(path, f"a header with {error}", "a safetensors header")]
    described = SafetensorsFile(path=path, header=header, metadata=metadata, tensors=tensors)
    return described, list(_layout_problems(described, LENGTH_BYTES + length, size))


def _problem(path: Path, found: str, expected: str, action: str = _AGAIN) -> Problem:
    return Problem(found=found, expected=expected, where=str(path), action=action)


def _entries(
    table: object, data_start: int
) -> tuple[tuple[tuple[str, str], ...], tuple[StoredTensor, ...]]:
    if not isinstance(table, dict) or len(table) > MAX_TENSORS:
        raise ValueError(f"{brief(table)}, no table of {MAX_TENSORS} tensors at most")
    metadata = tuple((str(key), str(value)) for key, value in table.pop("__metadata__", {}).items())
    tensors = (_entry(name, entry, data_start) for name, entry in table.items())
    return metadata, tuple(sorted(tensors, key=lambda tensor: tensor.start_byte))


def _entry(name: str, entry: dict, data_start: int) -> StoredTensor:
    start, stop = entry["data_offsets"]
    shape = tuple(entry["shape"])
    sound = all(type(number) is int and 0 <= number < 2**63 for number in (start, stop, *shape))
    if not sound or len(shape) > MAX_AXES or len(name) > MAX_NAME:
        raise ValueError(f"{brief(name)} of shape {brief(shape)} at {brief((start, stop))}")
    return StoredTensor(
        name=name,
        dtype=clipped(str(entry["dtype"]), 80),
        shape=shape,
        start_byte=data_start + start,
        size_bytes=stop - start,
    )


def _layout_problems(file: SafetensorsFile, data_start: int, size: int) -> Iterator[Problem]:
    """Yield the tensors that overlap, leave gaps, or do not fill their shape, and a cut end."""
    end, unknown = data_start, dict[str, list[str]]()
    for tensor in file.tensors:
        if tensor.start_byte != end:
            found = f"{tensor.name} at byte {tensor.start_byte}"
            yield _problem(file.path, found, f"it at byte {end}, after the one before")
        dtype = DTYPES.get(tensor.dtype)
        if dtype is None:
            unknown.setdefault(tensor.dtype, []).append(tensor.name)
        elif math.prod(tensor.shape) * dtype.itemsize != tensor.size_bytes:
            where = f"{tensor.dtype} {list(tensor.shape)} in {tensor.size_bytes} bytes"
            expected = f"{math.prod(tensor.shape) * dtype.itemsize} bytes"
            yield _problem(file.path, f"{tensor.name}: {where}", expected)
        end = tensor.start_byte + tensor.size_bytes
    # Once for each dtype: a file that was quantised is so in every layer.
    for name, tensors in unknown.items():
        found = f"{len(tensors)} of {len(file.tensors)} tensors in {name}, the first {tensors[0]}"
        yield _problem(file.path, found, " or ".join(DTYPES), _advice(name))
    if end != size:
        yield _problem(file.path, f"{size} bytes", f"{end} bytes, as the header says")


def _advice(dtype: str) -> str:
    if dtype == "F64":
        return "convert the model to float32"
    if dtype.startswith(_QUANTISED):
        return "use the model as it was before it was quantised: m43 trains plain weights"
    return _AGAIN


def common_dtype(names: Iterable[str]) -> np.dtype:
    """Return the narrowest dtype that holds every value of some stored dtypes exactly.

    Example:
        >>> common_dtype(["BF16", "F16"])
        dtype('float32')
    """
    dtypes = {DTYPES[name] for name in names}
    return dtypes.pop() if len(dtypes) == 1 else FLOAT32


def read_into(
    target: np.ndarray,
    file: SafetensorsFile,
    tensor: StoredTensor,
    within: Sequence[range] | None = None,
) -> None:
    """Read a tensor into a contiguous array of its shape, converted where the dtypes differ.

    Args:
        target: as large as what is read.
        file: that holds the tensor.
        tensor: one or two axes, where only a part of it is read.
        within: the part of each axis that is read; None for all of it.

    Raises:
        FileShrankError: if the file became shorter since its header was read.
    """
    stored = DTYPES[tensor.dtype]
    with file.path.open("rb") as opened:
        for first, flat in _runs(target, tensor, within):
            opened.seek(tensor.start_byte + first * stored.itemsize)
            # In blocks: a whole copy in the stored dtype would be half as large as the model again.
            for start in range(0, flat.size, BLOCK):
                part = flat[start : start + BLOCK]
                direct = part.dtype == stored
                buffer = part if direct else np.empty(part.shape, stored)
                # As bytes: NumPy gives bfloat16 no buffer of its own.
                if opened.readinto(buffer.view(np.uint8).data) != buffer.nbytes:
                    raise FileShrankError(
                        found=f"an end inside {tensor.name}",
                        expected=f"{tensor.size_bytes} bytes from byte {tensor.start_byte} on",
                        where=str(file.path),
                        action="let nothing write to the model while it is read",
                    )
                if not direct:
                    part[...] = buffer.astype(part.dtype)


def _runs(
    target: np.ndarray, tensor: StoredTensor, within: Sequence[range] | None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield what lies in one run: its first number in the tensor, and its place in the array."""
    if within is None:
        yield 0, target.reshape(-1)
        return
    rows, *columns = within
    width = math.prod(tensor.shape[1:])
    if all(len(kept) == size for kept, size in zip(columns, tensor.shape[1:], strict=True)):
        # Whole rows, one after the other: a single run of bytes.
        yield rows.start * width, target.reshape(-1)
        return
    for row, place in zip(rows, target, strict=True):
        yield row * width + columns[0].start, place


def bytes_of(
    values: np.ndarray, tensor: StoredTensor, within: Sequence[range]
) -> Iterator[tuple[int, memoryview]]:
    """Yield a part of a tensor as it lies in its file: runs of bytes, each with its first byte.

    Args:
        values: of the part, contiguous and in the tensor's dtype.
        tensor: of one or two axes.
        within: the part of each axis.
    """
    for first, flat in _runs(values, tensor, within):
        # As bytes: NumPy gives bfloat16 no buffer of its own.
        yield tensor.start_byte + first * values.itemsize, flat.view(np.uint8).data


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Make an array that JAX can take over on the CPU as it is."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


def make_header(
    tensors: tuple[StoredTensor, ...], dtype: str | None, metadata: tuple[tuple[str, str], ...]
) -> bytes:
    """Return the header of tensors in this order, stored in another dtype, or each in its own."""
    table: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    start = 0
    for tensor in tensors:
        kept = dtype or tensor.dtype
        stop = start + math.prod(tensor.shape) * DTYPES[kept].itemsize
        table[tensor.name] = {
            "dtype": kept,
            "shape": list(tensor.shape),
            "data_offsets": [start, stop],
        }
        start = stop
    text = json.dumps(table, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % LENGTH_BYTES)
