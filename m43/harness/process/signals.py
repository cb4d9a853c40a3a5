"""Signal handling: Ctrl-C, SIGTERM and SIGHUP end a run in order, wherever they arrive.

And what a signal must not leave behind: a dump of the memory, in which the token lies.
"""

import resource
import signal
from types import FrameType
from typing import Any

_MAPPED = tuple(
    number
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if (number := getattr(signal, name, None)) is not None
)


class Interruption:
    """Records the first of these signals, and ends the run at a safe point.

    An exception in any place would tear a line of the journal from what it stands for, or lose a
    child that has just been started. So it is raised where a run only waits: `check` is called
    between two looks at a child. Further signals are ignored while the run shuts down; SIGKILL
    still works.
    """

    def __init__(self) -> None:
        self.cause = ""
        self._raised = False
        self._before: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        """Install the handlers."""
        for number in _MAPPED:
            self._before[number] = signal.signal(number, self._note)

    def restore(self) -> None:
        """Restore the handlers that were there before."""
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal came and has not ended anything yet."""
        if self.cause and not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.cause = self.cause or signal.Signals(number).name


def forbid_core_dumps() -> None:
    """Have no dump written of this process, nor of any that it starts."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
