"""The series: what the card was like each second while a child ran, line by line into a file.

A thread looks and the caller writes. So a driver that hangs holds up the looking alone, never the
child's deadlines, and a full disk is met where the run meets every other.
"""

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

from m43 import typed_json
from m43.harness.card.nvml import Card
from m43.records import CardReading, CardSample, NoCard

EVERY_S = 1.0
SILENCE_S = 5.0
_CLOSE_S = 1.0  # a look takes milliseconds; one that hangs is left behind
_BROKE_OFF = "m43's look at the card broke off; what it said of that is in the terminal"


class CardSeries:
    """The looks at a card beside one child, and their file, to which they are appended."""

    def __init__(
        self,
        path: Path,
        child: Literal["train", "eval"],
        environment: Mapping[str, str],
        kind: str = "",
        *,
        every_s: float = EVERY_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        """Begin to look.

        Args:
            path: The file; the looks beside an earlier child stand in it already.
            child: Which child it is.
            environment: The child's, by which the card is chosen.
            kind: The promised device's name, as of `Card.open`.
            every_s: From one look to the next.
            silence_s: After so long without an answer of the driver a gap is written.
        """
        self._child, self._every_s, self._silence_s = child, every_s, silence_s
        self._answers: SimpleQueue[tuple[float, CardSample | NoCard]] = SimpleQueue()
        self._heard_at, self._begun_at = time.monotonic(), 0.0
        self._silent = self._over = False
        self._end = threading.Event()
        # Not buffered: after a write that failed, closing would try it again.
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._thread = threading.Thread(
            target=self._look, args=(dict(environment), kind), name="m43-card", daemon=True
        )
        self._thread.start()

    def write(self, *, pid: int, elapsed_s: float, phase: str, steps: int) -> None:
        """Write what was seen since the last call, beside what the parent knows of the child.

        Args:
            pid: Of the child.
            elapsed_s: From its start to this call.
            phase: In which it is.
            steps: Optimizer steps or rows that were seen go by.

        Raises: OSError, when the disk takes no more.
        """
        now, watching = time.monotonic(), self._thread.is_alive()
        # Kept from the first call: the last one comes when the child has ended some time ago.
        self._begun_at = self._begun_at or now - elapsed_s
        seen: list[tuple[float, CardSample | NoCard]] = []
        while not self._answers.empty():
            at, answer = self._answers.get()
            late_s = at - self._heard_at
            if late_s > self._every_s + self._silence_s and not self._silent:
                # A process that was stopped meanwhile, as by SIGSTOP, could say nothing then.
                seen.append((at, NoCard(reason=f"no look for {late_s:.1f} s")))
            seen.append((at, answer))
            self._heard_at, self._silent = at, False
            self._over = self._over or isinstance(answer, NoCard)
        if not (watching or self._over):
            self._over = True
            seen.append((now, NoCard(reason=_BROKE_OFF)))
        if not (self._over or self._silent) and now - self._heard_at > self._silence_s:
            self._silent = True
            reason = f"no answer from the driver for {self._silence_s:g} s"
            seen.append((now, NoCard(reason=reason)))
        for at, answer in seen:
            self._append(
                CardReading(
                    child=self._child,
                    pid=pid,
                    elapsed_s=round(at - self._begun_at, 3),
                    phase=phase,
                    steps=steps,
                    card=None if isinstance(answer, NoCard) else answer,
                    gap=answer.reason if isinstance(answer, NoCard) else "",
                )
            )

    def close(self) -> None:
        """End the looking; a look that hangs is not waited for."""
        self._end.set()
        self._thread.join(_CLOSE_S)
        os.close(self._file)

    def _append(self, reading: CardReading) -> None:
        rest = typed_json.dump_line(reading).encode()
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def _look(self, environment: Mapping[str, str], kind: str) -> None:
        card = Card.open(environment, kind)
        if isinstance(card, NoCard):
            self._answers.put((time.monotonic(), card))
            return
        while True:
            sample = card.look()
            self._answers.put((time.monotonic(), sample))
            if self._end.wait(self._every_s):
                break
        card.close()
