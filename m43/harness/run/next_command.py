"""The next command: exactly what to type, wherever the person stands."""

import os
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from m43.evidence.contract import folder_of, profile_path
from m43.evidence.diagnosis import next_name
from m43.records import Profile, RunTable, profile_check
from m43.text import ascii_text


def run_command(
    profile: Profile, path: Path, repository: Path, name: str = "", contract: str = ""
) -> str:
    """Write the command of the run, under its own name or another."""
    folder = contract or folder_of(path, repository)
    profile = replace(profile, run=RunTable(name=name)) if name else profile
    program = _program("pytest", "-m pytest", repository)
    options = _options(profile, path, profile_path(repository, profile.kind, folder), repository)
    return _from(repository, f"{program} {folder} -m {profile.kind}{options}")


def look_again(profile: Profile, path: Path, repository: Path) -> str:
    """Write the command of this checklist."""
    program = _program("python", "", repository)
    # Not told otherwise, it looks at the production run.
    options = _options(profile, path, profile_path(repository, "production"), repository)
    return _from(repository, f"{program} -m m43 checklist{options}")


def free_name(folder: Path) -> str:
    """Give a name for a further run that no run beside this one has."""
    name = next_name(folder.name)
    while (folder.parent / name).exists():
        name = next_name(name)
    return name


def verify_command(run: Path, repository: Path) -> str:
    """Write the command that looks at a run again."""
    program = _program("python", "", repository)
    return _from(repository, f"{program} -m m43 verify {_typed(run, repository)}")


def _options(profile: Profile, path: Path, usual: Path, repository: Path) -> str:
    """Name the profile and the run where they are not what the command takes by itself."""
    option = "" if path.resolve() == usual else f" --m43-profile {_typed(path, repository)}"
    name = profile.run.name
    return option if name == profile_check.load(path).run.name else f"{option} --m43-run {name}"


def _typed(path: Path, repository: Path) -> str:
    """Write a path as it is to be typed in the repository."""
    # Not resolved: a person knows the file by the name that they gave.
    absolute = path if path.is_absolute() else Path.cwd() / path
    inside = absolute.is_relative_to(repository)
    return _quoted(absolute.relative_to(repository) if inside else absolute)


def _quoted(path: Path) -> str:
    """Quote a path for the shell, in characters that survive every terminal and log."""
    text = str(path)
    if ascii_text(text) == text:
        return shlex.quote(text)
    # $'...' of bash, zsh and POSIX 2024: the bytes themselves.
    return "$'" + "".join(map(_escaped, os.fsencode(path))) + "'"


def _escaped(byte: int) -> str:
    plain = 0x20 < byte < 0x7F and chr(byte) not in "'\\"
    return chr(byte) if plain else f"\\x{byte:02x}"


def _program(name: str, module: str, repository: Path) -> str:
    """Name a program of this environment: in short where the shell would find the same one."""
    mine = Path(sys.executable).parent / name
    found = shutil.which(name)
    if found is not None and Path(found).absolute() == mine.absolute():
        return name
    return f"{_typed(Path(sys.executable), repository)} {module}".strip()


def _from(repository: Path, command: str) -> str:
    here = os.path.realpath(Path.cwd()) == os.path.realpath(repository)
    return command if here else f"cd {_quoted(repository)} && {command}"
