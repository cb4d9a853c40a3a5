"""The screen: lines that stay and, where a person watches, a few below them that move."""

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

import pytest

from m43.harness.terminal.line import STYLES, Line, Word, write_line

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_QUIET_LINES = 60.0
_REFRESHES_PER_SECOND = 2.0

# What moves, as it is at this moment: lines of words.
Render = Callable[[], Iterable[Sequence[Word]]]


class Screen:
    """Pytest's terminal, written to past its capturing of output.

    Args:
        config: Pytest's; without a terminal reporter nothing is shown.
        environment: Says whether a machine is watching (CI) or a terminal without a cursor (TERM).
        clock: In seconds.
    """

    def __init__(
        self,
        config: pytest.Config,
        environment: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._terminal: Any = config.pluginmanager.getplugin("terminalreporter")
        self._capture: Any = config.pluginmanager.getplugin("capturemanager")
        self._clock = clock
        self._lost = False
        if self._terminal is not None:
            writer = self._terminal._tw
            # Everything that pytest itself says, too, up to its very last words.
            writer._file = _Sheltered(writer._file, self._lose)
        self.quiet = config.option.verbose < 0
        watched = environment.get("TERM") != "dumb" and not environment.get("CI")
        on_terminal = self._terminal is not None and bool(self._terminal.isatty())
        self.moves = on_terminal and watched and not self.quiet
        self.wraps = on_terminal

    def say(self, *lines: Line) -> None:
        """Write lines that stay."""
        if self._terminal is None or self._lost:
            return
        self._terminal.ensure_newline()
        for line in lines:
            # Read each time: a window changes its width.
            width = self._terminal._tw.fullwidth if self.wraps else 0
            write_line(self._terminal.write, line, width)

    def _lose(self, stream: TextIO) -> None:
        """Go on without a terminal that went away: a run is worth more than what is shown of it.

        What pytest itself has to say at the end then goes nowhere, too.
        """
        self._lost = True
        self._terminal._tw._file = io.StringIO()
        _empty(stream)

    @contextlib.contextmanager
    def moving(self, render: Render) -> Iterator[Callable[[str], None]]:
        """Show what `render` gives, again and again, until the block ends.

        Yields: what to call with the line of the moment; a log gets one every few seconds.
        """
        if self._terminal is None or self._lost:
            yield lambda line: None
            return
        with self._uncaptured():
            if not self.moves:
                yield _Log(self, self._clock).say
                return
            with self._live(render):
                yield lambda line: None

    @contextlib.contextmanager
    def _live(self, render: Render) -> Iterator[None]:
        # Here and not above: a log needs none of it.
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        self.say()
        color = bool(self._terminal._tw.hasmarkup)

        def picture() -> Text:
            text = Text(no_wrap=True, overflow="ellipsis")
            for number, line in enumerate(render()):
                text.append("\n" if number else "")
                for word in line:
                    text.append(word.text, STYLES[word.tone])
            return text

        class SteadyConsole(Console):
            """Leaves the cursor where it is seen: a process that is killed cannot bring it back."""

            def show_cursor(self, show: bool = True) -> bool:
                return False

        stream: Any = _Sheltered(sys.stdout, self._lose)
        console = SteadyConsole(
            file=stream, markup=False, highlight=False, emoji=False, no_color=not color
        )
        with Live(
            get_renderable=picture,
            console=console,
            refresh_per_second=_REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            yield

    @contextlib.contextmanager
    def _uncaptured(self) -> Iterator[None]:
        if self._capture is None:
            yield
            return
        with self._capture.global_and_fixture_disabled():
            yield


class _Sheltered:
    """A stream whose loss is told once, and of which then nothing is heard any more."""

    def __init__(self, stream: TextIO, lose: Callable[[TextIO], None]) -> None:
        self._stream = stream
        self._lose = lose

    def write(self, text: str) -> int:
        with self._shelter():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._shelter():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _shelter(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self._lose(self._stream)


def _empty(stream: TextIO) -> None:
    """Throw away what a lost stream still holds.

    Python would try to write it once more at its end, and would make 120 of the exit status.
    Source: CPython 3.11, pylifecycle.c, Py_FinalizeEx; main.c, Py_RunMain.
    """
    # A stream without a descriptor holds nothing that is written later.
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()


class _Log:
    """Writes a line every few seconds, and none twice."""

    def __init__(self, screen: Screen, clock: Callable[[], float]) -> None:
        self._screen = screen
        self._clock = clock
        self._pause_s = _SECONDS_BETWEEN_QUIET_LINES if screen.quiet else _SECONDS_BETWEEN_LINES
        # The first one only after a pause: what takes a moment needs no line.
        self._said_at = clock()
        self._last = ""

    def say(self, line: str) -> None:
        now = self._clock()
        if line != self._last and now - self._said_at >= self._pause_s:
            self._said_at, self._last = now, line
            self._screen.say(Line(tone="quiet", head=f"  {line}"))
