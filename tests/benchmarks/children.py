"""Contenders as child processes: each with a memory, an allocator and an environment of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
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
    interpreter = _interpreter(contender.home)
    module = f"tests.benchmarks.contenders.{contender.script}"
    began = time.monotonic()
    done = subprocess.run(
        [str(interpreter), "-m", module, *contender.arguments],
        cwd=REPOSITORY,
        env=_environment(contender),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        raise ContenderError(
            found=f"exit status {done.returncode}: " + done.stderr.strip()[-2000:],
            expected="a contender that ends with what it measured",
            where=contender.name,
            action="read its error",
        )
    value, problems = typed_json.parse(cls, lines[-1], contender.name)
    if value is None:
        raise ContenderError(
            found="; ".join(map(str, problems)),
            expected=cls.__name__,
            where=contender.name,
            action="correct the contender",
        )
    sys.stderr.write(f"{time.monotonic() - began:6.0f} s  {contender.name}\n")
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
