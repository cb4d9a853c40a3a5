"""Two processes of two devices each do what one device does, and say of each other what they did.

They are started here by the variables that the operators of Kubernetes set, over the loopback.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from m43.errors import FailureClass
from m43.records.evaluation_record import EvaluationRecord
from m43.records.profile import LaunchTable, MeshTable, Profile
from m43.records.run_dir import RunDir, read_record
from m43.records.run_records import ChildError, TrainRecord, steps_sha256
from m43.rehearsal.toy_gemma import write_toy_gemma
from m43.training import child
from tests.unit.training.test_mesh import Step
from tests.unit.training.test_runs import QUESTIONS, bundled, make_run, write_data

__all__ = ["bundled"]

REPOSITORY = Path(__file__).parents[3]
PROCESSES, DEVICES = 2, 4
JOB = "m43.training"
pytestmark = pytest.mark.timeout(900)


def environment(number: int, port: int) -> dict[str, str]:
    """Return the variables of one process of two."""
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        child.LAUNCHED: "1",
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": str(PROCESSES),
        "JAX_PROCESS_ID": str(number),
    }


class Processes:
    """The processes of a job, which end with the test."""

    def __init__(
        self, *words: str, count: int = PROCESSES, changes: Mapping[int, Mapping[str, str]] = {}
    ) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        self.started = [
            subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=REPOSITORY,
                env=environment(number, port) | changes.get(number, {}),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(count)
        ]

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.started:
            process.kill()
            process.communicate()

    def ended(self) -> tuple[list[int], str]:
        """Wait for all; return how each ended, and what the first printed."""
        said = [process.communicate() for process in self.started]
        sys.stderr.write("\n".join(error for _, error in said))
        return [process.returncode for process in self.started], said[0][0]


def by_two(profile: Profile, mesh: MeshTable, meet_s: float = 60.0) -> Profile:
    """Give a profile four devices of two processes."""
    contract = replace(profile.contract, devices=DEVICES, processes=PROCESSES)
    launch = LaunchTable(command=("by", "hand"), meet_s=meet_s, heartbeat_s=10.0)
    return replace(profile, contract=contract, mesh=mesh, launch=launch)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose every axis four devices can share."""
    folder = tmp_path_factory.mktemp("toy") / "base"
    write_toy_gemma(folder)
    return folder


@pytest.fixture
def run(tmp_path: Path, toy: Path, bundled: Profile) -> RunDir:
    """A run folder as the earlier gates leave it to two processes, which soon miss each other."""
    write_data(tmp_path)
    return make_run(tmp_path / "run", by_two(bundled, MeshTable(fsdp=4), 3.0), toy, tmp_path)


@pytest.fixture(scope="module")
def said() -> list[dict[str, object]]:
    """What two processes that took steps together say, line by line."""
    with Processes("tests.unit.training.mesh_steps") as processes:
        statuses, text = processes.ended()
    assert statuses == [0, 0]
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("mesh", ["4x1", "2x2"])
def test_a_step_by_two_processes_is_that_of_one_device(
    said: list[dict[str, object]], method: str, mesh: str
) -> None:
    """Loss, norm, gradient and weights: float32, to 1e-6; tokens exactly; nothing moves more."""
    case = f"gemma-{method}-1"
    found = next(e for e in said if (e["case"], e.get("mesh")) == (case, mesh))
    step = Step(**{name: value for name, value in found.items() if name not in ("case", "mesh")})
    assert step.devices == DEVICES
    assert step.tokens == step.tokens_alone > 0
    assert max(step.loss, step.norm, step.gradient, step.weights) < 1e-6
    assert step.moved > 1e-3
    assert step.widest < 256 * 128


def test_two_processes_give_the_answers_of_one_device(said: list[dict[str, object]]) -> None:
    """Each device answers two of eight prompts, and every process has all the answers."""
    found = next(each for each in said if each["case"] == "decoded")
    assert found["tokens"] == found["tokens_alone"]
    assert found["counts"] == found["counts_alone"]
    assert (found["devices"], found["rows_of_a_device"]) == (DEVICES, [2, 2])


def test_two_processes_train_and_answer(tmp_path: Path, toy: Path, bundled: Profile) -> None:
    """Each says what it did, as it left it; the first keeps the records of the run."""
    write_data(tmp_path)
    profile = by_two(bundled, MeshTable(fsdp=2, tensor=2))
    run = make_run(tmp_path / "run", profile, toy, tmp_path)
    for job in ("train", "evaluate"):
        with Processes(JOB, job, str(run.path)) as processes:
            assert processes.ended()[0] == [0, 0]
    train = read_record(run.train, TrainRecord)
    first, second = train.processes
    assert (train.devices, train.reloaded_sha256) == (DEVICES, train.model_sha256)
    assert set(first.devices).isdisjoint(second.devices)
    own = {"process": 0, "devices": first.devices, "peak_host_bytes": first.peak_host_bytes}
    assert replace(second, **own) == first
    for each in train.processes:
        own = run.of_process(each.process)
        assert each.steps_sha256 == steps_sha256(own.read_metrics())
    evaluation = read_record(run.evaluation, EvaluationRecord)
    assert (evaluation.devices, len(run.read_predictions())) == (DEVICES, QUESTIONS)
    left = {path.name for path in run.of_process(1).path.iterdir()}
    ends = {"train.heartbeat.json", "eval.heartbeat.json", ".origins.json"}
    assert left == ends | {"training_metrics.jsonl"}


def error_of(run: RunDir, number: int) -> ChildError:
    """Read why a process stopped."""
    return read_record(run.of_process(number).error("train"), ChildError)


def test_a_process_that_never_comes_is_waited_for_no_longer_than_said(run: RunDir) -> None:
    """Jax would end the process without a word; here it says who was waited for, and where."""
    with Processes(JOB, "train", str(run.path), count=1) as processes:
        assert processes.ended()[0] == [child.STOPPED]
    error = error_of(run, 0)
    assert error.failure_class is FailureClass.PROCESSES_MISSING
    assert "process 0 of 2 alone, or not with all, after 3 s" in error.problems[0]


def test_another_count_than_promised_is_refused_at_once(run: RunDir) -> None:
    """Jax would train on with those that came, and say nothing."""
    counted = {number: {"JAX_NUM_PROCESSES": "3"} for number in range(PROCESSES)}
    with Processes(JOB, "train", str(run.path), changes=counted) as processes:
        assert processes.ended()[0] == [child.STOPPED] * 2
    assert "process 1 of 3, expected 2 processes" in error_of(run, 1).problems[0]


def test_a_token_on_the_way_is_refused(run: RunDir) -> None:
    """A host's own environment may hold one; whoever trains is given none."""
    given = {1: {"HF_TOKEN": "hf_" + "a" * 34}}
    with Processes(JOB, "train", str(run.path), changes=given) as processes:
        assert processes.ended()[0] == [child.STOPPED] * 2
    problem = error_of(run, 1).problems[0]
    assert "the variable HF_TOKEN in process 1" in problem
    assert "hf_" not in problem


def test_other_packages_in_one_process_are_named_before_a_step(run: RunDir, tmp_path: Path) -> None:
    """Both stop and say which of the facts differs; the end of the first may abort the other."""
    folder = tmp_path / "more" / "added-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: added\nVersion: 1.0\n")
    patient = replace(run.read_profile().launch, meet_s=60.0)
    text = run.profile.read_text()
    run.profile.write_text(text.replace('"meet_s": 3.0', f'"meet_s": {patient.meet_s}'))
    more = {1: {"PYTHONPATH": str(folder.parent)}}
    with Processes(JOB, "train", str(run.path), changes=more) as processes:
        first, second = processes.ended()[0]
    assert first == child.STOPPED
    assert second in (child.STOPPED, -signal.SIGABRT)
    for number in range(PROCESSES if second == child.STOPPED else 1):
        error = error_of(run, number)
        assert error.failure_class is FailureClass.PROCESSES_DISAGREE
        assert error.problems[0].startswith("packages_sha256: found process 0: ")
    assert not run.metrics.exists()


def test_a_peer_that_is_killed_is_noticed(run: RunDir) -> None:
    """Killed while it compiles, it is missed by its heartbeats: 10 s here, 30 by default."""
    text = run.profile.read_text()
    run.profile.write_text(text.replace('"meet_s": 3.0', '"meet_s": 60.0'))
    with Processes(JOB, "train", str(run.path)) as processes:
        first, second = processes.started
        beat = run.of_process(1).heartbeat("train")
        while not (beat.exists() and "compile" in beat.read_text()):
            assert second.poll() is None
            time.sleep(0.1)
        second.send_signal(signal.SIGKILL)
        begun = time.monotonic()
        assert first.wait(60) != 0
        assert time.monotonic() - begun < 40.0
    assert not run.train.exists()
