"""How the processes of a run find one another, and what they wait for."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import jax
import pytest

from m43.errors import M43Error
from m43.records.profile import LaunchTable, MeshTable, Profile
from m43.training import child, meeting
from tests.unit.training.test_processes import PROCESSES, by_two
from tests.unit.training.test_runs import bundled

__all__ = ["bundled"]


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment in which no launcher has left a trace."""
    for name in list(os.environ):
        if name.startswith(("JAX_", "SLURM_", "OMPI_", "PMI")):
            monkeypatch.delenv(name)
    return monkeypatch  # type: ignore[return-value]


# As srun 22.05 and mpirun 4.1 set them; the third as JobSet and Kubeflow do.
OF_SLURM = {
    "SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "gpu-[01-02]", "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1", "SLURM_LOCALID": "0",
}  # fmt: skip
OF_OPEN_MPI = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "0",
}  # fmt: skip
BY_HAND = {
    "JAX_COORDINATOR_ADDRESS": "run-0.run:1234", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("told", "coordinator"),
    [(OF_SLURM, "gpu-01:61447"), (OF_OPEN_MPI, "10.96.0.1:"), (BY_HAND, "run-0.run:1234")],
    ids=["Slurm", "Open MPI 4", "by hand"],
)
def test_a_process_finds_its_place(
    variables: pytest.MonkeyPatch, told: dict[str, str], coordinator: str
) -> None:
    """By what the launcher says, as jax reads it; before they meet the same number counts."""
    for name, text in {**told, child.LAUNCHED: "1"}.items():
        variables.setenv(name, text)
    place = meeting.find_place(LaunchTable(), os.environ)
    assert (place.process, place.processes) == (1, 2)
    assert place.coordinator.startswith(coordinator)
    assert child.own_number() == 1


def test_a_process_that_nobody_placed_is_refused(variables: pytest.MonkeyPatch) -> None:
    """A launcher that says nothing of itself: what it would have to say is named."""
    with pytest.raises(meeting.ProcessesMissingError, match="JAX_COORDINATOR_ADDRESS"):
        meeting.find_place(LaunchTable(command=("ssh", "host")), os.environ)


def test_open_mpi_5_is_asked_for_what_jax_needs(variables: pytest.MonkeyPatch) -> None:
    """It says which process this is; where the first one is, mpi4py would tell, or a person."""
    told = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}
    with pytest.raises(meeting.ProcessesMissingError, match="for Open MPI 5 install mpi4py"):
        meeting.find_place(LaunchTable(), told)
    place = meeting.find_place(LaunchTable(), {**told, "JAX_COORDINATOR_ADDRESS": "host:1"})
    assert (place.process, place.processes, place.coordinator) == (1, 2, "host:1")


def test_a_first_process_that_only_its_host_reaches_is_refused(
    variables: pytest.MonkeyPatch, bundled: Profile
) -> None:
    """On two hosts each would wait for itself, until the time is over."""
    told = {**BY_HAND, "JAX_COORDINATOR_ADDRESS": "127.0.1.1:1234"}
    hosts = {"OMPI_COMM_WORLD_LOCAL_SIZE": "1"}
    with pytest.raises(meeting.ProcessesMissingError, match="each host would wait for itself"):
        meeting.join(by_two(bundled, MeshTable(fsdp=4)), given_up, {**told, **hosts})


def given_up(error: M43Error) -> None:
    """Stand for what ends a process."""
    raise AssertionError(error)


@dataclass
class Others:
    """Stands for jax's client of the first process: what the second one tells it, topic by topic.

    What it does not tell ends as a time limit does, or as the connection to a process that is gone.
    """

    tells: Mapping[str, str]
    error: str = "DEADLINE_EXCEEDED: no such key"
    process_id: int = 0
    num_processes: int = PROCESSES
    asked: dict[str, int] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)

    @property
    def client(self) -> "Others":
        """It is both: jax's state, and the client that this holds."""
        return self

    def key_value_set(self, key: str, text: str) -> None:
        """Tell the second one something."""
        self.own[key] = text

    def blocking_key_value_get(self, key: str, within_ms: int) -> str:
        """Ask for what one of them tells."""
        self.asked[key] = within_ms
        if key in self.own:
            return self.own[key]
        if key not in self.tells:
            raise jax.errors.JaxRuntimeError(self.error)
        return self.tells[key]


@pytest.mark.parametrize("error", ["DEADLINE_EXCEEDED: no such key", "UNAVAILABLE: Socket closed"])
@pytest.mark.parametrize("follows", [True, False], ids=["who follows", "who is gone"])
def test_who_finds_a_difference_waits_until_the_other_has_found_it(
    monkeypatch: pytest.MonkeyPatch, error: str, follows: bool
) -> None:
    """One that ends earlier would be lost to the other; whatever comes, the difference is said."""
    tells = {"m43/facts/1": '{"packages": "b"}'}
    others = Others(tells | {"m43/facts differ/1": ""} if follows else tells, error)
    monkeypatch.setattr(meeting, "_runtime", lambda: others)
    with pytest.raises(meeting.ProcessesDisagreeError, match="process 0: a; process 1: b"):
        meeting.require_alike("facts", {"packages": "a"}, 60.0)
    assert others.own["m43/facts differ/0"] == ""
    assert (others.asked["m43/facts/1"], others.asked["m43/facts differ/1"]) == (60_000, 10_000)


def test_who_finds_all_alike_waits_for_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The meeting over a difference is only had where there is one."""
    others = Others({"m43/facts/1": '{"packages": "a"}'})
    monkeypatch.setattr(meeting, "_runtime", lambda: others)
    meeting.require_alike("facts", {"packages": "a"}, 60.0)
    assert set(others.own) == {"m43/facts/0"}
