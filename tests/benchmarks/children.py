"""Contenders as child processes: each with a memory, an allocator and an environment of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from m43 import typed_json
from m43.errors import M43Error
from m43.harness.process.environment import child_environment

T = TypeVar("T")
REPOSITORY = Path(__file__).parents[2]
Home = Literal["m43", "torch", "tunix"]
# m43's allocator settings are what a rival is told where the line says so.
ALLOCATOR = ("MALLOC_", "GLIBC_TUNABLES")


class ContenderError(M43Error):
    """A contender that cannot be run, or that did not end well."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A script of `contenders/` and what it is given.

    Attributes:
        home: whose environment it runs in.
        told: whether the allocator is told to keep memory; m43's children always are.
    """

    script: str
    arguments: tuple[str, ...]
    home: Home = "m43"
    told: bool = True

    @property
    def name(self) -> str:
        """One line that names it, without paths."""
        words = [word for word in self.arguments if "/" not in word]
        return " ".join((self.script, *words, "" if self.told else "as shipped")).strip()


def run(contender: Contender, cls: type[T]) -> T:
    """Run a contender to its end and read what it measured.

    Raises: ContenderError.
    """
    (value,) = run_together(contender, cls, ({},))
    return value


def run_together(
    contender: Contender, cls: type[T], places: Sequence[Mapping[str, str]]
) -> tuple[T, ...]:
    """Run a contender as several processes at once, and read what each measured.

    Args:
        contender: what each of them is.
        cls: what each prints.
        places: the variables that tell each process which one it is.

    Raises: ContenderError.
    """
    module = f"tests.benchmarks.contenders.{contender.script}"
    command = [str(_interpreter(contender.home)), "-m", module, *contender.arguments]
    began = time.monotonic()
    processes = [
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**_environment(contender), **place},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for place in places
    ]
    try:
        said = [process.communicate() for process in processes]
    finally:
        for process in processes:
            process.kill()
    wrong = [
        f"exit status {process.returncode}: {error.strip()[-2000:]}"
        for process, (out, error) in zip(processes, said, strict=True)
        if process.returncode != 0 or not out.strip()
    ]
    if wrong:
        raise ContenderError(
            found="; ".join(wrong),
            expected="a contender that ends with what it measured",
            where=contender.name,
            action="read its error",
        )
    values = tuple(_measured(contender, cls, out) for out, _ in said)
    sys.stderr.write(f"{time.monotonic() - began:6.0f} s  {contender.name}\n")
    return values


def _measured(contender: Contender, cls: type[T], out: str) -> T:
    value, problems = typed_json.parse(cls, out.strip().splitlines()[-1], contender.name)
    if value is None:
        raise ContenderError(
            found="; ".join(map(str, problems)),
            expected=cls.__name__,
            where=contender.name,
            action="correct the contender",
        )
    return value


def _interpreter(home: Home) -> Path:
    if home == "m43":
        return Path(sys.executable)
    folder = REPOSITORY / {"torch": ".venv-bench", "tunix": ".venv-bench-tunix"}[home]
    found = folder / "bin" / "python"
    if not found.exists():
        raise ContenderError(
            found="no environment",
            expected=f"{folder.name} with the packages of the extra that it is made from",
            where=home,
            action="type make bench, which makes it",
        )
    return found


def _environment(contender: Contender) -> Mapping[str, str]:
    made = child_environment(
        os.environ,
        platform="cpu",
        system=sys.platform,
        parent_pid=os.getpid(),
        secrets=(),
    )
    made = {**made, "PYTHONPATH": str(REPOSITORY)}
    if contender.home == "m43":
        return made
    # A rival gets what everybody gets, and of m43's own levers the allocator's, where told.
    dropped = ("XLA_FLAGS", *(() if contender.told else ALLOCATOR))
    rival = {name: value for name, value in made.items() if not name.startswith(dropped)}
    # PyTorch's own switch for huge pages.
    return {**rival, "THP_MEM_ALLOC_ENABLE": "1"} if contender.told else rival
