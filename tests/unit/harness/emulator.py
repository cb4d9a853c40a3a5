"""A terminal emulator: what would stand on the screen of a person who watches a command."""

import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import pyte

_READ_BYTES = 1 << 16


class Emulator:
    """A command in a terminal of a size.

    Attributes:
        raw: every byte that the command wrote.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, environment: dict[str, str], columns: int
    ) -> None:
        self._screen = pyte.HistoryScreen(columns, 40, history=1000, ratio=1)
        self._stream = pyte.ByteStream(self._screen)
        master, slave = pty.openpty()
        self._master: int | None = master
        termios.tcsetwinsize(slave, (40, columns))
        self.raw = b""
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment | {"TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.hang_up()

    @property
    def lines(self) -> list[str]:
        """The lines on the screen now."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def everything(self) -> list[str]:
        """The lines that have left the screen at its top, and those on it."""
        gone = (
            "".join(line[column].data for column in range(self._screen.columns)).rstrip()
            for line in self._screen.history.top
        )
        return [*gone, *self.lines]

    def until(self, seen: Callable[[list[str]], bool], patience_s: float) -> bool:
        """Watch until the screen shows something; tell whether it ever did."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if seen(self.lines):
                return True
            if not self._read():
                return seen(self.lines)
        return False

    def to_the_end(self, patience_s: float) -> int:
        """Watch until the command ends, and give its exit status."""
        self.until(lambda lines: False, patience_s)
        return self.process.wait(timeout=patience_s)

    def hang_up(self) -> None:
        """Take the terminal away, as a connection that breaks does."""
        if self._master is not None:
            os.close(self._master)
            self._master = None

    def _read(self) -> bool:
        assert self._master is not None
        if not select.select([self._master], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self._master, _READ_BYTES)
        except OSError:
            # Linux says so when the last process of the terminal has ended.
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)
