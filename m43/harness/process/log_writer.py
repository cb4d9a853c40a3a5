"""Copy what a child prints into its log, redacted and as it comes."""

import threading
from collections import deque
from collections.abc import Sequence
from typing import IO, BinaryIO

from m43.evidence.journal import begins_secret, redact
from m43.text import visible, without_escapes

_LONGEST_LINE = 1 << 20
_READ_BYTES = 1 << 16
_KEPT_LINES = 60
_TOO_LONG = b"[a line of more than 1 MiB without a space was left out]"


class LogWriter:
    """Reads a pipe to its end in a thread of its own, and keeps the last lines at hand.

    Lines are the unit because a secret may arrive in two reads: nothing is written before its
    line is whole. A line whose end may begin a secret waits for the next one. What is written is
    plain: a log that is looked at on a terminal steers nothing.
    """

    def __init__(self, pipe: IO[bytes], log: BinaryIO, secrets: Sequence[str]) -> None:
        self._pipe = pipe
        self._log = log
        self._secrets = tuple(secrets)
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._waiting = ""
        # Whether something was read and is not written yet: who prints may have to wait then.
        self.behind = False
        self._thread = threading.Thread(target=self._copy, name="m43-log-writer", daemon=True)
        self._thread.start()

    @property
    def lines(self) -> tuple[str, ...]:
        """The last lines, redacted."""
        return tuple(self._lines)

    def close(self, patience_s: float) -> None:
        """Wait for the end of the pipe; a process that fled with it is not waited for."""
        self._thread.join(patience_s)
        if not self._thread.is_alive():
            self._pipe.close()

    def _copy(self) -> None:
        buffer = b""
        while True:
            self.behind = False
            piece = self._read()
            self.behind = True
            if not piece:
                break
            buffer = self._write_whole_lines(buffer + piece)
        if buffer:
            self._write(buffer)
        if self._waiting:
            self._keep(self._waiting.removesuffix("\n"))
        self.behind = False

    def _read(self) -> bytes:
        try:
            # read1 gives what there is; read would wait for the whole size.
            return self._pipe.read1(_READ_BYTES)  # type: ignore[attr-defined]
        except (OSError, ValueError):
            return b""

    def _write_whole_lines(self, buffer: bytes) -> bytes:
        # A carriage return ends a line too: progress bars write nothing else.
        *lines, rest = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._write(line)
        if len(rest) <= _LONGEST_LINE:
            return rest
        # A secret has no space in it, so a space is a place to cut.
        head, space, tail = rest.rpartition(b" ")
        if space and len(tail) < _LONGEST_LINE:
            self._write(head)
            return tail
        self._write(_TOO_LONG)
        return b""

    def _write(self, line: bytes) -> None:
        # Colours inside a secret would hide it, so they go first.
        text = self._waiting + without_escapes(line.decode(errors="replace"))
        if len(text) < _LONGEST_LINE and begins_secret(text, self._secrets):
            self._waiting = f"{text}\n"
        else:
            self._waiting = ""
            self._keep(text)

    def _keep(self, text: str) -> None:
        text = visible(redact(text, self._secrets))
        self._lines.extend(text.split("\n"))
        try:
            # One write for all of it: two writers may share a log.
            self._log.write(f"{text}\n".encode())
            self._log.flush()
        except OSError:
            # On a full disk the child must still be read, or it would wait for this thread; the
            # last lines are kept here, and the gate says what the disk could not take.
            return
