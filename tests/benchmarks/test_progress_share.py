"""What a person is shown costs a run next to nothing: `python -m pytest -s tests/benchmarks/...`.

A real rehearsal in a terminal, with everything that moves. Counted is all that pytest's process
computes while the child trains: drawing, watching, reading heartbeats and metrics, pumping the log.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from m43.harness.plugin.plugin import REPOSITORY
from m43.records.run_dir import RunDir
from tests.unit.harness.emulator import Emulator

MOST = 0.01
PATIENCE_S = 3000.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Moment:
    """How much a process has computed, and when."""

    computed_s: float
    uptime_s: float


def moment(pid: int) -> Moment:
    """Look at a process.

    Source: proc_pid_stat(5): utime and stime are fields 14 and 15, counted from 1; its children
    count only once they have ended and been waited for, in fields of their own.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    computed = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return Moment(computed_s=computed, uptime_s=uptime)


def slow_profile(path: Path) -> Path:
    """Write the rehearsal's profile with each row apart: else its steps are too fast to see."""
    folder = REPOSITORY / "acceptance"
    text = (folder / "rehearsal.toml").read_text()
    for before, after in (
        ("accumulate = 1\n", "accumulate = 8\n"),
        ('= "data/', f'= "{folder}/data/'),
    ):
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)
    return path


@pytest.mark.timeout(PATIENCE_S)
def test_what_is_shown_takes_at_most_one_per_cent_of_the_run(tmp_path: Path) -> None:
    """While 300 steps are taken, the watching process computes under 1 % of the time."""
    profile = slow_profile(tmp_path / "slow.toml")
    command = [sys.executable, "-m", "pytest", "acceptance", "-m", "rehearsal"]
    command += ["--m43-profile", str(profile)]
    environment = {name: text for name, text in os.environ.items() if name != "CI"}
    runs = REPOSITORY / "submission_runs"
    before = set(runs.glob("rehearsal-*"))
    begun: Moment | None = None
    ended: Moment | None = None
    with Emulator(command, REPOSITORY, environment, 120) as terminal:

        def look(lines: list[str]) -> bool:
            nonlocal begun, ended
            (run, *_) = [*(set(runs.glob("rehearsal-*")) - before), Path("/nowhere")]
            if begun is None and RunDir(run).heartbeat("train").exists():
                begun = moment(terminal.process.pid)
            elif begun is not None and ended is None and RunDir(run).process("train").exists():
                ended = moment(terminal.process.pid)
            return ended is not None

        assert terminal.until(look, PATIENCE_S)
        assert terminal.to_the_end(PATIENCE_S) == 0
        drawn = terminal.raw.count(b"tokens/s")
    assert begun is not None
    assert ended is not None
    wall_s = ended.uptime_s - begun.uptime_s
    share = (ended.computed_s - begun.computed_s) / wall_s
    sys.stdout.write(
        f"\nwatching and drawing: {ended.computed_s - begun.computed_s:.2f} s of {wall_s:.1f} s "
        f"of training = {100 * share:.2f} % (at most {100 * MOST:.0f} %), {drawn} pictures\n"
    )
    assert drawn > 3
    assert share <= MOST
