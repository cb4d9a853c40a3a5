"""The pods of a Kubernetes Job: where each finds the others, and how all answer one call."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from m43.harness.process import launcher_environment
from m43.records.profile import LaunchTable
from m43.training.meeting import Place, find_place
from tests.launch.pods import container, job, others, variables
from tools.kubernetes import pods


def test_each_pod_of_the_manifest_finds_its_place(tmp_path: Path) -> None:
    """By the manifest's variables alone, of which what launches in m43 loses none."""
    count = job()["completions"]
    assert job()["parallelism"] == count
    found = [
        find_place(LaunchTable(), launcher_environment(variables(number, tmp_path), ()))
        for number in range(count)
    ]
    assert found == [
        Place(process=number, processes=count, coordinator="127.0.0.1:28476")
        for number in range(count)
    ]
    assert launcher_environment(variables(0, tmp_path), ())["M43_CALLS"] == str(tmp_path)


def test_the_manifest_retries_nothing() -> None:
    """No pod is started again by the kubelet, and none takes another's place."""
    assert job()["template"]["spec"]["restartPolicy"] == "Never"
    assert job()["backoffLimitPerIndex"] == 0
    assert "backoffLimit" not in job()


def test_the_token_is_the_first_pods_command_s_alone() -> None:
    """It lies in a secret, and among what a pod's process is given it is not."""
    (token,) = [each for each in container()["env"] if each["name"] == "HF_TOKEN"]
    assert set(token["valueFrom"]) == {"secretKeyRef"}
    assert "HF_TOKEN" not in pods._KEPT


@pytest.fixture
def calls(tmp_path: Path) -> Iterator[Path]:
    """Have the second pod at work, and end it as the first does."""
    folder = tmp_path / "calls"
    folder.mkdir()
    with others(folder, Path.cwd()):
        yield folder
        (folder / "over").touch()


def start(calls: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Launch words in both pods."""
    command = [sys.executable, "-m", "tools.kubernetes.pods", "start", *words]
    environment = os.environ | variables(0, calls) | {"HF_TOKEN": "a-token"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def script(tmp_path: Path, text: str) -> Sequence[str]:
    """Give the words that run a Python program, which knows its number as NUMBER."""
    path = tmp_path / "program.py"
    path.write_text(f"import os, sys, time\nNUMBER = int(os.environ['JAX_PROCESS_ID'])\n{text}\n")
    return (sys.executable, str(path))


def test_both_pods_answer_each_call_once(calls: Path, tmp_path: Path) -> None:
    """One call after the other; neither process is given the token."""
    words = script(
        tmp_path,
        "assert 'HF_TOKEN' not in os.environ\n"
        "open(os.path.join(sys.argv[1], str(NUMBER)), 'x').close()",
    )
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        done = start(calls, *words, str(tmp_path / name))
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["0", "1"]


@pytest.mark.parametrize("bad", [0, 1])
def test_where_one_ends_badly_the_other_is_ended_and_the_first_is_named(
    calls: Path, tmp_path: Path, bad: int
) -> None:
    """The other stands still: it is ended, and the status is that of who ended first."""
    text = f"os.kill(os.getpid(), 9) if NUMBER == {bad} else time.sleep(50)"
    begun = time.monotonic()
    done = start(calls, *script(tmp_path, text))
    assert time.monotonic() - begun < 25
    assert done.returncode == 128 + 9
    assert done.stderr.startswith(f"the process of pod {bad} ended with exit status 137\n")


def test_what_asks_the_launcher_for_its_stacks_asks_all(calls: Path, tmp_path: Path) -> None:
    """SIGUSR1 reaches the process of each pod, and ends no launcher."""
    ready = "open(f'{sys.argv[1]}/{NUMBER}', 'x').close(); time.sleep(50)"
    text = f"import signal; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7)); {ready}"
    words = [*script(tmp_path, text), str(tmp_path)]
    command = [sys.executable, "-m", "tools.kubernetes.pods", "start", *words]
    launcher = subprocess.Popen(command, env=os.environ | variables(0, calls))
    until = time.monotonic() + 20
    while not all((tmp_path / number).exists() for number in "01") and time.monotonic() < until:
        time.sleep(0.05)
    launcher.send_signal(signal.SIGUSR1)
    assert launcher.wait(20) == 7
    assert {path.read_text() for path in (calls / "0").glob("status-*")} == {"7"}


def test_a_call_that_was_taken_is_not_taken_again(tmp_path: Path) -> None:
    """A pod that was started again ends, and its process is not run a second time."""
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "words").write_text('["true"]')
    (tmp_path / "0" / "taken-1").touch()
    done = subprocess.run(
        [sys.executable, "-m", "tools.kubernetes.pods", "run", "nothing"],
        env=os.environ | variables(1, tmp_path), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "expected each call once" in done.stderr


def test_the_first_pod_s_status_is_that_of_its_command(tmp_path: Path) -> None:
    """And with it the others are told that it is over."""
    words = [sys.executable, "-m", "tools.kubernetes.pods", "run"]
    done = subprocess.run(
        [*words, sys.executable, "-c", "raise SystemExit(4)"],
        env=os.environ | variables(0, tmp_path / "calls"), timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert (tmp_path / "calls" / "over").exists()
