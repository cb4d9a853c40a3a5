"""The hub started by hand: it says how to be used, ends on a signal, and refuses with reasons."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from tests.unit.rehearsal.conftest import REPO, REVISION, TOKEN
from tools.serve_model_folder import main

ROOT = Path(__file__).parents[3]


def arguments(folder: Path, *more: str) -> list[str]:
    """Write the command line for a folder."""
    return ["--model", str(folder), "--repo", REPO, "--revision", REVISION, *more]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_hub_serves_until_a_signal(folder: Path, number: signal.Signals) -> None:
    """It prints its address, answers there, and ends with status 0 when told to."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.serve_model_folder", *arguments(folder)],
        cwd=ROOT,
        env=os.environ | {"M43_HUB_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        welcome = "".join(process.stdout.readline() for _ in range(4))
        endpoint = welcome.split()[0]
        name = HfApi(endpoint=endpoint, token=TOKEN).whoami()["name"]
        process.send_signal(number)
        rest, errors = process.communicate(timeout=20)
    assert name == "rehearsal"
    assert f"serves {REPO} at {REVISION}: 3 files" in welcome
    assert f'endpoint = "{endpoint}"' in welcome
    assert TOKEN not in welcome
    assert rest == "Closed after 1 requests.\n"
    assert (process.returncode, errors) == (0, "")


def test_without_a_token_there_is_no_hub(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hub that accepts anybody would prove nothing about authentication."""
    monkeypatch.delenv("M43_HUB_TOKEN", raising=False)
    assert main(arguments(folder)) == 2
    assert "the variable M43_HUB_TOKEN: found nothing" in capsys.readouterr().err


def test_an_absent_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says which folder was looked for."""
    monkeypatch.setenv("M43_HUB_TOKEN", TOKEN)
    assert main(arguments(tmp_path / "absent")) == 2
    assert str(tmp_path / "absent") in capsys.readouterr().err


def test_a_taken_port_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says which port was wanted and what to do."""
    monkeypatch.setenv("M43_HUB_TOKEN", TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(arguments(folder, "--port", str(port))) == 2
    told = capsys.readouterr().err
    assert f"127.0.0.1:{port}" in told
    assert "choose another with --port" in told


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--repo", "toy", "OWNER/NAME"),
        ("--repo", "a/b/c", "OWNER/NAME"),
        ("--revision", "main", "40 lower-case hex digits"),
        ("--fault", "rain", "licence not accepted"),
    ],
)
def test_a_wrong_argument_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, expected: str
) -> None:
    """Usage errors name what was expected and exit with 2."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments(folder), option, value])
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err
