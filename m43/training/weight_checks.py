"""Checks on a folder's weights: in which dtype, all finite, and how many differ from another's."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from m43.core.gemma_config import GemmaConfig
from m43.errors import FailureClass, Problem, ProblemsError
from m43.training.safetensors_file import DTYPES, read_into
from m43.training.weight_folder import StoredWeights, open_weight_folder
from m43.training.weight_names import EMBEDDING, tensor_places


class NonFiniteWeightError(ProblemsError):
    """Weights that are not numbers; nothing can be learnt from them or decoded with them."""

    failure_class = FailureClass.MODEL_INVALID


def stored_dtype(folder: Path, config: GemmaConfig) -> np.dtype:
    """Give the dtype in which a folder stores its embedding, and so what is saved beside it."""
    _, embedding = _open(folder, config).tensors[EMBEDDING]
    return DTYPES[embedding.dtype]


def require_finite(folder: Path, config: GemmaConfig) -> None:
    """Look for infinities and NaN before they spread: one of them makes every loss one.

    Raises:
        NonFiniteWeightError: with every tensor that has any.
    """
    problems = []
    for name, values in _tensors(folder, config):
        bad = int(np.count_nonzero(~np.isfinite(values)))
        if bad:
            problems.append(
                Problem(
                    found=f"{bad} of {values.size} values that are not finite",
                    expected="finite weights",
                    where=f"{folder}, {name}",
                    action="fetch the model again at its pinned revision",
                )
            )
    if problems:
        raise NonFiniteWeightError(problems)


def count_moved(base: Path, tuned: Path, config: GemmaConfig) -> int:
    """Count the weights that differ between two folders of one model, bit for bit.

    Bits rather than values: a NaN is unequal to itself, and 0.0 equal to -0.0.
    """
    pairs = zip(_tensors(base, config), _tensors(tuned, config), strict=True)
    return sum(int(np.count_nonzero(_bits(old) != _bits(new))) for (_, old), (_, new) in pairs)


def count_stored(folder: Path, config: GemmaConfig) -> int:
    """Count the weights of a folder over the shapes of its tensors; a second, tied head is none."""
    tensors = _open(folder, config).tensors
    return sum(math.prod(tensors[place.name][1].shape) for place in tensor_places(config))


def _bits(values: np.ndarray) -> np.ndarray:
    return values.view({2: np.uint16, 4: np.uint32}[values.itemsize])


def _open(folder: Path, config: GemmaConfig) -> StoredWeights:
    return open_weight_folder(folder, tuple(tensor_places(config)))


def _tensors(folder: Path, config: GemmaConfig) -> Iterator[tuple[str, np.ndarray]]:
    # In the order of the model, not of the files, and without a second copy of the tied head:
    # two folders are then walked side by side and every weight is met once.
    stored = _open(folder, config)
    dtype = DTYPES[stored.tensors[EMBEDDING][1].dtype]
    for place in tensor_places(config):
        file, tensor = stored.tensors[place.name]
        values = np.empty(tensor.shape, dtype)
        read_into(values, file, tensor)
        yield place.name, values
