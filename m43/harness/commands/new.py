"""What is written for a person to change: a contract of one's own beside the first."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

from m43.errors import M43Error
from m43.evidence.contract import CONFTEST, LIES, M43, PROMISES, called
from m43.evidence.journal import ledger
from m43.records import profile_check

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
_PROFILE = """\
# What this contract is called, and whatever else is not as in the profile named first. A table
# below [contract], such as [contract.config], takes the place of the whole one.
base = "../{m43}/{kind}.toml"

[contract]
name = "{name}"
"""
_RUN = '\n[run]\nname = "{name}_v1"\n'


class NameTakenError(M43Error):
    """A name that a new contract cannot have."""


def new(name: str, repository: Path, out: TextIO) -> int:
    """Write a contract that promises what the M43 contract does, for a person to change.

    Raises: NameTakenError, before anything is written.
    """
    folder = repository / name
    m43_name = profile_check.load(repository / M43 / "production.toml").contract.name
    # pytest imports what lies in a folder under its name; it must not stand for another module.
    free = _NAME.fullmatch(name) and not folder.exists() and find_spec(name) is None
    if not free or called(name, m43_name, ("another",)) != name:
        raise NameTakenError(
            found=f"the name {name!r}" + (", a folder that is there" if folder.exists() else ""),
            expected="a new name of small letters, digits and underscores that is no module's and "
            f"begins with a letter, and not with {m43_name}",
            where=str(repository),
            action="choose another name; nothing was written",
        )
    folder.mkdir()
    for file, text in _files(name, repository / M43):
        (folder / file).write_text(text, encoding="utf-8", newline="\n")
        out.write(f"{name}/{file}\n")
    out.write(
        f"change {name}/{PROMISES} and the profiles, and give each new promise its lie; then\n"
        f"  pytest {name} -m rehearsal     judged by the same code, on a toy\n"
        f"  pytest {name}/{LIES}          every promise can fail\n"
        f"  pytest {name} -m production    {ledger.RUNS}/{name}_v1/{name}_summary.md\n"
    )
    return 0


def _files(name: str, m43: Path) -> Iterator[tuple[str, str]]:
    for file in (PROMISES, CONFTEST, LIES):
        text = (m43 / file).read_text(encoding="utf-8")
        # The conftest stays, byte for byte, that of the M43 contract; no other is accepted.
        yield file, text.replace(f"pytest {M43}", f"pytest {name}") if file == LIES else text
    for kind, run in (("production", _RUN), ("rehearsal", "")):
        yield f"{kind}.toml", (_PROFILE + run).format(name=name, kind=kind, m43=M43)
