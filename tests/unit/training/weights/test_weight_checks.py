"""A folder's weights are finite, of a known dtype, and countably different from another's."""

import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from m43.errors import FailureClass
from m43.training.weights.checks import (
    NonFiniteWeightError,
    count_moved,
    count_stored,
    require_finite,
    stored_dtype,
)
from m43.training.weights.config_json import read_model_config
from m43.training.weights.read_write import round_trip_digest, weights_digest

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def changed(folder: Path, target: Path, patches: dict[int, bytes]) -> Path:
    """Copy a folder and overwrite bytes, counted from the end of its weights."""
    shutil.copytree(folder, target)
    path = target / "model.safetensors"
    data = bytearray(path.read_bytes())
    for from_end, content in patches.items():
        place = len(data) + from_end
        data[place : place + len(content)] = content
    path.write_bytes(data)
    return target


def test_counts_the_weights_over_the_shapes_that_are_stored(tiny_gemma: Path) -> None:
    """As many as follow from config.json, which is another way to count them."""
    config = read_model_config(tiny_gemma)
    assert count_stored(tiny_gemma, config) == config.parameters > 0


def test_knows_the_dtype_that_is_stored(tiny_gemma: Path) -> None:
    """What is saved beside the base has the base's dtype."""
    assert stored_dtype(tiny_gemma, read_model_config(tiny_gemma)) == BFLOAT16


@pytest.mark.parametrize("bits", [b"\xc0\x7f", b"\x80\x7f", b"\x80\xff"])
def test_a_value_that_is_not_finite_is_named(tiny_gemma: Path, tmp_path: Path, bits: bytes) -> None:
    """NaN and both infinities are found, and the tensor is named."""
    folder = changed(tiny_gemma, tmp_path / "bad", {-3000: bits})
    config = read_model_config(folder)
    require_finite(tiny_gemma, config)

    with pytest.raises(NonFiniteWeightError, match=r"model\.layers\.1\..*found 1 of") as caught:
        require_finite(folder, config)

    assert caught.value.failure_class is FailureClass.MODEL_INVALID
    assert caught.value.problems[0].action == "fetch the model again at its pinned revision"
    with pytest.raises(NonFiniteWeightError, match=r"; train again$"):
        require_finite(folder, config, action="train again")


def test_counts_the_weights_that_differ_bit_for_bit(tiny_gemma: Path, tmp_path: Path) -> None:
    """Two changed values are two, though one of them is only a changed sign of zero."""
    config = read_model_config(tiny_gemma)
    # The last tensor is a norm of zeros; 0x8000 is minus zero.
    folder = changed(tiny_gemma, tmp_path / "moved", {-2: b"\x00\x80", -4: b"\x01\x00"})

    assert count_moved(tiny_gemma, tiny_gemma, config) == 0
    assert count_moved(tiny_gemma, folder, config) == 2


def test_what_is_reloaded_has_the_digest_of_the_files(tiny_gemma: Path) -> None:
    """Every tensor arrives bit for bit in its place, and the formula is that of the files."""
    config = read_model_config(tiny_gemma)

    assert round_trip_digest(tiny_gemma, config, BFLOAT16) == weights_digest(tiny_gemma)


def test_a_changed_bit_changes_the_reloaded_digest(tiny_gemma: Path, tmp_path: Path) -> None:
    """The digest is of what arrived: it follows any change of a weight."""
    config = read_model_config(tiny_gemma)
    folder = changed(tiny_gemma, tmp_path / "moved", {-2000: b"\x01"})

    assert round_trip_digest(folder, config, BFLOAT16) == weights_digest(folder)
    assert round_trip_digest(folder, config, BFLOAT16) != weights_digest(tiny_gemma)


def test_a_lossy_reload_is_noticed(tmp_path: Path, tiny_gemma: Path) -> None:
    """Weights read in float16 are not those of the files; the check can fail."""
    config = read_model_config(tiny_gemma)

    assert round_trip_digest(tiny_gemma, config, np.dtype(np.float16)) != weights_digest(tiny_gemma)
