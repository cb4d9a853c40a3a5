"""What a process writes of a model is held against what it holds, when all have written."""

import os
from collections.abc import Callable
from pathlib import Path

import jax
import ml_dtypes
import pytest

from m43.core.gemma import Gemma
from m43.files import ModelFolderError, partial_folder
from m43.training.meeting import ProcessesMissingError
from m43.training.weights.config_json import read_model_config
from m43.training.weights.folder import SINGLE
from m43.training.weights.read_write import read_weights, weights_digest, write_weights

Harm = Callable[[bytearray], None]


@pytest.fixture(scope="module")
def model(tiny_gemma: Path) -> Gemma:
    """A model on one device."""
    return read_weights(tiny_gemma, read_model_config(tiny_gemma), ml_dtypes.bfloat16)


def flip_last(data: bytearray) -> None:
    """Change one bit of the last tensor."""
    data[-1] ^= 1


def flip_middle(data: bytearray) -> None:
    """Change one bit of a tensor in the middle."""
    data[len(data) // 2] ^= 1


def lose_share(data: bytearray) -> None:
    """Take what never arrived: zeros."""
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)


def cut(data: bytearray) -> None:
    """Take the end away."""
    del data[-2:]


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (flip_last, "other bytes of .* than process 0 wrote"),
        (flip_middle, "other bytes of .* than process 0 wrote"),
        (lose_share, "other bytes of .* than process 0 wrote"),
        (cut, "expected the file that process 0 began"),
    ],
)
def test_what_others_spoilt_is_named(
    model: Gemma, tiny_gemma: Path, tmp_path: Path, harm: Harm, found: str
) -> None:
    """One bit that changed between is enough, and no folder is left."""
    out = tmp_path / "out"

    def meet(point: str) -> None:
        if point == "out written":
            path = partial_folder(out) / SINGLE
            data = bytearray(path.read_bytes())
            harm(data)
            path.write_bytes(data)

    with pytest.raises(ModelFolderError, match=found):
        write_weights(model, out, source=tiny_gemma, meet=meet)
    assert list(tmp_path.iterdir()) == []


def test_no_folder_has_its_name_before_all_have_compared(
    model: Gemma, tiny_gemma: Path, tmp_path: Path
) -> None:
    """They meet three times, each time under a name of its own."""
    out, points = tmp_path / "out", []

    def meet(point: str) -> None:
        points.append(point)
        assert not out.exists()

    write_weights(model, out, source=tiny_gemma, meet=meet)
    assert points == ["out begun", "out written", "out compared"]
    assert weights_digest(out) == weights_digest(tiny_gemma)


@pytest.mark.parametrize("at", ["out begun", "out written", "out compared"])
def test_a_process_that_does_not_come_leaves_no_folder(
    model: Gemma, tiny_gemma: Path, tmp_path: Path, at: str
) -> None:
    """The first one takes away what it began."""

    def meet(point: str) -> None:
        if point == at:
            raise ProcessesMissingError(found="nothing", expected="all", where="", action="")

    with pytest.raises(ProcessesMissingError):
        write_weights(model, tmp_path / "out", source=tiny_gemma, meet=meet)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_sees_another_run_folder_says_so(
    model: Gemma, tiny_gemma: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins no file itself."""
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with pytest.raises(ModelFolderError, match="let every host see the same run folder"):
        write_weights(model, tmp_path / "out", source=tiny_gemma, meet=print)
    assert list(tmp_path.iterdir()) == []


def test_what_the_system_takes_in_parts_is_written_whole(
    model: Gemma, tiny_gemma: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux takes less than 2 GiB in one call; here it is 1000 bytes."""
    written = os.pwrite

    def parts(descriptor: int, data: memoryview, first_byte: int) -> int:
        return written(descriptor, data[:1000], first_byte)

    monkeypatch.setattr(os, "pwrite", parts)
    write_weights(model, tmp_path / "out", source=tiny_gemma)
    assert weights_digest(tmp_path / "out") == weights_digest(tiny_gemma)
