"""The profile's file: read from TOML, completed, checked as a whole."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from m43.errors import FailureClass, ProblemsError
from m43.profile import SELF_VENV, DataTable, Profile, VenvTable
from m43.profile_rules import problems_of
from m43.toml_file import read_toml
from m43.typed_json import read_table, to_plain


class ProfileError(ProblemsError):
    """A profile that cannot be used, with everything that is wrong with it."""

    failure_class = FailureClass.PROFILE_INVALID


def load(path: Path) -> Profile:
    """Read a profile, make its paths absolute and check it as a whole.

    Raises: ProfileError, with all problems at once.
    """
    data, problems = read_toml(path)
    if problems:
        raise ProfileError(problems)
    profile, problems = read_table(Profile, data, str(path))
    if profile is None:
        raise ProfileError(problems)
    problems = tuple(problems_of(profile, str(path)))
    if problems:
        raise ProfileError(problems)
    return _absolute(profile, Path(os.path.realpath(path)).parent)


def digest(path: Path) -> str:
    """Give the SHA-256 of a profile's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def differences(profile: Profile, other: Profile) -> tuple[str, ...]:
    """List the keys in which two profiles differ, as `table.key: this instead of that`."""
    mine, theirs = settings(profile), settings(other)
    # A table that only one of them has is named key by key.
    return tuple(
        f"{key}: {mine.get(key)!r} instead of {theirs.get(key)!r}"
        for key in dict.fromkeys((*mine, *theirs))
        if mine.get(key) != theirs.get(key)
    )


def settings(profile: Profile) -> dict[str, object]:
    """Give every value of a profile under its key, as `table.key`."""
    return _flat(to_plain(profile))


def _flat(table: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _absolute(profile: Profile, folder: Path) -> Profile:
    # Not Path.resolve, which raises where links lead in a circle.
    data = DataTable(
        train=Path(os.path.realpath(folder / profile.data.train)),
        evaluation=Path(os.path.realpath(folder / profile.data.evaluation)),
    )
    if profile.venv.path == SELF_VENV:
        return replace(profile, data=data)
    # Not resolved: a virtual environment may itself be a link, and a person knows it by its name.
    venv = VenvTable(path=os.path.normpath(folder / profile.venv.path))
    return replace(profile, data=data, venv=venv)
