"""The probe tells what an environment is, also when it holds nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from m43 import typed_json
from m43.records.numerics_record import NOT_MEASURED
from m43.records.venv_record import ProbeRecord
from m43.training import probe

REPOSITORY = Path(__file__).parents[3]


def ask(*options: str, **variables: str) -> ProbeRecord:
    """Run the probe as the harness does and read the last line that it printed."""
    done = subprocess.run(
        [sys.executable, *options, "-m", "m43.training", "probe"],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    record, problems = typed_json.parse(ProbeRecord, done.stdout.splitlines()[-1], "probe")
    assert record is not None, problems
    return record


def test_reports_this_environment_and_where_it_really_computes() -> None:
    """Interpreter, packages, device, and the numerics check's small errors."""
    record = ask(JAX_PLATFORMS="cpu")

    packages = {package.name.lower(): package.version for package in record.packages}
    assert record.import_error == ""
    assert record.prefix == sys.prefix
    assert record.default_device == "cpu:cpu"
    assert [device.platform for device in record.devices] == ["cpu"]
    assert packages["jax"].startswith("0.")
    numerics = record.numerics
    assert 0 < numerics.product_relative_error < 1e-5
    assert 0 < numerics.softmax_relative_error < 1e-4
    assert numerics.families == ("gemma", "gemma2", "gemma3_text")
    assert 0 < numerics.loss_relative_error < 0.002
    assert 0 < numerics.gradient_relative_error < 0.06
    assert 0 < numerics.update_relative_error < 0.02
    assert record.host_memory_bytes > 0
    assert record.disk_free_bytes > 0


def test_works_with_nothing_but_the_standard_library() -> None:
    """An empty environment is reported as such, with the import that failed."""
    # -S leaves the site-packages out, -I would leave the repository out too.
    record = ask("-S")

    assert record.packages == ()
    assert record.site_packages == ()
    assert record.import_error == "ModuleNotFoundError: No module named 'jax'"
    assert record.devices == ()
    assert record.default_device == ""
    assert record.numerics == NOT_MEASURED


def test_a_platform_that_is_not_there_is_a_reason_and_not_a_fallback() -> None:
    """JAX told to use a card that does not exist computes nowhere."""
    record = ask(JAX_PLATFORMS="no_such_platform")

    assert "no_such_platform" in record.import_error
    assert record.default_device == ""
    assert len(record.packages) > 0


def test_the_probe_module_needs_no_package_to_be_imported() -> None:
    """What the child imports before it knows its job is the standard library and m43's nouns."""
    code = (
        "import sys, m43.training.__main__; "
        "print([n for n in ('jax', 'numpy', 'transformers', 'datasets') if n in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("#!/bin/sh\necho 580.65.06\n", "580.65.06"),
        ("#!/bin/sh\necho 'no devices were found'\nexit 6\n", ""),
    ],
)
def test_asks_the_driver_for_its_version(tmp_path: Path, answer: str, version: str) -> None:
    """The first card's line counts; a driver that refuses gives nothing."""
    command = tmp_path / "nvidia-smi"
    command.write_text(answer)
    command.chmod(0o755)

    assert probe._ask_driver(str(command)) == version
