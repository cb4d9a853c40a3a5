"""The device: its memory, and where compiled programs are kept."""

import mmap
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from m43.errors import FailureClass
from m43.records import RunDir, profile_check, write_record
from m43.training import device, train
from m43.training.device import compiled_folder, held_bytes, measured
from tests.unit.evidence.good_plan import plan_record, training_plan

MIB = 1 << 20


def _touched(mebibytes: int) -> mmap.mmap:
    block = mmap.mmap(-1, mebibytes * MIB)
    np.frombuffer(block, np.uint8)[:: mmap.PAGESIZE] = 1
    return block


def _work() -> mmap.mmap:
    passing = _touched(96)
    kept = _touched(32)
    passing.close()
    return kept


def test_what_is_freed_counts_at_the_peak_and_what_is_kept_counts_after() -> None:
    """128 MiB at once, 32 of them kept, whatever this process held at its peak before."""
    _touched(256).close()
    # What earlier tests have freed would be given back meanwhile, and hide what is kept.
    device.give_back_memory()
    before = held_bytes()
    block, taken = measured(_work)
    assert abs(taken.most_bytes - 128 * MIB) < 24 * MIB
    assert abs(taken.kept_bytes - 32 * MIB) < 24 * MIB
    assert held_bytes() - before > 8 * MIB
    block.close()


def test_the_peak_of_who_started_a_process_is_not_its_own() -> None:
    """The kernel hands a parent's maxrss on when a child starts its program."""
    block = _touched(1024)
    code = "from m43.training.device import peak_host_bytes; print(peak_host_bytes())"
    repository = Path(device.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    block.close()
    assert 0 < int(done.stdout) < 1024 * MIB


def test_where_the_kernel_does_not_say_the_peak_is_that_of_getrusage(tmp_path: Path) -> None:
    """Less exact, and never nothing."""
    assert device.peak_host_bytes(tmp_path / "no-such-file") > 64 * MIB


@dataclass(kw_only=True)
class Card:
    """A device that answers as JAX's does."""

    stats: dict[str, int] | None
    platform: str = "gpu"

    def memory_stats(self) -> dict[str, int] | None:
        """Tell what its allocator counts."""
        return self.stats


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        ({"bytes_limit": 100, "pool_bytes": 81}, 81),
        ({"bytes_limit": 100, "pool_bytes": 0}, 100),
        ({"bytes_limit": 100}, 100),
        ({}, device.host_memory_bytes()),
        (None, device.host_memory_bytes()),
    ],
)
def test_the_memory_of_a_card_is_what_jax_got_of_it(
    stats: dict[str, int] | None, expected: int
) -> None:
    """Not what it was let take: beside another program the first array gets a tenth less."""
    assert device.memory_bytes(Card(stats=stats)) == expected  # type: ignore[arg-type]


def test_memory_that_was_taken_since_the_plan_stops_the_child_by_name() -> None:
    """To the byte: what the plan needs with its margin, and not what was free when it was made."""
    plan = training_plan()
    device.require_memory(plan.needed_bytes, plan)
    with pytest.raises(device.LessMemoryError, match="that were free when") as raised:
        device.require_memory(plan.needed_bytes - 1, plan)
    assert raised.value.failure_class is FailureClass.MEMORY_TAKEN


@pytest.mark.parametrize(("platform", "refused"), [("gpu", True), ("cpu", False)])
def test_the_training_child_looks_before_it_reads_a_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, refused: bool
) -> None:
    """On a card, against the plan of the run folder; a CPU's memory is not set apart."""
    run = RunDir(tmp_path)
    write_record(run.plan, plan_record())
    card = Card(stats={"bytes_limit": 2**34, "pool_bytes": 2**29}, platform=platform)
    monkeypatch.setattr(train.jax, "local_devices", lambda: [card])
    with pytest.raises(device.LessMemoryError) if refused else nullcontext():
        train._require_planned_memory(run)


PROFILES = Path(__file__).parents[3] / "acceptance"


def test_a_production_run_executes_only_what_it_compiled() -> None:
    """Nor does a rehearsal against the loopback hub, whose cache goes away with it."""
    assert compiled_folder(profile_check.load(PROFILES / "production.toml")) is None
    assert compiled_folder(profile_check.load(PROFILES / "rehearsal.toml")) is None


def test_another_rehearsal_keeps_programs_in_the_hugging_face_cache() -> None:
    """The only place outside the run folder that a run may write to."""
    rehearsal = profile_check.load(PROFILES / "rehearsal.toml")
    profile = replace(rehearsal, hub=replace(rehearsal.hub, endpoint="default"))
    assert compiled_folder(profile) == Path(constants.HF_HOME) / "m43-compiled"
