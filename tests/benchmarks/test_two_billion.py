"""Gemma 2B's own size on this machine: load, one LoRA step of 1 x 128 tokens, export.

Needs 16 GiB of memory, 11 GB of disk and some minutes, so it is no unit test.

    python -m pytest tests/benchmarks/test_two_billion.py -s
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors import safe_open

from m43.harness.process.environment import child_environment
from tests.benchmarks.random_gemma import PARAMETERS, write_random_gemma

REPOSITORY = Path(__file__).parents[2]
GIB = 2**30
MODEL_BYTES = 2 * PARAMETERS
INDEX = "model.safetensors.index.json"

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that is gone afterwards: pytest would keep its own for three runs."""
    with tempfile.TemporaryDirectory(prefix="m43-2b-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def took(folder: Path) -> dict[str, object]:
    """Do it once, in a child with the environment of a run's children."""
    write_random_gemma(folder / "base")
    child = Path(__file__).with_name("lora_step_child.py")
    environment = child_environment(
        os.environ, platform="cpu", system=sys.platform, parent_pid=os.getpid(), secrets=(),
    )  # fmt: skip
    environment["PYTHONPATH"] = str(REPOSITORY)
    done = subprocess.run(
        [sys.executable, str(child), str(folder / "base"), str(folder)],
        env=environment, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    found: dict[str, object] = json.loads(done.stdout)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return found


def test_reading_needs_less_than_1_3_times_the_model(took: dict[str, object]) -> None:
    """Reading streams; Python and JAX are counted in."""
    assert MODEL_BYTES < took["loaded_peak_bytes"] < 1.3 * MODEL_BYTES


def test_a_lora_step_needs_no_second_copy_of_the_base(took: dict[str, object]) -> None:
    """Adapters, their moments and the activations of 128 tokens are all that is added."""
    assert took["step_peak_bytes"] < 1.5 * MODEL_BYTES
    assert took["trained_parameters"] == 19_611_648
    assert 5 < took["loss_nats"] < 100


def test_everything_stays_within_16_gib(took: dict[str, object]) -> None:
    """Load, step, export and reading the export back, in one process."""
    assert took["read_back_peak_bytes"] < 16 * GIB


def test_the_export_is_the_same_folder_with_other_weights(
    took: dict[str, object], folder: Path
) -> None:
    """Same shards, names, shapes; read back bit for bit; some weights moved."""
    base, model = folder / "base", folder / "model"
    assert (model / INDEX).read_text() == (base / INDEX).read_text()
    for name in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"):
        assert (model / name).stat().st_size == (base / name).stat().st_size
        with safe_open(base / name, "np") as one, safe_open(model / name, "np") as two:
            assert one.keys() == two.keys()
    assert took["reloaded_sha256"] == took["model_sha256"]
    assert 0 < took["parameters_moved"] < PARAMETERS


def test_the_adapters_are_saved_beside_it(took: dict[str, object], folder: Path) -> None:
    """Two matrices for each of 7 projections in 18 layers."""
    with safe_open(folder / "adapter" / "adapter_model.safetensors", "np") as file:
        assert len(file.keys()) == 2 * 7 * 18
    assert took["parameters"] == PARAMETERS
