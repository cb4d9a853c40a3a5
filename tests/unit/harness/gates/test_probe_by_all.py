"""The venv gate of several processes, with children that really meet over the loopback."""

import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from m43.errors import FailureClass as F
from m43.errors import GateStoppedError
from m43.evidence.contract import failing, venv_checks
from m43.harness.gates import venv
from m43.harness.run.hub_access import HubAccess
from m43.records.profile import LaunchTable, MeshTable, Profile
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.venv_record import ProbeRecord

REPOSITORY = Path(__file__).parents[4]
# Stands for mpirun: starts what follows twice, and ends as the first of them that fails.
TWICE = (
    'for n in 0 1; do JAX_NUM_PROCESSES=2 JAX_PROCESS_ID=$n JAX_COORDINATOR_ADDRESS={} "$@" & '
    'eval "p$n=$!"; done; wait $p0 && wait $p1'
)
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def by_two(profile: Profile) -> Profile:
    """A profile of two processes of two devices each, arranged 2 x 2."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    contract = replace(profile.contract, devices=4, processes=2)
    launch = LaunchTable(command=("sh", "-c", TWICE.format(address), "twice"), heartbeat_s=10.0)
    mesh = MeshTable(fsdp=2, tensor=2)
    return replace(profile, contract=contract, launch=launch, mesh=mesh)


def probed(profile: Profile, run: RunDir | None, repository: Path = REPOSITORY) -> venv.VenvRecord:
    """Measure the environment that runs this test."""
    hub_access = HubAccess(environment=os.environ, endpoint="", cache_dir=None)
    if run is not None:
        write_record(run.profile, profile)
    return venv.measure(hub_access, profile, repository, run=run).record


def test_every_process_probes_and_the_record_says_what_all_found(
    by_two: Profile, tmp_path: Path
) -> None:
    """As in a run: the others' own records lie beside, the first's stands in the gate's."""
    run = RunDir.create(tmp_path / "run")
    record = probed(by_two, run)
    mesh = record.probe.mesh
    assert mesh is not None
    assert (record.right_devices, len(mesh.processes)) == (4, 2)
    assert [check.name for check in failing(venv_checks(record, by_two))] == []
    assert not run.probe.exists()
    assert read_record(run.of_process(1).probe, ProbeRecord).packages == record.probe.packages
    assert not run.of_process(1).origins.exists()
    # What was handed over is what each of them ran.
    assert len({each.code_sha256 for each in mesh.processes} - {""}) == 1


HANG = "def _spread(mesh: Mesh, count: int) -> jax.Array:\n"


def harmed(tmp_path: Path, line: str) -> Path:
    """Copy m43, and have its second process do something else before it exchanges anything."""
    repository = tmp_path / "repository"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "m43", repository / "m43", ignore=ignored)
    shutil.copy(REPOSITORY / "pyproject.toml", repository)
    path = repository / "m43" / "training" / "numerics" / "exchange.py"
    before, head, after = path.read_text().partition(HANG)
    path.write_text(f"{before}{head}    if jax.process_index() == 1:\n        {line}\n{after}")
    return repository


def test_a_process_that_hangs_in_an_exchange_is_ended_by_the_silence_limit(
    by_two: Profile, tmp_path: Path
) -> None:
    """The others wait in a collective, which has no limit of its own."""
    run = RunDir.create(tmp_path / "run")
    soon = replace(by_two, deadlines=replace(by_two.deadlines, probe_s=300.0, silence_s=25.0))
    with pytest.raises(GateStoppedError) as caught:
        probed(soon, run, harmed(tmp_path, "time.sleep(600)"))
    assert caught.value.failure_class is F.HUNG
    problem = caught.value.problems[0]
    assert "ended by m43 because it stood still" in problem.found
    assert "in phase 'exchange along fsdp'" in problem.found


def test_a_process_that_fails_is_named_as_the_first_cause(by_two: Profile, tmp_path: Path) -> None:
    """What the other notices of it is no cause; where nobody foresaw it, the venv is broken."""
    run = RunDir.create(tmp_path / "run")
    with pytest.raises(GateStoppedError) as caught:
        probed(by_two, run, harmed(tmp_path, "raise ImportError('no libnccl.so.2')"))
    assert caught.value.failure_class is F.BROKEN_VENV
    assert "process 1 of 2: ImportError: no libnccl.so.2" in caught.value.problems[0].found


def test_a_look_alone_leaves_nothing(by_two: Profile, tmp_path: Path) -> None:
    """Its folder lies where the hosts share files, and is gone afterwards."""
    repository = harmed(tmp_path, "raise MemoryError")
    before = sorted(repository.iterdir())
    with pytest.raises(GateStoppedError) as caught:
        probed(by_two, None, repository)
    assert caught.value.failure_class is F.OUT_OF_HOST_MEMORY
    assert sorted(repository.iterdir()) == before
