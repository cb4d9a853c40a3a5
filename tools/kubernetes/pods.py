"""What each pod of a Kubernetes Job runs: pytest in the first, in the others what that launches.

    python -m tools.kubernetes.pods run COMMAND...      the command of every pod
    python -m tools.kubernetes.pods start WORDS...      `launch.command` of the profile

A Job starts pods and no commands in them, so the first pod asks the others through the file system
that they share anyway: a call is a folder of M43_CALLS with the words, and each pod leaves in it
how its process ended. Where one ended badly the others are ended, and nothing is started twice: a
pod that was started again finds that its call was taken.
"""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_TICK_S = 0.1
# For a process that only notices the end of another to say so, and after SIGTERM to end.
_GRACE_S = 5.0
_BY_SIGNAL = 128
# Of a pod's variables its process gets these alone, never a token; the words bring the others.
_KEPT = ("PATH", "HOME", "LANG", "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def _calls() -> Path:
    return Path(os.environ["M43_CALLS"])


def _number() -> int:
    return int(os.environ["JAX_PROCESS_ID"])


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{_number()}")
    part.write_text(text, encoding="utf-8")
    part.rename(path)


def run(command: Sequence[str]) -> int:
    """Run the command in the first pod, and in the others all that it launches."""
    if _number() > 0:
        return follow()
    _calls().mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(command)
    # Kubernetes tells a pod's first process alone that it shall end.
    signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
    try:
        return _status(process.wait())
    finally:
        _write(_calls() / "over", "")


def follow() -> int:
    """Answer one call after the other, until the first pod's command is over."""
    for count in itertools.count():
        call = _calls() / str(count)
        while not (call / "words").exists():
            if (_calls() / "over").exists():
                return 0
            time.sleep(_TICK_S)
        try:
            (call / f"taken-{_number()}").touch(exist_ok=False)
        except FileExistsError:
            sys.exit(f"found {call} taken by an earlier pod {_number()}, expected each call once")
        _take_part(call, json.loads((call / "words").read_text(encoding="utf-8")))
    raise AssertionError("unreachable")


def start(words: Sequence[str]) -> int:
    """Run the words here and in all other pods; return the status of who ended badly first."""
    count = next(n for n in itertools.count() if not (_calls() / str(n)).exists())
    call = _calls() / str(count)
    call.mkdir()
    _write(call / "words", json.dumps(list(words)))
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(_BY_SIGNAL + number))
    # m43 asks by it where the threads stand.
    signal.signal(signal.SIGUSR1, lambda *_: (call / "asked").touch())
    try:
        _take_part(call, words)
        until = time.monotonic() + 3 * _GRACE_S
        while len(_ends(call)) < int(os.environ["JAX_NUM_PROCESSES"]) and time.monotonic() < until:
            time.sleep(_TICK_S)
    finally:
        (call / "ended").touch()
    bad = [(number, status) for number, status in _ends(call) if status]
    for number, status in bad:
        sys.stderr.write(f"the process of pod {number} ended with exit status {status}\n")
    return bad[0][1] if bad else 0


def _ends(call: Path) -> list[tuple[int, int]]:
    """Return number and exit status of those that ended, the first to end before the others."""
    files = [path for path in call.glob("status-*") if path.name[7:].isdecimal()]
    files.sort(key=lambda path: path.stat().st_mtime_ns)
    return [(int(path.name[7:]), int(path.read_text(encoding="utf-8"))) for path in files]


def _take_part(call: Path, words: Sequence[str]) -> None:
    """Run this pod's process of a call to its end, or end it where the call is over without it."""
    variables = {name: os.environ[name] for name in _KEPT if name in os.environ}
    process = subprocess.Popen(words, env=variables, stdin=subprocess.DEVNULL)
    asked = False
    try:
        while process.poll() is None and not (call / "ended").exists():
            if (call / "asked").exists() and not asked:
                asked = True
                process.send_signal(signal.SIGUSR1)
            if any(status for _, status in _ends(call)):
                # It has noticed by itself, and says what, or it stands still.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE_S)
                break
            time.sleep(_TICK_S)
    finally:
        _end(process)
        _write(call / f"status-{_number()}", str(_status(process.returncode)))


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)


def _status(returncode: int) -> int:
    return returncode if returncode >= 0 else _BY_SIGNAL - returncode


if __name__ == "__main__":
    VERBS = {"run": run, "start": start}
    sys.exit(VERBS[sys.argv[1]](sys.argv[2:]))
