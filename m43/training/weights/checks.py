"""Checks on a folder's weights: in which dtype, all finite, and how many differ from another's."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from m43.core import GemmaConfig
from m43.errors import FailureClass, Problem, ProblemsError
from m43.training.weights.folder import StoredWeights, open_weight_folder, tensor_places
from m43.training.weights.safetensors_file import DTYPES, FLOAT32, common_dtype, read_into

_AGAIN = "fetch the model again at its pinned revision"


class NonFiniteWeightError(ProblemsError):
    """Weights that are not numbers; nothing can be learnt from them or decoded with them."""

    failure_class = FailureClass.MODEL_INVALID


def stored_dtype(folder: Path, config: GemmaConfig) -> np.dtype:
    """Return the narrowest dtype that holds every tensor of a folder exactly."""
    return common_dtype(stored_dtypes(folder, config))


def stored_dtypes(folder: Path, config: GemmaConfig) -> tuple[str, ...]:
    """Return the dtypes that a folder stores its tensors in, as its files name them, each once."""
    stored = _open(folder, config)
    return tuple(sorted({tensor.dtype for _, tensor in stored.tensors.values()}))


def require_finite(folder: Path, config: GemmaConfig, action: str = _AGAIN) -> None:
    """Refuse infinities and NaN before they spread: one of them makes every loss one.

    Args:
        folder: of the model.
        config: of the model.
        action: what to do about them.

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
                    action=action,
                )
            )
    if problems:
        raise NonFiniteWeightError(problems)


def count_moved(base: Path, tuned: Path, config: GemmaConfig) -> int:
    """Count the weights that differ between two folders of one model, bit for bit.

    Bits rather than values: a NaN is unequal to itself, and 0.0 equal to -0.0.
    """
    pairs = zip(_tensors(base, config), _tensors(tuned, config), strict=True)
    return sum(_differing(old, new) for (_, old), (_, new) in pairs)


def _differing(old: np.ndarray, new: np.ndarray) -> int:
    if old.dtype != new.dtype:
        # Exact for both, so that equal bits are equal values.
        old, new = old.astype(FLOAT32), new.astype(FLOAT32)
    return int(np.count_nonzero(_bits(old) != _bits(new)))


def count_stored(folder: Path, config: GemmaConfig) -> int:
    """Count the weights of a folder over the shapes of its tensors; a second, tied head is none."""
    tensors = _open(folder, config).tensors
    return sum(math.prod(tensors[place.name][1].shape) for place in tensor_places(config))


def count_left_out(folder: Path, config: GemmaConfig) -> int:
    """Count the weights of a multimodal folder that are not its text model's; 0 of any other."""
    return _open(folder, config).left_out()


def _bits(values: np.ndarray) -> np.ndarray:
    return values.view({2: np.uint16, 4: np.uint32}[values.itemsize])


def _open(folder: Path, config: GemmaConfig) -> StoredWeights:
    return open_weight_folder(folder, tuple(tensor_places(config)))


def _tensors(folder: Path, config: GemmaConfig) -> Iterator[tuple[str, np.ndarray]]:
    # In the order of the model, not of the files, and without a second copy of the tied head:
    # two folders are then walked side by side and every weight is met once.
    stored = _open(folder, config)
    for place in tensor_places(config):
        file, tensor = stored.tensors[place.name]
        values = np.empty(tensor.shape, DTYPES[tensor.dtype])
        read_into(values, file, tensor)
        yield place.name, values
