"""The child process: started, watched, ended in time, and described by how it ended."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

from m43 import typed_json
from m43.harness.process.environment import ONCE_HERE, Launcher
from m43.harness.process.isolation import sealed_file
from m43.harness.process.log_writer import LogWriter
from m43.harness.process.reaper import MARK, Reaper, end_all
from m43.harness.process.signals import forbid_core_dumps
from m43.harness.process.xla_flags import VARIABLE, known_flags
from m43.records import Heartbeat, ProcessRecord, write_atomically

T = TypeVar("T")


class JsonlTail:
    """Counts the records appended to a JSON Lines file, by parsing each new line."""

    def __init__(self, path: Path, cls: type) -> None:
        self._path = path
        self._cls = cls
        self._position = 0
        self._rest = b""
        self.count = 0

    def look(self) -> int:
        """Read what is new and return the count so far; a line that is no record does not count."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                piece = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return self.count
        self._position += len(piece)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace")
            self.count += typed_json.parse(self._cls, text, self._path.name)[0] is not None
        return self.count


GRACE_S = 5.0
_TICK_S = 0.1
# Between two looks at a child; so long only where m43 is stopped, or is given no processor.
_STOOD_STILL_S, _LOG_PATIENCE_S, _STACKS_PATIENCE_S = 1.0, 5.0, 3.0
# The child's faulthandler listens to it. Source: m43/training/__main__.py.
STACKS_SIGNAL = signal.SIGUSR1
_VMSTAT = Path("/proc/vmstat")

EndedBy = Literal["no", "deadline", "silence", "interrupt"]


@dataclass(frozen=True, kw_only=True)
class Child:
    """What is to be run, and for how long.

    Attributes:
        heartbeat: The file in which the child says where it is; None for a child without one,
            which then has only its deadline.
        counted: The file of JSON Lines whose lines are the steps; None counts by the heartbeat.
        silence_s: How long the heartbeat may stand still.
        stacks: Where to keep the stacks of its threads when it has to be ended; None asks for none.
        given: What it finds on its standard input.
        launcher: What starts it.
    """

    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    log: Path
    deadline_s: float
    secrets: tuple[str, ...] = field(default=(), repr=False)
    heartbeat: Path | None = None
    counted: tuple[Path, type] | None = None
    silence_s: float = float("inf")
    stacks: Path | None = None
    given: bytes = field(default=b"", repr=False)
    grace_s: float = GRACE_S
    launcher: Launcher = ONCE_HERE


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What the parent sees of a child at one moment."""

    beat: Heartbeat | None
    steps: int
    elapsed_s: float
    pid: int = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a child ended, and the last lines of both of its streams."""

    record: ProcessRecord
    stdout: tuple[str, ...] = field(repr=False)
    stderr: tuple[str, ...] = field(repr=False)


def run_child(
    child: Child,
    on_progress: Callable[[Sight], None],
    on_end: Callable[[ProcessRecord], None] = lambda record: None,
) -> Outcome:
    """Run a child to its end, whatever that is; no process of its group outlives the call.

    Of the flags for XLA in its environment it is given those that its jaxlib knows.

    Args:
        child: What is to be run.
        on_progress: Called with the sight of the child about ten times a second.
        on_end: Called with its record in every case, also when this call is interrupted.

    Raises:
        OSError: when the child cannot be started at all.
    """
    child = _with_known_flags(child)
    forbid_core_dumps()
    oom_before = oom_kills()
    with child.log.open("wb") as log, sealed_file(child.given) as given:
        process = subprocess.Popen(
            child.launcher.words(child.command, child.environment),
            cwd=child.folder,
            env={**child.launcher.environment, **child.environment},
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A session of its own: Ctrl-C reaches the parent alone, and the group can be ended.
            start_new_session=True,
        )
        reaper, watch = _watched(child, process, log)
        try:
            ended_by = watch.until_end(on_progress, reaper.tend)
        except BaseException:
            watch.end("interrupt")
            on_end(watch.record("interrupt", oom_before))
            raise
        finally:
            reaper.dismiss()
        record = watch.record(ended_by, oom_before)
        on_end(record)
    return Outcome(record=record, stdout=watch.stdout.lines, stderr=watch.stderr.lines)


def _with_known_flags(child: Child) -> Child:
    flags = known_flags(Path(child.command[0]), child.environment)
    environment = {name: text for name, text in child.environment.items() if name != VARIABLE}
    return replace(child, environment=environment | ({VARIABLE: " ".join(flags)} if flags else {}))


def _watched(
    child: Child, process: subprocess.Popen[bytes], log: BinaryIO
) -> tuple[Reaper, "_Watch"]:
    """Set guard and watch over a child; where no more processes are allowed it does not live on."""
    mark = child.environment.get(MARK, "")
    with contextlib.ExitStack() as failed:
        # In the end the pipes; then nothing reads them any more.
        failed.enter_context(process)
        failed.callback(end_all, process.pid, mark)
        reaper = Reaper(process.pid, mark)
        failed.callback(reaper.dismiss)
        watch = _Watch(child, process, log)
        failed.pop_all()
    return reaper, watch


class _Watch:
    """A running child under its parent's eye."""

    def __init__(self, child: Child, process: subprocess.Popen[bytes], log: BinaryIO) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.child = child
        self.process = process
        self.begun = self.beat_at = time.monotonic()
        self.stdout = LogWriter(process.stdout, log, child.secrets)
        self.stderr = LogWriter(process.stderr, log, child.secrets)
        self.beat: Heartbeat | None = None
        self.counter = JsonlTail(*child.counted) if child.counted else None
        self.usage_bytes = 0
        self.ended_at = self.unwatched_s = 0.0

    @property
    def steps(self) -> int:
        if self.counter is not None:
            return self.counter.count
        return self.beat.done if self.beat is not None else 0

    def until_end(self, on_progress: Callable[[Sight], None], tend: Callable[[], None]) -> EndedBy:
        seen = self.begun
        while not self._has_ended():
            tend()
            since, seen = time.monotonic() - seen, time.monotonic()
            self._excuse(since)
            self._look()
            elapsed = seen - self.begun
            on_progress(self._sight(elapsed))
            if elapsed - self.unwatched_s > self.child.deadline_s:
                self.end("deadline")
                return "deadline"
            if seen - self.beat_at > self.child.silence_s:
                self.end("silence")
                return "silence"
            time.sleep(_TICK_S)
        self.end("no")
        on_progress(self._sight(self.ended_at - self.begun))
        return "no"

    def _sight(self, elapsed_s: float) -> Sight:
        pid = self.process.pid
        return Sight(beat=self.beat, steps=self.steps, elapsed_s=elapsed_s, pid=pid)

    def _excuse(self, since_s: float) -> None:
        """Count as nobody's silence what a child may have waited for m43.

        Nothing is read while m43 itself is stopped, and a child that prints waits for its log.
        """
        if since_s > _STOOD_STILL_S:
            self.unwatched_s += since_s
            self.beat_at += since_s
        elif self.stdout.behind or self.stderr.behind:
            self.beat_at += since_s

    def end(self, by: EndedBy) -> None:
        """End the whole group: politely first if the child still runs, then for certain."""
        if by != "no":
            # A log that was taken away, or a full disk, must not keep a child alive.
            with contextlib.suppress(OSError):
                self._keep_stacks()
            self._signal(signal.SIGTERM)
            patience = time.monotonic() + self.child.grace_s
            while not self._has_ended() and time.monotonic() < patience:
                time.sleep(_TICK_S / 2)
        # Also after a good end: what the child left running would go on using the device. The
        # child is not reaped before this, so its number cannot yet belong to another group.
        end_all(self.process.pid, self.child.environment.get(MARK, ""))
        self._reap()
        for writer in (self.stdout, self.stderr):
            writer.close(_LOG_PATIENCE_S)
        self._look()

    def _keep_stacks(self) -> None:
        """Have the child write the stacks of its threads, and keep them.

        Only a child that has given a sign of life: from then on it listens to this signal.
        """
        if self.child.stacks is None or self.beat is None or self._has_ended():
            return
        before = self.child.log.stat().st_size
        os.kill(self.process.pid, STACKS_SIGNAL)
        patience, seen = time.monotonic() + _STACKS_PATIENCE_S, before
        while time.monotonic() < patience:
            time.sleep(_TICK_S)
            last, seen = seen, self.child.log.stat().st_size
            if seen == last > before:
                break
        with self.child.log.open("rb") as log:
            log.seek(before)
            # Out of the log, so that what it says has been redacted like the rest.
            if text := log.read():
                write_atomically(self.child.stacks, text)

    def record(self, ended_by: EndedBy, oom_before: int) -> ProcessRecord:
        assert self.process.returncode is not None
        return ProcessRecord(
            command=(*self.child.launcher.command, *self.child.command),
            exit_status=self.process.returncode,
            duration_s=self.ended_at - self.begun,
            peak_bytes=self.usage_bytes,
            ended_by_parent=ended_by,
            oom_kills=oom_kills() - oom_before,
            last_phase=self.beat.phase if self.beat is not None else "",
            steps_seen=self.steps,
            variables=tuple(sorted(self.child.environment)),
            xla_flags=tuple(self.child.environment.get(VARIABLE, "").split()),
            unwatched_s=self.unwatched_s,
        )

    def _has_ended(self) -> bool:
        if self.process.returncode is not None:
            return True
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, options) is not None

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):
            # Nothing of the group is left; macOS says so of zombies with the second error.
            return

    def _reap(self) -> None:
        if self.process.returncode is not None:
            return
        _, status, usage = os.wait4(self.process.pid, 0)
        self.ended_at = time.monotonic()
        self.process.returncode = os.waitstatus_to_exitcode(status)
        # Source: getrusage(2): kilobytes on Linux, bytes on macOS.
        self.usage_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def _look(self) -> None:
        if self.counter is not None:
            before = self.counter.count
            if self.counter.look() != before:
                self.beat_at = time.monotonic()
        if self.child.heartbeat is None:
            return
        beat = read_beat(self.child.heartbeat)
        if beat is not None and (self.beat is None or beat.beat != self.beat.beat):
            self.beat, self.beat_at = beat, time.monotonic()


def last_of(outcome: Outcome, cls: type[T]) -> T | None:
    """Take the last thing of a type out of what the child printed."""
    for line in reversed(outcome.stdout):
        value, _ = typed_json.parse(cls, line, "a child's line")
        if value is not None:
            return value
    return None


def read_beat(path: Path) -> Heartbeat | None:
    """Read a heartbeat; None when there is none, or none that can be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return typed_json.parse(Heartbeat, text, path.name)[0]


def oom_kills(vmstat: Path = _VMSTAT) -> int:
    """Read how often the kernel has killed for want of memory; 0 where it does not say."""
    try:
        lines = vmstat.read_text().splitlines()
    except OSError:
        return 0
    counts = (line.split() for line in lines)
    return next((int(count) for name, count in counts if name == "oom_kill"), 0)
