"""The check's child processes: each with a limit, its environment, and what it told by then."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, TypeVar

from m43 import typed_json
from m43.harness.process import child_environment
from m43.records import read_record
from m43.training.__main__ import die_with_parent
from tools.card_check.scale import Place

T = TypeVar("T")
Home = Literal["m43", "torch", "cpu"]
Ended = Literal["well", "cut off", "badly"]
_SHOWN = 1500
_LOOK_S = 1.0


def place_of(argument: str) -> Place:
    """Read the place that a child was given first, and have it end when its parent does."""
    die_with_parent(os.environ)
    return read_record(Path(argument), Place)


def tell(what: str, record: object) -> None:
    """Print a record at once, as a child does: what is cut off later was told by then."""
    sys.stdout.write(f"{what}\t{typed_json.dump_line(record)}")
    sys.stdout.flush()


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a child told until it ended, and how it ended.

    Attributes:
        records: as JSON, by what they are of.
        reason: the end of what it wrote to standard error, where it did not end well.
    """

    records: Mapping[str, str] = field(repr=False)
    ended: Ended
    reason: str
    took_s: float

    def get(self, what: str, cls: type[T]) -> T | None:
        """Return a record; None where the child was not so far."""
        return typed_json.parse(cls, self.records.get(what, ""), what)[0]


@dataclass(frozen=True, kw_only=True)
class Started:
    """A child that runs."""

    process: subprocess.Popen[bytes] = field(repr=False)
    out: IO[bytes] = field(repr=False)
    errors: IO[bytes] = field(repr=False)
    began: float

    def finish(self, limit_s: float, so_far: Callable[["Told"], None] | None = None) -> Told:
        """Wait for its end, at most so long; then end it and all that it started.

        `so_far` is given what it told by then, whenever that is more than before.
        """
        seen = 0

        def look() -> None:
            nonlocal seen
            told = self._told("cut off")
            if so_far is not None and len(told.records) > seen:
                seen = len(told.records)
                so_far(told)

        try:
            status = wait_for(self.process, limit_s, look, every_s=_LOOK_S)
        finally:
            end_group(self.process)
        ended: Ended = "cut off" if status is None else "badly" if status else "well"
        told = self._told(ended, status)
        for file in (self.out, self.errors):
            file.close()
        return told

    def _told(self, ended: Ended, status: int | None = None) -> Told:
        took_s = time.monotonic() - self.began
        out, errors = (_whole(file) for file in (self.out, self.errors))
        lines = (line for line in out.splitlines(keepends=True) if line.endswith("\n"))
        records = dict(line.rstrip("\n").split("\t", 1) for line in lines if "\t" in line)
        reason = ""
        if ended == "badly":
            reason = f"exit status {status}: {errors.strip()[-_SHOWN:]}"
        elif ended == "cut off":
            reason = f"still running after {took_s:.0f} s"
        return Told(records=records, ended=ended, reason=reason, took_s=took_s)


def wait_for(
    process: subprocess.Popen[bytes], limit_s: float, look: Callable[[], None], *, every_s: float
) -> int | None:
    """Wait for the end of a child, with a look at times; None where it came to the limit."""
    until = time.monotonic() + limit_s
    while (left_s := until - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(min(left_s, every_s))
        look()
    return process.poll()


def end_group(process: subprocess.Popen[bytes], grace_s: float = 0.0) -> None:
    """End a child and whatever it started in its session; politely first, where it has a while."""
    if grace_s and process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _whole(file: IO[bytes]) -> str:
    # By its place: the child writes on at the end meanwhile, through the same open file.
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")


def start(
    place: Place, module: str, *arguments: object, home: Home = "m43", shared: bool = False
) -> Started:
    """Start a module of this tool as a child.

    Args:
        place: of the check.
        module: its name in `tools.card_check`.
        arguments: that it is given after the place.
        home: which library computes, and where.
        shared: whether others compute on the card meanwhile, so that none may take all of it.
    """
    name = f"{module}-{time.monotonic_ns()}"
    out = (place.root / f"{name}.out").open("w+b")
    errors = (place.root / f"{name}.err").open("w+b")
    python = str(place.rival) if home == "torch" else sys.executable
    process = subprocess.Popen(
        [python, "-m", f"tools.card_check.{module}", str(place.file), *map(str, arguments)],
        cwd=place.repository,
        env=environment(place, home, shared=shared),
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=errors,
        start_new_session=True,
    )
    return Started(process=process, out=out, errors=errors, began=time.monotonic())


def environment(place: Place, home: Home, *, shared: bool = False) -> dict[str, str]:
    """Make the environment of a child: that of a run's children, for torch without JAX's."""
    made = child_environment(
        os.environ,
        platform="cpu" if home == "cpu" else place.platform,
        system=sys.platform,
        parent_pid=os.getpid(),
        secrets=(),
    )
    made["PYTHONPATH"] = str(place.repository)
    if home == "torch" or shared:
        own = ("XLA_", "JAX_") if home == "torch" else ("XLA_PYTHON_CLIENT", "XLA_CLIENT")
        made = {name: value for name, value in made.items() if not name.startswith(own)}
    return {**made, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"} if shared else made


def run(
    place: Place,
    module: str,
    *arguments: object,
    limit_s: float,
    home: Home = "m43",
    so_far: Callable[[Told], None] | None = None,
) -> Told:
    """Start a module and wait for its end."""
    return start(place, module, *arguments, home=home).finish(limit_s, so_far)


def end_of(path: Path) -> str:
    """Return the end of a log."""
    return path.read_text(errors="replace").strip()[-_SHOWN:] if path.exists() else ""
