"""Holds what mutmut left alive against the table of those that change nothing: nobody else may.

mutmut run; python -m tests.mutation
"""

import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("survivors.toml")
# A mutant that hangs was noticed: its tests do not pass.
NOTICED = ("killed", "timeout", "caught by type check")


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a mutant changes; its number would be another one after every edit."""

    function: str
    before: str
    after: str


def mutmut(*arguments: str) -> str:
    """Ask mutmut, the one of this environment."""
    program = Path(sys.executable).with_name("mutmut")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def results() -> dict[str, str]:
    """Give the state of every mutant by its name."""
    lines = mutmut("results", "--all", "true").splitlines()
    pairs = (line.strip().partition(": ") for line in lines if "__mutmut_" in line)
    return {name: state for name, _, state in pairs}


def change(name: str) -> Change:
    """Read what a mutant changes out of mutmut's diff."""
    lines = mutmut("show", name).splitlines()
    before = [line[1:].strip() for line in lines if line[:1] == "-" and line[:3] != "---"]
    after = [line[1:].strip() for line in lines if line[:1] == "+" and line[:3] != "+++"]
    function = name.rsplit("__mutmut_", 1)[0]
    return Change(function=function, before="\n".join(before), after="\n".join(after))


def known() -> dict[Change, str]:
    """Read the table: each change with the reason that it changes nothing."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["survivor"]
    return {
        Change(function=row["function"], before=row["before"], after=row["after"]): row["reason"]
        for row in rows
    }


def main() -> int:
    """Say the score, and what is not as the table says."""
    states, named = results(), known()
    alive = {name: change(name) for name, state in states.items() if state not in NOTICED}
    strange = {name: what for name, what in alive.items() if what not in named}
    stale = [what for what in named if what not in alive.values()]
    counts = ", ".join(f"{count} {state}" for state, count in Counter(states.values()).items())
    said = [f"{len(states)} mutants: {counts}; {len(alive) - len(strange)} named as the same code"]
    for name, what in strange.items():
        said += [f"found {name} {states[name]}, expected a test that notices", *_diff(what)]
    for what in stale:
        said += [f"found none of {what.function} as named, expected one: take the row out"]
        said += _diff(what)
    if not states:
        said.append("found no mutants, expected some: mutmut run comes first")
    sys.stdout.write("\n".join(said) + "\n")
    return 1 if strange or stale or not states else 0


def _diff(what: Change) -> list[str]:
    return [f"  - {what.before}", f"  + {what.after}"]


if __name__ == "__main__":
    sys.exit(main())
