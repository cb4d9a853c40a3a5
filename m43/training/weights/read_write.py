"""A model's weights as a Hugging Face folder of safetensors: read, written, read again."""

import contextlib
import hashlib
import math
from collections import defaultdict
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Sharding

from m43.core import Gemma, GemmaConfig, abstract_gemma
from m43.files import ModelFolderError, partial_folder, weights_sha256, whole_folder
from m43.training.device import give_back_memory
from m43.training.mesh import whole
from m43.training.weights.companions import write_companions
from m43.training.weights.folder import (
    StoredWeights,
    TensorPlace,
    blocks_of,
    open_weight_folder,
    tensor_places,
)
from m43.training.weights.safetensors_file import (
    DTYPES,
    FLOAT32,
    LENGTH_BYTES,
    SafetensorsFile,
    StoredTensor,
    aligned_empty,
    common_dtype,
    make_header,
    read_into,
)
from m43.training.weights.shares import (
    places_by_name,
    require_arrived,
    tensor_of,
    write_shares,
)

Leaf = tuple[Any, ...]
"""The path of a parameter in the model."""


def read_weights(
    folder: Path,
    config: GemmaConfig,
    dtype: jnp.dtype | type | None,
    *,
    compute_dtype: jnp.dtype | type = jnp.bfloat16,
    remat: bool = True,
    donated: bool = False,
    placed: Callable[[Leaf, int], Sharding] | None = None,
) -> Gemma:
    """Read a single or sharded safetensors folder straight into the stacked parameters.

    One parameter, or a device's share of one, is in host memory at a time: it is filled tensor by
    tensor and handed over. Of each tensor those bytes are read that a device of this process needs.
    A `lm_head.weight` is accepted if its bits equal the embedding's, as they must when tied.

    Args:
        folder: of the model.
        config: of the model.
        dtype: that the weights are converted to; None for the narrowest that holds every tensor
            of a parameter exactly, which is that of its files where they have only one.
        compute_dtype: as in `Gemma`.
        remat: as in `Gemma`.
        donated: whether the arrays will be donated to a step. JAX copies an array that is aliased
            with NumPy before it donates it, and keeps both: then each is copied here, one at a
            time.
        placed: where a parameter lies on a mesh, by its path and its number of axes; None for the
            default device.

    Raises:
        WeightsError: with every file and tensor that is missing, unexpected, misshapen,
            cut off or of an unknown dtype.
    """
    places = tuple(tensor_places(config))
    stored = open_weight_folder(folder, places)
    by_leaf: dict[Leaf, list[TensorPlace]] = defaultdict(list)
    for place in places:
        by_leaf[place.leaf].append(place)
    model = abstract_gemma(config, dtype or FLOAT32, compute_dtype=compute_dtype, remat=remat)
    graphdef, state = nnx.split(model)

    def read(leaf: Leaf, shape: tuple[int, ...]) -> jax.Array:
        here = by_leaf[leaf]
        exact = common_dtype(stored.tensors[place.name][1].dtype for place in here)
        kept = exact if dtype is None else np.dtype(dtype)
        if placed is None:
            return _handed_over(_read_leaf(stored, here, shape, kept), donated, None)
        sharding = placed(leaf, len(shape))
        parts = sharding.addressable_devices_indices_map(shape).items()
        arrays = [
            _handed_over(_read_leaf(stored, here, shape, kept, part or ()), donated, device)
            for device, part in parts
        ]
        return jax.make_array_from_single_device_arrays(shape, sharding, arrays)

    filled = [
        (path, variable.replace(read(path, variable.shape)))
        for path, variable in nnx.to_flat_state(state)
    ]
    return nnx.merge(graphdef, nnx.from_flat_state(filled))


def _read_leaf(
    stored: StoredWeights,
    places: list[TensorPlace],
    shape: tuple[int, ...],
    dtype: np.dtype,
    part: tuple[slice, ...] = (),
) -> np.ndarray:
    """Read a parameter, or the part of it that one device has: of all layers the same rows."""
    cuts = zip_longest(shape, part, fillvalue=slice(None))
    ranges = [range(*cut.indices(size)) for size, cut in cuts]  # type: ignore[arg-type]
    buffer = aligned_empty(tuple(map(len, ranges)), dtype)
    for place in places:
        file, tensor = stored.tensors[place.name]
        within = ranges if place.layer is None else ranges[1:]
        read_into(buffer if place.layer is None else buffer[place.layer], file, tensor, within)
    return buffer


def _handed_over(buffer: np.ndarray, owned: bool, device: jax.Device | None) -> jax.Array:
    if not owned:
        return jax.device_put(buffer, device)
    # To `device_put` it makes no difference on a CPU what `may_alias` says.
    copied = jax.block_until_ready(jnp.array(buffer, copy=True, device=device))
    del buffer
    give_back_memory()
    return copied


def write_weights(
    model: Gemma,
    folder: Path,
    *,
    source: Path,
    dtype: jnp.dtype | type | None = None,
    meet: Callable[[str], object] | None = None,
) -> None:
    """Write a model as the folder it was read from is written: same files, names and order.

    Untouched weights in the dtypes they came in give the same bytes. The tokenizer files and
    config.json are copied; only the dtype in config.json changes, and only if it does. The
    folder is written under another name and renamed when it is whole and on the disk.

    Of a multimodal source it is a text model's folder: with that model's names and config.json,
    without the other parts and without a file that holds nothing else.

    Where several processes hold the model, each calls this: the first begins the files and renames
    their folder, and each writes what its own devices hold, and reads that back when all have.

    Args:
        model: as it is to be stored.
        folder: that is not there yet; the same one for all processes.
        source: the folder that the model was read from.
        dtype: of every tensor; None stores each as the source does.
        meet: waits until the other processes are at this point as well, which has a name of its
            own; None where there are none.

    Raises:
        ModelFolderError: if the folder is there already, the dtype is not one to store, or what
            this process wrote is not what lies there.
        WeightsError: if the source is not a folder of this model.
    """
    code = _code_of(dtype, folder)
    stored = open_weight_folder(source, tuple(tensor_places(model.config)))
    files = list(filter(stored.kept, stored.files))
    first = jax.process_index() == 0
    # The others ask for no name before it is there: NFS remembers for a while what was not.
    named = whole_folder(folder) if first else contextlib.nullcontext(partial_folder(folder))
    with named as partial:
        paths = [partial / file.path.name for file in files]
        if first:
            for file, path in zip(files, paths, strict=True):
                _begin_file(path, file, stored.kept(file), code)
            write_companions(source, partial, stored, code)
        if meet is None:
            write_shares(model, paths)
            return
        meet(f"{folder.name} begun")
        write_shares(model, paths)
        meet(f"{folder.name} written")
        require_arrived(model, paths)
        meet(f"{folder.name} compared")


def _code_of(dtype: jnp.dtype | type | None, folder: Path) -> str | None:
    codes = {numpy_dtype: name for name, numpy_dtype in DTYPES.items()}
    code = None if dtype is None else codes.get(np.dtype(dtype))
    if code is None and dtype is not None:
        raise ModelFolderError(
            found=f"dtype {np.dtype(dtype)}",
            expected=" or ".join(DTYPES),
            where=str(folder),
            action="name another dtype",
        )
    return code


def _begin_file(
    path: Path, file: SafetensorsFile, kept: tuple[StoredTensor, ...], code: str | None
) -> None:
    """Write a file's header, and give it its length."""
    changed = code is not None and any(tensor.dtype != code for tensor in kept)
    # The source's own header where it still holds: other writers pad and order differently.
    other = changed or kept != file.tensors
    header = make_header(kept, code, file.metadata) if other else file.header
    sizes = (math.prod(each.shape) * DTYPES[code or each.dtype].itemsize for each in kept)
    with path.open("wb") as out:
        out.write(len(header).to_bytes(LENGTH_BYTES, "little") + header)
        out.truncate(LENGTH_BYTES + len(header) + sum(sizes))


def weights_digest(folder: Path) -> str:
    """Identify the weights of a folder by one SHA-256, in hexadecimal.

    It is the digest of the text that `sha256sum` prints for the safetensors files of the folder
    in the order of their names, so that anybody can check it without m43:

        cd FOLDER && LC_ALL=C sha256sum *.safetensors | sha256sum

    Raises:
        ModelFolderError: if there is no safetensors file to digest.
    """
    digest = weights_sha256(folder)
    if not digest:
        raise ModelFolderError(
            found="no *.safetensors file",
            expected="at least one",
            where=str(folder),
            action="name the folder that holds the model",
        )
    return digest


def round_trip_digest(
    folder: Path,
    config: GemmaConfig,
    dtype: np.dtype | None = None,
    *,
    placed: Callable[[Leaf, int], Sharding] | None = None,
) -> str:
    """Read a folder into a model and digest the model's arrays in the layout of the files.

    Args:
        folder: of the model.
        config: of the model.
        dtype: of the arrays; None for those that hold every tensor exactly.
        placed: as in `read_weights`.
    """
    return model_digest(read_weights(folder, config, dtype, placed=placed), folder)


def model_digest(model: Gemma, folder: Path) -> str:
    """Digest a model's arrays in the layout of the files that it was read from.

    Equal to `weights_digest` of the folder exactly when every tensor arrived bit for bit in its
    place; what a multimodal folder has beside the model is taken from its files. Reading the same
    bytes of a file twice would prove nothing about that, and between two readings a file can be
    exchanged. A model of 5 GB takes some ten seconds.

    Args:
        model: in dtypes that hold every tensor exactly.
        folder: that says which tensor lies where in which file.
    """
    places = places_by_name(model.config)
    lines = []
    stored = open_weight_folder(folder, tuple(tensor_places(model.config)))
    for file in stored.files:
        digest = hashlib.sha256(len(file.header).to_bytes(LENGTH_BYTES, "little") + file.header)
        for tensor in file.tensors:
            if not (name := stored.name_of(tensor)):
                for block in blocks_of(file, tensor):
                    digest.update(block)
                continue
            values = whole(tensor_of(model, places[name]))
            exact = np.ascontiguousarray(values.astype(DTYPES[tensor.dtype], copy=False))
            digest.update(exact.reshape(-1).view(np.uint8).data)
        lines.append(f"{digest.hexdigest()}  {file.path.name}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()
