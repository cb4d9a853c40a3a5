"""The venv gate: environments that are there, broken, or none."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from m43 import typed_json
from m43.errors import FailureClass, GateStoppedError
from m43.evidence.run import env_snapshot
from m43.harness.gates import venv
from m43.harness.gates.gates import gpu_snapshot, nvidia_smi
from m43.harness.gates.venv import compare
from m43.harness.process.process import Outcome
from m43.harness.run.hub_access import HubAccess
from m43.records.numerics_record import NOT_MEASURED
from m43.records.profile import Profile
from m43.records.run_records import ProcessRecord
from m43.records.venv_record import Device, Package, ProbeRecord, VenvRecord
from tests.unit.evidence.good_records import requirement
from tests.unit.harness.conftest import TOKEN

PROBE = ProbeRecord(
    executable="/v/bin/python",
    prefix="/v",
    python_version="3.11.7",
    system="Linux",
    release="6.1",
    packages=(Package(name="optax", version="0.2.8"), Package(name="Jax_Lib", version="0.10.2")),
    site_packages=("/v/lib/python3.11/site-packages",),
    import_error="",
    devices=(Device(platform="cpu", kind="cpu", memory_bytes=2**33),),
    default_device="cpu:cpu",
    numerics=NOT_MEASURED,
    driver_version="none",
    host_memory_bytes=2**33,
    disk_free_bytes=2**33,
)

ENDED = ProcessRecord(
    command=(),
    exit_status=0,
    duration_s=1.0,
    peak_bytes=0,
    ended_by_parent="no",
    oom_kills=0,
    last_phase="",
    steps_seen=0,
    variables=(),
    xla_flags=(),
)


def refused(folder: Path, system: str = "linux") -> FailureClass:
    """Give the class with which a folder is refused."""
    with pytest.raises(GateStoppedError) as raised:
        venv.find_interpreter(folder, system=system)
    return raised.value.failure_class


def test_native_windows_is_named_before_anything_else(tmp_path: Path) -> None:
    """There are no CUDA wheels of JAX for it; the CPU would be a fallback."""
    assert refused(tmp_path / "absent", system="win32") == FailureClass.NATIVE_WINDOWS


def test_a_folder_that_is_not_there_is_no_venv(tmp_path: Path) -> None:
    """And neither is a file of that name."""
    (tmp_path / "file").write_text("")
    assert refused(tmp_path / "absent") == FailureClass.NO_VENV
    assert refused(tmp_path / "file") == FailureClass.NO_VENV


def test_a_folder_without_a_working_interpreter_is_a_broken_venv(tmp_path: Path) -> None:
    """No interpreter, a link to nothing, or a file that may not run."""
    assert refused(tmp_path) == FailureClass.BROKEN_VENV
    (tmp_path / "bin").mkdir()
    interpreter = tmp_path / "bin" / "python"
    interpreter.symlink_to(tmp_path / "gone")
    assert refused(tmp_path) == FailureClass.BROKEN_VENV
    interpreter.unlink()
    interpreter.write_text("#!/bin/sh\n")
    assert refused(tmp_path) == FailureClass.BROKEN_VENV
    interpreter.chmod(0o755)
    assert venv.find_interpreter(tmp_path) == interpreter


def test_the_last_line_of_the_probe_is_its_report() -> None:
    """Libraries print what they like before it."""
    stdout = ("WARNING: something", typed_json.dump_line(PROBE).strip(), "")
    outcome = Outcome(record=ENDED, stdout=stdout, stderr=())
    assert venv.read_probe(outcome, Path("/v/bin/python")) == PROBE


@pytest.mark.parametrize(
    ("record", "stdout", "told"),
    [
        (replace(ENDED, exit_status=1), (), "exit status 1; it said: ImportError: no numpy"),
        (replace(ENDED, exit_status=-11), (), "exit status -11"),
        (replace(ENDED, ended_by_parent="deadline"), (), "no report after 1 s"),
        (ENDED, ("Segmentation fault",), "Segmentation fault"),
        (ENDED, ('{"prefix": "/v"}',), "in the probe's last line"),
        (ENDED, (), "''"),
    ],
)
def test_a_probe_that_does_not_report_is_a_broken_venv(
    record: ProcessRecord, stdout: tuple[str, ...], told: str
) -> None:
    """Crash, hang and garbage are told with what the probe said last."""
    outcome = Outcome(record=record, stdout=stdout, stderr=("ImportError: no numpy",))
    with pytest.raises(GateStoppedError) as raised:
        venv.read_probe(outcome, Path("/v/bin/python"))
    assert raised.value.failure_class == FailureClass.BROKEN_VENV
    assert told in str(raised.value)


def test_a_probe_that_crashes_by_known_trouble_says_which() -> None:
    """By what it said last: the environment may be sound, and what it computes on is not."""
    said = "F gemm_fusion_autotuner.cc:1041] Non-OK-status: has_executable.status()"
    outcome = Outcome(record=replace(ENDED, exit_status=-6), stdout=(), stderr=(said,))
    with pytest.raises(GateStoppedError, match="Non-OK-status") as raised:
        venv.read_probe(outcome, Path("/v/bin/python"))
    assert raised.value.failure_class == FailureClass.AUTOTUNER_FAILED


@pytest.mark.parametrize(
    ("oom_kills", "failure_class"),
    [(0, FailureClass.KILLED), (1, FailureClass.OUT_OF_HOST_MEMORY)],
)
def test_a_probe_that_is_killed_says_nothing_about_the_venv(
    oom_kills: int, failure_class: FailureClass
) -> None:
    """SIGKILL comes from somebody else, or from a kernel without memory."""
    record = replace(ENDED, exit_status=-9, oom_kills=oom_kills)
    with pytest.raises(GateStoppedError, match="ended by signal SIGKILL") as raised:
        venv.read_probe(Outcome(record=record, stdout=(), stderr=()), Path("/v/bin/python"))
    assert raised.value.failure_class == failure_class


def test_an_interpreter_that_cannot_start_is_a_broken_venv(
    tmp_path: Path, profile: Profile
) -> None:
    """A file of the right name that is no program."""
    (tmp_path / "bin").mkdir()
    interpreter = tmp_path / "bin" / "python"
    interpreter.write_text("no program")
    interpreter.chmod(0o755)
    hub_access = HubAccess(environment=os.environ, endpoint="", cache_dir=None)
    broken = replace(profile, venv=replace(profile.venv, path=str(tmp_path)))
    with pytest.raises(GateStoppedError, match="Exec format error") as raised:
        venv.measure(hub_access, broken, tmp_path)
    assert raised.value.failure_class == FailureClass.BROKEN_VENV


def test_the_word_self_is_the_environment_that_runs_pytest(profile: Profile) -> None:
    """A rehearsal needs no second environment."""
    assert venv.venv_folder(profile) == Path(sys.prefix)
    other = replace(profile, venv=replace(profile.venv, path="/v"))
    assert venv.venv_folder(other) == Path("/v")


def test_requirements_are_compared_as_pip_would(tmp_path: Path) -> None:
    """Names in any spelling, markers for the environment that trains, absence said as such."""
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[project.optional-dependencies]\ntraining = ["optax>=0.2,<0.3", "jax-lib>=0.11", '
        '"torch", "tomli; python_version < \'3.11\'"]\n'
        'tested = ["optax==0.1.*", "Jax.Lib==0.12.*; python_version >= \'3.12\'", '
        "\"jax_lib==0.10.*; python_version < '3.12'\"]\n"
    )
    assert compare(project, PROBE) == (
        requirement("optax<0.3,>=0.2", "0.2.8", "0.1"),
        requirement("jax-lib>=0.11", "0.10.2", "0.10", satisfied=False),
        requirement("torch", "absent", "", satisfied=False),
    )


@pytest.mark.parametrize(
    ("lists", "absent"),
    [("", "training"), ("training = []", "training"), ('training = ["jax"]', "tested")],
)
def test_an_empty_list_of_requirements_satisfies_nobody(
    tmp_path: Path, lists: str, absent: str
) -> None:
    """Nothing to compare would otherwise be everything in order."""
    project = tmp_path / "pyproject.toml"
    project.write_text(f"[project.optional-dependencies]\n{lists}\n")
    with pytest.raises(GateStoppedError, match=f"no extra '{absent}'"):
        compare(project, PROBE)


def record(probe: ProbeRecord) -> VenvRecord:
    """Make a venv record around a probe's report."""
    return VenvRecord(
        path="/v",
        interpreter="/v/bin/python",
        probe=probe,
        requirements=(),
        packages_sha256="d" * 64,
        altered=(),
        unrecorded=(),
        duration_s=1.0,
    )


def test_the_environment_is_written_down_for_people() -> None:
    """Interpreter and place, then a list that pip would understand."""
    text = env_snapshot(record(PROBE))
    assert "3.11.7" in text
    assert text.endswith("\nJax_Lib==0.10.2\noptax==0.2.8\n")


def test_a_machine_without_a_gpu_says_so_plainly() -> None:
    """An empty file would leave the reader to guess."""
    text = gpu_snapshot(record(PROBE), lambda: "There is no nvidia-smi on this machine.", ())
    assert "JAX saw no GPU" in text
    assert "There is no nvidia-smi" in text


def test_what_the_drivers_tool_prints_of_others_is_redacted() -> None:
    """It lists processes by their arguments, and somebody may have put a token there."""
    text = gpu_snapshot(record(PROBE), lambda: f"python x.py --token {TOKEN}\x1b[2J", (TOKEN,))
    assert TOKEN not in text
    assert "--token [REDACTED]" in text
    assert "\x1b" not in text


def test_the_drivers_own_tool_is_quoted_or_its_silence_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it prints, its absence, or its failure."""
    assert nvidia_smi(("echo", "RTX 5090")) == "RTX 5090\n"
    monkeypatch.setenv("SOMETHING", "of the engineer's")
    assert {line.partition("=")[0] for line in nvidia_smi(("env",)).splitlines()} <= {
        *("PATH", "HOME", "LD_LIBRARY_PATH", "LC_ALL"),
    }
    assert "no nvidia-smi" in nvidia_smi(("m43-no-such-program",))
    assert "status 1" in nvidia_smi(("false",))
