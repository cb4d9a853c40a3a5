"""The probe of several devices: each computes, all exchange, and a process that differs is named.

The processes are started here as in `test_processes.py`, over the loopback.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from m43.errors import FailureClass
from m43.records.numerics_record import NOT_MEASURED
from m43.records.profile import MeshTable, Profile
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.run_records import ChildError
from m43.records.venv_record import Exchange, MeshRecord, ProbeRecord
from m43.training import child
from m43.training.numerics.exchange import LONG, SHORT, count_wrong, known_values, seen_by_all
from tests.unit.training.test_processes import DEVICES, PROCESSES, Processes, by_two
from tests.unit.training.test_runs import bundled

__all__ = ["bundled"]

REPOSITORY = Path(__file__).parents[3]
JOB = ("m43.training", "probe")
pytestmark = pytest.mark.timeout(600)


def folder_of(path: Path, profile: Profile) -> RunDir:
    """Give a folder that holds a profile, as the venv gate finds it."""
    run = RunDir.create(path)
    write_record(run.profile, profile)
    return run


def error_of(run: RunDir, number: int) -> ChildError:
    """Read why a process stopped."""
    return read_record(run.of_process(number).error("probe"), ChildError)


def in_the_second(path: Path, line: str) -> dict[int, dict[str, str]]:
    """Have the second process run a line of Python before all else; no fact tells of it."""
    folder = path / "startup"
    folder.mkdir()
    imports = (
        "import jax; from m43.training import mesh; from m43.training.numerics import exchange"
    )
    (folder / "sitecustomize.py").write_text(f"{imports}\n{line}\n")
    return {1: {"PYTHONPATH": f"{folder}:{REPOSITORY}"}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, bundled: Profile) -> RunDir:
    """What two processes of two devices each left, arranged 2 x 2."""
    path = tmp_path_factory.mktemp("probed") / "run"
    run = folder_of(path, by_two(bundled, MeshTable(fsdp=2, tensor=2)))
    with Processes(*JOB, str(run.path)) as processes:
        assert processes.ended()[0] == [0, 0]
    return run


@pytest.fixture(scope="module")
def tried(run: RunDir) -> MeshRecord:
    """What they say of all."""
    mesh = read_record(run.probe, ProbeRecord).mesh
    assert mesh is not None
    return mesh


def test_every_collective_is_compared_along_every_axis(tried: MeshRecord) -> None:
    """By all devices of both processes, short and long; the times are of 4 MiB a device."""
    found = {(each.axis, each.operation): each for each in tried.exchanges}
    assert list(found) == [
        (axis, operation)
        for axis in ("fsdp", "tensor")
        for operation in ("all-reduce", "all-gather")
    ]
    for (_, operation), each in found.items():
        received = 2 if operation == "all-gather" else 1
        assert each.values == DEVICES * received * (SHORT + LONG)
        assert (each.devices, each.wrong_values, each.payload_bytes) == (2, 0, 4 * LONG)
        assert each.bytes_per_s == pytest.approx(4 * LONG / each.duration_s)


def test_every_device_computes(tried: MeshRecord) -> None:
    """Each of both processes, and none of them twice."""
    devices = [device for each in tried.processes for device in each.devices]
    assert len(set(devices)) == DEVICES
    assert {device.partition(" ")[2] for device in devices} == {"cpu:cpu"}
    assert [each.wrong_products for each in tried.processes] == [(0, 0)] * PROCESSES
    assert (tried.wrong_values, tried.right_devices) == (0, DEVICES)


def test_each_process_leaves_what_it_found(run: RunDir, tried: MeshRecord) -> None:
    """The first measured the numerics and speaks for all; the second its own environment."""
    first, second = (read_record(run.of_process(n).probe, ProbeRecord) for n in range(PROCESSES))
    assert (len(first.devices), first.default_device) == (2, "cpu:cpu")
    assert first.numerics.product_relative_error >= 0
    assert (second.numerics, second.mesh) == (NOT_MEASURED, None)
    alike = {"numerics": first.numerics, "mesh": tried, "disk_free_bytes": first.disk_free_bytes}
    assert replace(second, **alike) == first
    assert "mesh" not in json.loads(run.of_process(1).probe.read_text())
    assert run.of_process(1).origins.exists()


def test_two_devices_of_one_process_need_no_launcher(tmp_path: Path, bundled: Profile) -> None:
    """They are tried along the one axis that they share."""
    contract = replace(bundled.contract, devices=2)
    run = folder_of(tmp_path / "run", replace(bundled, contract=contract, mesh=MeshTable(fsdp=2)))
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", *JOB, str(run.path)]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True)
    mesh = read_record(run.probe, ProbeRecord).mesh
    assert mesh is not None
    assert [each.axis for each in mesh.exchanges] == ["fsdp", "fsdp"]
    assert (len(mesh.processes), mesh.right_devices) == (1, 2)


def test_a_stranger_is_refused_before_anything_is_computed(
    tmp_path: Path, bundled: Profile
) -> None:
    """Another package in one process: both stop, and say which of the facts differs."""
    run = folder_of(tmp_path / "run", by_two(bundled, MeshTable(fsdp=4)))
    folder = tmp_path / "more" / "added-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: added\nVersion: 1.0\n")
    more = {1: {"PYTHONPATH": str(folder.parent)}}
    with Processes(*JOB, str(run.path), changes=more) as processes:
        first, second = processes.ended()[0]
    assert first == child.STOPPED
    assert second in (child.STOPPED, -signal.SIGABRT)
    error = error_of(run, 0)
    assert error.failure_class is FailureClass.PROCESSES_DISAGREE
    assert error.problems[0].startswith("packages_sha256: found process 0: ")
    assert not run.probe.exists()


def test_another_number_of_devices_in_one_process_is_refused(
    tmp_path: Path, bundled: Profile
) -> None:
    """Before they exchange anything, and with what each has."""
    run = folder_of(tmp_path / "run", by_two(bundled, MeshTable(fsdp=4)))
    three = "mesh.settle_devices = lambda *_: jax.config.update('jax_num_cpu_devices', 3)"
    with Processes(*JOB, str(run.path), changes=in_the_second(tmp_path, three)) as processes:
        assert processes.ended()[0][0] == child.STOPPED
    error = error_of(run, 0)
    assert error.failure_class is FailureClass.PROCESSES_DISAGREE
    assert "process 0: 2 of cpu:cpu; process 1: 3 of cpu:cpu" in error.problems[0]


def test_a_wrong_value_in_one_process_is_in_the_record_of_all(
    tmp_path: Path, bundled: Profile
) -> None:
    """The second process contributes another number; both of its group add it up."""
    run = folder_of(tmp_path / "run", by_two(bundled, MeshTable(fsdp=4)))
    harm = "spread = exchange._spread; exchange._spread = lambda *given: spread(*given) + 1.0"
    with Processes(*JOB, str(run.path), changes=in_the_second(tmp_path, harm)) as processes:
        assert processes.ended()[0] == [0, 0]
    mesh = read_record(run.probe, ProbeRecord).mesh
    assert mesh is not None
    reduced, gathered = mesh.exchanges
    # Two of four devices contribute wrongly, to every value that is added up.
    assert reduced.wrong_values == reduced.values
    assert gathered.wrong_values == gathered.values // 2
    assert mesh.right_devices == 0


# --- what counts as wrong -------------------------------------------------------------------------

HARMED = """
import jax
from jax import lax
jax.config.update("jax_num_cpu_devices", 4)
from m43.core import make_mesh
from m43.training.numerics import exchange

def but_one(part, axis):
    # As a device would that passes on one bit wrongly.
    here = lax.axis_index("fsdp") + lax.axis_index("tensor") == 2
    return lax.psum(part, axis) + here * (part == 43.0 + {shift})

exchange.COLLECTIVES = {{**exchange.COLLECTIVES, "all-reduce": but_one}}
mesh = make_mesh(jax.devices(), fsdp=2, tensor=2)
print([each.wrong_values for each in exchange.exchange_along(mesh, "tensor")])
"""


def test_one_wrong_value_is_counted(tmp_path: Path) -> None:
    """Of the short and of the long one, on the one device that adds wrongly."""
    # What the fourth device contributes at the first place.
    shift = (3 * 104_729 + 43) % 32_749 - 43
    done = subprocess.run(
        [sys.executable, "-c", HARMED.format(shift=shift)],
        cwd=REPOSITORY, env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, gathered = json.loads(done.stdout)
    # In 2^20 places each number below 32749 occurs 32 times or 33.
    assert 1 <= first <= 35
    assert gathered == 0


def test_sums_of_all_devices_are_exact() -> None:
    """Of 512 devices every partial sum is a whole number that float32 holds."""
    values = known_values(np.arange(512), 4096)
    assert values.sum(axis=0, dtype=np.float64).max() < 2**24
    assert len({tuple(row) for row in values}) == 512
    assert count_wrong(values[:1], values[:1].copy()) == 0
    assert count_wrong(np.float32([0.0]), np.float32([-0.0])) == 1


def exchange_of(**changes: object) -> Exchange:
    """Give an exchange in which every bit was right."""
    values: dict[str, object] = {
        "axis": "fsdp", "operation": "all-reduce", "devices": 2, "values": 10, "wrong_values": 0,
        "payload_bytes": 4, "duration_s": 0.5,
    }  # fmt: skip
    return Exchange(**{**values, **changes})


def test_what_processes_saw_is_put_together() -> None:
    """Values and wrong ones add up, the slowest counts; one that made fewer is no match."""
    slower = exchange_of(wrong_values=3, duration_s=2.0)
    (found,) = seen_by_all([(exchange_of(),), (slower,)])
    assert found == exchange_of(values=20, wrong_values=3, duration_s=2.0)
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        seen_by_all([(exchange_of(),), ()])


@pytest.mark.parametrize(
    ("changes", "right"),
    [({}, 4), ({"wrong_values": 1}, 0), ({"values": 0}, 2), ({"operation": "all-gather"}, 2)],
)
def test_devices_count_where_both_collectives_were_right(
    tried: MeshRecord, changes: dict[str, object], right: int
) -> None:
    """A wrong value anywhere leaves none; an axis that was not compared counts as one."""
    first, *others = tried.exchanges
    changed = replace(tried, exchanges=(replace(first, **changes), *others))
    assert changed.right_devices == right
