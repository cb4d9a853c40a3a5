"""A model on a mesh is read by shares and written by those who hold them, bit for bit.

By one process with four devices, and by two with two devices each, which start over the loopback.
"""

import json
from dataclasses import dataclass

import pytest

from tests.unit.training.test_processes import Processes

CHILD = "tests.unit.training.mesh_weights"
CASES = ("untouched", "float16", "float32", "lora", "lora-float32", "multimodal")
pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True, kw_only=True)
class Written:
    """What `mesh_weights` says of a case: digests of weights, and bytes."""

    source: str
    arrays: str
    written: str
    read: int
    shares: int
    whole: int
    bytes_written: list[int]
    bytes_of_tensors: int
    as_alone: bool


@pytest.fixture(scope="module", params=[1, 2], ids=["one", "two"])
def cases(request: pytest.FixtureRequest) -> dict[str, Written]:
    """Every case, by as many processes."""
    count = request.param
    counted = {number: {"JAX_NUM_PROCESSES": str(count)} for number in range(count)}
    with Processes(CHILD, count=count, changes=counted) as processes:
        statuses, text = processes.ended()
    assert statuses == [0] * count
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return {line.pop("case"): Written(**line) for line in lines}


def test_every_case_was_written(cases: dict[str, Written]) -> None:
    """None is left out."""
    assert tuple(cases) == CASES


@pytest.mark.parametrize("name", CASES)
def test_each_process_reads_what_its_devices_hold(cases: dict[str, Written], name: str) -> None:
    """No byte more, and it arrives bit for bit."""
    case = cases[name]
    assert case.arrays == case.source
    assert case.read == case.shares


@pytest.mark.parametrize("name", CASES)
def test_each_process_writes_its_own_shares_and_together_they_write_all(
    cases: dict[str, Written], name: str
) -> None:
    """Every byte once: the folder is the one that a device alone writes, every file of it."""
    case = cases[name]
    assert sum(case.bytes_written) == case.bytes_of_tensors
    assert max(case.bytes_written) < 0.6 * case.bytes_of_tensors or len(case.bytes_written) == 1
    assert case.as_alone


def test_untouched_weights_are_the_files_that_were_read(cases: dict[str, Written]) -> None:
    """The digest that anybody can compute is the same before and after.

    Of two processes each reads half; norms, keys and values lie on several devices, and are read
    for each.
    """
    case = cases["untouched"]
    assert case.written == case.source
    assert case.read < (1.1 if len(case.bytes_written) == 1 else 0.6) * case.whole


def test_what_was_learnt_is_written(cases: dict[str, Written]) -> None:
    """Else the adapters' shares would say nothing."""
    assert cases["lora"].written != cases["lora"].source


def test_a_process_that_is_lost_while_it_writes_leaves_no_folder() -> None:
    """Neither under the model's name nor under another; the other says who is missing."""
    with Processes(CHILD, "lost") as processes:
        statuses, text = processes.ended()
    assert statuses == [0, 0]
    (line,) = (json.loads(line) for line in text.splitlines() if line.startswith("{"))
    assert line["left"] == ["multimodal", "toy"]
    assert "nothing of process 1 about 'model written'" in line["found"]
