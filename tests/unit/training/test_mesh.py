"""A step on a mesh is the step of one device, by a plan that moves as little as it has to."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from m43.records import MeshTable, Profile, profile_check
from m43.training.mesh import DeviceCountError, UnevenMeshError, mesh_of
from m43.training.plan.plan import abstract_batch
from m43.training.trainer import build_abstract_step
from tests.unit.training.gemma_2b import GEMMA_2B

REPOSITORY = Path(__file__).parents[3]
# A process of its own for all of it: some 80 s of one core, longer where others use it too.
pytestmark = pytest.mark.timeout(900)

CASES = [f"{family}-{method}-1" for family in ("gemma", "gemma2", "gemma3_text")
         for method in ("full", "lora")]  # fmt: skip
MESHES = ("2x1", "4x1", "1x2", "1x4", "2x2")
STEPS = [(case, mesh) for case in CASES for mesh in MESHES]
STEPS += [(f"gemma-{method}-2", mesh) for method in ("full", "lora") for mesh in ("4x1", "2x2")]
TABLE = 256 * 128


@dataclass(frozen=True, kw_only=True)
class Step:
    """What `mesh_steps` says of a step; distances are relative to that of one device."""

    devices: int
    tokens: int
    tokens_alone: int
    loss: float
    norm: float
    gradient: float
    weights: float
    moved: float
    share: float
    widest: int
    activations: int
    per_chunk: list[list[object]]


@pytest.fixture(scope="module")
def said() -> list[dict[str, Any]]:
    """What the process said, line by line."""
    command = [sys.executable, "-m", "tests.unit.training.mesh_steps"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.fixture(scope="module")
def steps(said: list[dict[str, Any]]) -> dict[tuple[str, str], Step]:
    """Every step, by its case and its mesh."""
    found = [dict(each) for each in said if "mesh" in each]
    return {(each.pop("case"), each.pop("mesh")): Step(**each) for each in found}


def test_every_step_was_taken(steps: dict[tuple[str, str], Step]) -> None:
    """Three families, full and LoRA, on five meshes; accumulated ones on two; all rows packed."""
    assert sorted(steps) == sorted(STEPS)


@pytest.mark.parametrize(("case", "mesh"), STEPS)
def test_a_step_on_a_mesh_is_that_of_one_device(
    steps: dict[tuple[str, str], Step], case: str, mesh: str
) -> None:
    """Loss, gradient, its norm and the weights after it: float32, to 1e-6; tokens exactly.

    The weights have moved by a thousand times as much at least, so that their agreement says
    something about the update, clipping and Adafactor's means included.
    """
    step = steps[case, mesh]
    fsdp, tensor = (int(size) for size in mesh.split("x"))
    assert step.devices == fsdp * tensor
    assert step.tokens == step.tokens_alone > 0
    assert max(step.loss, step.norm, step.gradient, step.weights) < 1e-6
    assert step.moved > 1e-3


@pytest.mark.parametrize(("case", "mesh"), STEPS)
def test_each_device_holds_its_share(
    steps: dict[tuple[str, str], Step], case: str, mesh: str
) -> None:
    """Beside norms and adapters a share of everything; keys and values are not cut by tensor."""
    step = steps[case, mesh]
    fsdp, tensor = (int(size) for size in mesh.split("x"))
    whole = 0.18 if "lora" in case else 0.015
    assert step.share < 1 / (fsdp * tensor) + whole + (0.14 if tensor > 1 else 0.0)


@pytest.mark.parametrize(("case", "mesh"), STEPS)
def test_the_vocabulary_never_moves(
    steps: dict[tuple[str, str], Step], case: str, mesh: str
) -> None:
    """No collective holds an array of the table's size, its gradient's included."""
    assert steps[case, mesh].widest < TABLE


@pytest.mark.parametrize(("case", "mesh"), STEPS)
def test_a_chunk_of_the_loss_exchanges_three_numbers_a_row(
    steps: dict[tuple[str, str], Step], case: str, mesh: str
) -> None:
    """One largest, two sums, of six rows in float32; nothing else is in the loop over chunks."""
    assert steps[case, mesh].per_chunk == [["all-reduce", 2, 3 * 6 * 4]]


@pytest.mark.parametrize(("case", "mesh"), STEPS)
def test_fsdp_gathers_weights_and_tensor_sums_activations(
    steps: dict[tuple[str, str], Step], case: str, mesh: str
) -> None:
    """Without a tensor axis no activation leaves its device; with one, each layer sums them."""
    assert (steps[case, mesh].activations > 0) == (not mesh.endswith("x1"))


def test_four_devices_give_the_answers_of_one(said: list[dict[str, Any]]) -> None:
    """Each answers two of eight prompts, of which one at least has stopped early."""
    (found,) = (each for each in said if each["case"] == "decoded")
    assert found["tokens"] == found["tokens_alone"]
    assert found["counts"] == found["counts_alone"]
    assert min(found["counts"]) < max(found["counts"])
    assert (found["devices"], found["rows_of_a_device"]) == (4, [2, 2, 2, 2])


def profile_on(mesh: MeshTable) -> Profile:
    """Give the rehearsal's profile on another mesh."""
    profile = profile_check.load(REPOSITORY / "acceptance" / "rehearsal.toml")
    contract = replace(profile.contract, devices=mesh.devices)
    return replace(profile, contract=contract, mesh=mesh)


def test_one_device_has_no_mesh() -> None:
    """Whatever else is there: the step is then that of before there were meshes."""
    assert mesh_of(profile_on(MeshTable()), GEMMA_2B, jax.devices() * 2) is None


@pytest.mark.parametrize("count", [1, 3, 8])
def test_other_devices_than_promised_are_refused(count: int) -> None:
    """Fewer, and more: one that were left over would be idle without a word."""
    with pytest.raises(DeviceCountError, match=f"found {count} devices .*expected 4, arranged as"):
        mesh_of(profile_on(MeshTable(fsdp=2, tensor=2)), GEMMA_2B, jax.devices()[:1] * count)


def test_a_model_that_cannot_be_shared_evenly_is_refused() -> None:
    """Where only config.json knows the sizes: each that does not divide, at once."""
    with pytest.raises(UnevenMeshError) as caught:
        mesh_of(profile_on(MeshTable(tensor=3)), GEMMA_2B, jax.devices()[:1] * 3)
    assert [problem.found for problem in caught.value.problems] == [
        "intermediate_size 16384",
        "vocab_size 256000",
        "num_attention_heads 8",
    ]


def test_without_a_mesh_nothing_is_pinned() -> None:
    """The program of one device holds no sharding, no collective and no part for each device."""
    step = build_abstract_step(profile_on(MeshTable()), GEMMA_2B, np.dtype("float32"))
    lowered = step.lower(step.abstract_state(), step.abstract_frozen(), abstract_batch(8, 32))
    text = lowered.as_text()
    assert not re.search(r"sharding|all_reduce|manual|mesh", text, re.IGNORECASE)
