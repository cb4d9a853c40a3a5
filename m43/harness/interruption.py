"""The interruption: SIGTERM and SIGHUP take the way of Ctrl-C, so that a run ends in order."""

import signal
from types import FrameType
from typing import Any

_MAPPED = tuple(
    number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)


class Interruption:
    """Maps the signals that pytest ignores, and remembers which one came."""

    def __init__(self) -> None:
        self.cause = "SIGINT"
        self._before: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        """Turn the signals into KeyboardInterrupt."""
        for number in _MAPPED:
            self._before[number] = signal.signal(number, self._raise)

    def ignore(self) -> None:
        """Let nothing but SIGKILL disturb the last lines of a run."""
        for number in (*_MAPPED, signal.SIGINT):
            before = signal.signal(number, signal.SIG_IGN)
            self._before.setdefault(number, before)

    def restore(self) -> None:
        """Leave the signals as they were found."""
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def _raise(self, number: int, frame: FrameType | None) -> None:
        self.cause = signal.Signals(number).name
        raise KeyboardInterrupt
