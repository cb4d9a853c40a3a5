"""The run's view: what a person sees of a run, gate by gate and promise by promise.

Pytest's own lines for single tests are left away; what it counts in the end stays.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from m43.evidence.contract import ContractText
from m43.harness.process import Sight
from m43.harness.terminal.line import EMPTY, Line, Tone, Word, labelled
from m43.harness.terminal.progress import Progress
from m43.harness.terminal.screen import Screen
from m43.harness.terminal.words import Explanations
from m43.records import CLOSING, GATES, gate_title
from m43.text import ascii_text, duration_words

KEPT, BROKEN, NOT_RUN = "kept", "BROKEN", "NOT RUN"
_TONES: dict[str, Tone] = {KEPT: "ok", BROKEN: "bad", NOT_RUN: "open"}


@dataclass(kw_only=True)
class _Gate:
    """A gate as it has been seen so far."""

    name: str
    duration_s: float = 0.0
    under_way: bool = False
    states: list[str] = field(default_factory=list)
    reason: str = ""  # why its promises were not run

    @property
    def state(self) -> str:
        """One word for the strip of gates."""
        if self.under_way:
            return "under way"
        for state in (BROKEN, NOT_RUN, KEPT):
            if state in self.states:
                return state
        return "to come"


class RunView:
    """Writes what happens, as it happens."""

    def __init__(
        self,
        screen: Screen,
        contract: ContractText,
        words: Explanations,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._screen = screen
        self._promises = {promise.name: promise for promise in contract.promises}
        self._words = words
        self._clock = clock
        self._gates = {name: _Gate(name=name) for name in (*GATES, CLOSING)}
        self._open: _Gate | None = None
        self.progress: Progress | None = None
        self._on_line: Callable[[str], None] = lambda line: None

    # --- what happens --------------------------------------------------------------------------

    def say(self, *lines: Line) -> None:
        """Write lines that belong to no gate."""
        self._screen.say(*lines)

    def promise_comes(self, name: str) -> None:
        """Begin a gate when its first promise comes up."""
        gate = self._gates[self._promises[name].gate]
        if gate is self._open:
            return
        self.end_gate()
        self._open = gate
        if not self._screen.quiet:
            self._screen.say(EMPTY, Line(tone="title", head=gate_title(gate.name)))

    @contextlib.contextmanager
    def shown(self, name: str) -> Iterator[None]:
        """Show where a gate is until the block ends."""
        gate = self._gates[name]
        gate.under_way, begun = True, self._clock()
        self.progress = Progress(name, self._clock)
        try:
            with self._screen.moving(self._picture) as self._on_line:
                yield
        finally:
            gate.under_way, gate.duration_s = False, self._clock() - begun

    def child(self, sight: Sight) -> None:
        """Update from what the parent sees of a child."""
        assert self.progress is not None
        self.progress.child(sight)
        self._on_line(f"{self.progress.gate}  {self.progress.line}")

    def download(self, sight: Sight) -> None:
        """Update from what the parent sees of a download."""
        assert self.progress is not None
        self.progress.download(sight)
        self._on_line(f"{self.progress.gate}  {self.progress.line}")

    def judged(self, name: str, state: str, text: str) -> None:
        """Write what became of a promise.

        Args:
            name: The promise's.
            state: One of KEPT, BROKEN and NOT_RUN.
            text: Why, where it was not kept.
        """
        promise = self._promises[name]
        gate = self._gates[promise.gate]
        if state != NOT_RUN and not gate.states:
            # Not as soon as it has measured: pytest still captures what is written then.
            self._screen.say(*self._words.of_measured_gate(gate.name))
        gate.states.append(state)
        # The first promise of a gate that stopped carries the whole reason.
        reason, *stop = text.splitlines() if state == NOT_RUN else ("",)
        gate.reason = gate.reason or reason
        if self._screen.quiet and state != BROKEN and not stop:
            return
        self._screen.say(labelled(state, promise.clause, tone=_TONES[state], width=9))
        if state != NOT_RUN:
            self._screen.say(*self._words.of_promise(promise, text))
        elif stop:
            self._screen.say(*self._words.of_stop(text))

    def end_gate(self) -> None:
        """Write how the gate that is open went."""
        gate, self._open = self._open, None
        if gate is None or not gate.states:
            return
        if BROKEN in gate.states:
            self._screen.say(*self._words.of_broken_gate(gate.name))
        total = sum(promise.gate == gate.name for promise in self._promises.values())
        kept = gate.states.count(KEPT)
        took = f", {duration_words(gate.duration_s)}" if gate.duration_s else ""
        words = f"{kept} of {total} promises kept{took}"
        if gate.reason:
            words = f"{gate.states.count(NOT_RUN)} of {total} promises not run: {gate.reason}"
        tone: Tone = "ok" if kept == total else _TONES[gate.state]
        line = Line(tone=tone, head=f"  {gate.name}: ", rest=ascii_text(words), indent=4)
        self._screen.say(line)

    # --- what moves ----------------------------------------------------------------------------

    def _picture(self) -> list[list[Word]]:
        """Return the strip of gates and, below it, where the one under way is."""
        strip: list[Word] = []
        for gate in self._gates.values():
            if gate.name not in GATES:
                continue
            strip.append(Word(tone="title" if gate.under_way else "plain", text=f"{gate.name} "))
            strip.append(self._state(gate))
            strip.append(Word(tone="quiet", text="   "))
        line = self.progress.line if self.progress is not None else ""
        return [strip, [Word(tone="plain", text=f"  {ascii_text(line)}")]]

    def _state(self, gate: _Gate) -> Word:
        if gate.under_way and self.progress is not None:
            return Word(tone="title", text=duration_words(self.progress.elapsed_s, whole=True))
        return Word(tone=_TONES.get(gate.state, "quiet"), text=gate.state)
