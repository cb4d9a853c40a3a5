"""verify asks nothing of the machine but Python: no package, no start-up file, no variable."""

import subprocess
import sys
from pathlib import Path

from m43.__main__ import REPOSITORY
from tests.unit.evidence.good_run import write_good_run

# -I leaves variables and the folder out, -S what is installed; only m43's own checkout is added.
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from m43.__main__ import main; "
    "sys.exit(main(sys.argv[1:]))"
)


def alone(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run m43 in a Python that has its standard library and nothing else."""
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", _PROGRAM, str(REPOSITORY), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_verify_runs_on_the_standard_library_alone(tmp_path: Path) -> None:
    """A good run is found good, and a changed one is not, where nothing is installed."""
    run = write_good_run(tmp_path)

    good = alone("verify", str(run.path))
    run.predictions.write_text(run.predictions.read_text().replace("true", "false", 1))
    bad = alone("verify", str(run.path))

    assert good.returncode == 0, good.stdout + good.stderr
    assert bad.returncode == 1
    assert "predictions.jsonl" in bad.stdout + bad.stderr
    assert "Traceback" not in bad.stderr


def test_there_really_is_nothing_installed_there() -> None:
    """What would be imported by chance is missing: the test above could fail."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import pytest"], capture_output=True, check=False
    )
    assert done.returncode == 1
