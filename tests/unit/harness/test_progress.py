"""What a person sees of a long gate."""

import io
from types import SimpleNamespace
from typing import Any

import pytest

from m43.harness.process import Sight
from m43.harness.progress import Progress, clock_text
from m43.records import Heartbeat


class Terminal:
    """Takes lines, as pytest's reporter does."""

    def __init__(self, *, isatty: bool = False) -> None:
        self.isatty = isatty
        self.lines: list[str] = []

    def ensure_newline(self) -> None:
        """Be at the beginning of a line already."""

    def write_line(self, line: str) -> None:
        """Take a line."""
        self.lines.append(line.strip())


def shown(terminal: Terminal | None, *sights: Sight, seconds_apart: float = 10.0) -> None:
    """Show sights, some time apart."""
    plugins = {"terminalreporter": terminal}
    config: Any = SimpleNamespace(pluginmanager=SimpleNamespace(getplugin=plugins.get))
    now = iter(range(1000))
    progress = Progress(config, lambda: next(now) * seconds_apart)
    with progress.shown("train-300"):
        for sight in sights:
            progress.child(sight)


def sight(done: int, elapsed_s: float) -> Sight:
    """See a child at a step."""
    beat = Heartbeat(
        phase="train", done=done, total=300, loss_nats=1.25, tokens_per_s=1000.4, beat=done
    )
    return Sight(beat=beat, steps=done, elapsed_s=elapsed_s)


def test_a_line_tells_step_loss_speed_and_time_left() -> None:
    """Two hundred of three hundred steps in twenty seconds leave ten."""
    terminal = Terminal()
    shown(terminal, sight(0, 5.0), sight(200, 25.0))
    assert terminal.lines == [
        "train-300  train  0 of 300  loss 1.250  1000 tokens/s",
        "train-300  train  200 of 300  loss 1.250  1000 tokens/s  0:10 left",
    ]


def test_a_log_gets_a_line_every_few_seconds_only() -> None:
    """A log of a thousand lines is read by nobody."""
    terminal = Terminal()
    shown(terminal, *(sight(step, step / 10) for step in range(100)), seconds_apart=0.1)
    assert 2 <= len(terminal.lines) <= 3


def test_a_child_before_its_first_beat_is_starting() -> None:
    """Silence at the beginning is shown as what it is."""
    terminal = Terminal()
    shown(terminal, Sight(beat=None, steps=0, elapsed_s=3.0))
    assert terminal.lines == ["train-300  starting, 0:03"]


def test_without_a_terminal_nothing_is_shown_and_nothing_fails() -> None:
    """The progress is a courtesy; the run does not depend on it."""
    shown(None, sight(1, 1.0))


def test_on_a_terminal_one_line_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Live, in place; the log of the terminal gets no lines."""
    screen = io.StringIO()
    monkeypatch.setattr("sys.stdout", screen)
    terminal = Terminal(isatty=True)
    shown(terminal, sight(1, 1.0), sight(2, 2.0))
    assert terminal.lines == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (83, "1:23"), (3661, "1:01:01")]
)
def test_time_is_written_as_on_a_clock(seconds: float, text: str) -> None:
    """Hours only where there are any."""
    assert clock_text(seconds) == text
