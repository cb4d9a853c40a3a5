"""The start of pytest: whether it comes so far that m43 can speak, tried in a process of its own.

A plugin that pytest refuses ends it with a traceback before m43 is asked anything. So this file
needs the standard library alone, and is run before pytest: by `m43 checklist`, and by make.
"""

import errno
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

LOOK = "--m43-look"
"""The option with which m43 refuses as it would a run, and begins none."""

_PATIENCE_S = 120.0
_LONGEST = 600
_REFUSED = 4
_STEERING = (
    "PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_DISABLE_PLUGIN_AUTOLOAD", "PYTHONPATH",
    "PYTHONOPTIMIZE", "PYTHONWARNINGS", "PYTHONHOME", "PYTHONUSERBASE",
)  # fmt: skip
_FEW = (
    "found no further process or thread allowed, expected a handful of processes and some dozens "
    "of threads: allow more (ulimit -u, pids.max of the container)"
)
# The first line of what ended pytest: its own word, or the last line of a traceback.
_END = re.compile(r"(?:ERROR|[\w.]+(?:Error|Warning|Exception|Exit)): ?")


def start_problems(
    repository: Path, kind: str, environment: Mapping[str, str], folder: str = "acceptance"
) -> tuple[str, ...]:
    """Start pytest as a run would be started, without beginning one; say what ends it.

    Args:
        repository: The checkout.
        kind: The marker of the run.
        environment: The variables of the shell in which the run would be started.
        folder: The contract's.
    """
    words = (folder, "-m", kind, LOOK, "--collect-only", "-q")
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", *words],
            cwd=repository,
            # It only looks: not even a compiled module is left.
            env={**environment, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        if isinstance(error, OSError) and error.errno == errno.EAGAIN:
            return (_FEW,)
        return (f"found a pytest that does not start ({error}), expected one that does",)
    if ended.returncode == 0:
        return ()
    return tuple(_problems(ended.stderr + ended.stdout, environment))


def _problems(said: str, environment: Mapping[str, str]) -> Iterator[str]:
    foreign = dict(_foreign_plugins(environment))
    yield from foreign.values()
    # A call that is refused is told why in lines of its own.
    refused = [line[4:] for line in said.splitlines() if line.startswith("  - ")]
    # One fault, told once.
    named = tuple(f"found the pytest plugin {name} " for name in foreign)
    yield from (line for line in refused if not f"{line} ".startswith(named or ("\0",)))
    if refused or foreign:
        # What else ends pytest cannot be told apart from what a foreign plugin does to it.
        return
    names = [name for name in _STEERING if environment.get(name)]
    steered = f" (steered by {', '.join(names)})" if names else ""
    yield (
        "found a pytest that ends before m43 can speak, expected one that starts; it says: "
        f"{_reason(said)}{steered}"
    )


def _foreign_plugins(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Name the plugins that a distribution outside this environment registers with pytest."""
    scheme = sysconfig.get_paths()
    own = {Path(scheme[name]).resolve() for name in ("purelib", "platlib")}
    paths = [part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part]
    on_path = {Path(part).resolve() for part in paths}
    for point in metadata.entry_points(group="pytest11"):
        if point.dist is None:
            continue
        place = Path(str(point.dist.locate_file(""))).resolve()
        if place not in own:
            way = (
                "unset PYTHONPATH" if place in on_path else "leave that folder out of Python's path"
            )
            yield (
                point.name,
                f"found the pytest plugin {point.name} of {point.dist.name} {point.dist.version} "
                f"in {place}, expected those of {sys.prefix} only: {way}",
            )


def _reason(said: str) -> str:
    """Give what ended pytest: the last line that names an error, and what follows it."""
    lines = [line for line in said.splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if _END.match(line)]
    told = lines[starts[-1] :] if starts else lines[-1:]
    return " ".join(" ".join(told).split())[:_LONGEST] or "none"


def main() -> int:
    """Say what would end pytest, for the run that is named; 0 when nothing does."""
    repository = Path(__file__).resolve().parents[2]
    problems = start_problems(repository, sys.argv[1], os.environ)
    for problem in problems:
        sys.stderr.write(f"m43: {problem}\n")
    return _REFUSED if problems else 0


if __name__ == "__main__":
    sys.exit(main())
