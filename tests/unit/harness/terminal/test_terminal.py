"""A run as it stands on a person's screen."""

import re
import signal
import sys
from collections.abc import Callable

import pytest

from tests.unit.harness.copied_tree import CopiedTree
from tests.unit.harness.emulator import Emulator

PATIENCE_S = 60.0


@pytest.fixture
def start(copied_tree: CopiedTree) -> Callable[..., Emulator]:
    """Start a rehearsal of the copy in a terminal of a width."""

    def rehearse(columns: int, *options: str) -> Emulator:
        environment = copied_tree.environment()
        for name in ("CI", "NO_COLOR", "COLUMNS"):
            environment.pop(name, None)
        command = copied_tree.command("acceptance", "-m", "rehearsal", *options)
        return Emulator(command, copied_tree.root, environment, columns)

    return rehearse


def shows(pattern: str) -> Callable[[list[str]], bool]:
    """Look for a line that matches."""
    return lambda lines: any(re.search(pattern, line) for line in lines)


def test_the_gates_and_one_line_move_and_leave_no_trace(
    start: Callable[..., Emulator], copied_tree: CopiedTree
) -> None:
    """While it trains: each gate's state and where the steps are; afterwards only what stays."""
    copied_tree.train_until_enough()
    with start(120) as terminal:
        strip = r"^auth kept   venv kept   train-300 \d+ s   eval to come$"
        assert terminal.until(shows(strip), PATIENCE_S)
        line = r"^  step \d+ of 300, loss \d\.\d{3} falling, 1 tokens/s, \d+ s left, 1\.86 GiB mem"
        assert terminal.until(shows(line), PATIENCE_S)
        assert len([text for text in terminal.lines if text.startswith("auth kept")]) == 1

        copied_tree.enough.touch()
        assert terminal.to_the_end(PATIENCE_S) == 0

        assert shows(r"ACCEPTED \(rehearsal\)$")(terminal.lines)
        assert not shows(r"to come|tokens/s")(terminal.everything)
        kept = sum(text.startswith("  kept  ") for text in terminal.everything)
        assert shows(f"= {kept} passed in ")(terminal.lines)
        # In green, by pytest's own terminal writer.
        assert b"\x1b[32m  kept" in terminal.raw


def test_on_a_narrow_screen_nothing_is_broken_in_two(
    start: Callable[..., Emulator], copied_tree: CopiedTree
) -> None:
    """What moves is cut, what stays is wrapped between words; Ctrl-C ends with the last words."""
    copied_tree.misbehave("hang")
    with start(60) as terminal:
        assert terminal.until(shows(r"^  train, \d+ s"), PATIENCE_S)
        (strip,) = (text for text in terminal.lines if text.startswith("auth kept"))
        assert len(strip) <= 60
        terminal.process.send_signal(signal.SIGINT)

        assert terminal.to_the_end(PATIENCE_S) == 2

        assert shows(r"^  auth: (\d+) of \1 promises kept")(terminal.everything)
        assert shows(r"^  why +at gate 3 of 4 \(train-300\): interrupted")(terminal.lines)
        words = " ".join(" ".join(terminal.lines).split())
        assert re.search(r"m43 rehearsal \S+: NOT ACCEPTED \(rehearsal\) why", words)
        # Paths and commands are left to the terminal to break, so that they can be copied.
        assert "/failure_analysis.md" in "".join(terminal.lines)
        # A process that is killed cannot bring the cursor back: it is never hidden.
        assert b"\x1b[?25l" not in terminal.raw


def test_a_terminal_that_goes_away_breaks_no_promise(
    start: Callable[..., Emulator], copied_tree: CopiedTree
) -> None:
    """The connection breaks while it trains: the run goes on to its summary, and ends with it."""
    copied_tree.train_until_enough()
    with start(80) as terminal:
        assert terminal.until(shows(r"^  step \d+ of 300"), PATIENCE_S)
        terminal.hang_up()
        copied_tree.enough.touch()
        assert terminal.process.wait(timeout=PATIENCE_S) == 0
        (run,) = (path for path in copied_tree.runs.iterdir() if path.is_dir())
        assert (run / "m43_summary.md").exists()
        assert not (run / "failure_analysis.md").exists()


def test_quietly_nothing_moves(start: Callable[..., Emulator]) -> None:
    """One line for each gate, in a terminal as in a log, and the last words."""
    with start(80, "-q") as terminal:
        assert terminal.to_the_end(PATIENCE_S) == 0
        assert b"\x1b[?25l" not in terminal.raw
        assert shows(r"^  train-300: (\d+) of \1 promises kept")(terminal.lines)
        assert not shows("^  kept  ")(terminal.everything)


def test_the_checklist_is_in_colour_and_fits_the_screen(copied_tree: CopiedTree) -> None:
    """On eighty columns nothing is broken inside a word, and what was settled is told by colour."""
    environment = copied_tree.environment(HOME=str(copied_tree.root.parent))
    for name in ("CI", "NO_COLOR", "COLUMNS"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "m43", "checklist"]
    with Emulator(command, copied_tree.root, environment, 80) as terminal:
        assert terminal.to_the_end(PATIENCE_S) == 1
        said = terminal.everything
        assert shows("^  NO           the token is in HF_TOKEN$")(said)
        assert shows("^               to do     export HF_TOKEN=... in the shell")(said)
        assert shows("^NOT READY: ")(said)
        last = [text for text in said if text][-1]
        assert re.fullmatch(r"  \S*python -m m43 checklist", last)
        assert b"\x1b[32m  ok" in terminal.raw
        assert b"\x1b[1m\x1b[31m  NO" in terminal.raw
        # The line that turned while it looked is gone.
        assert not shows("looking at the hub")(said)
