"""The checklist: the pre-flight as a page for the person who is about to start the run."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from m43 import config
from m43.config import Profile
from m43.evidence.checks import Check
from m43.harness.opening import shown
from m43.harness.preflight import Preflight, look


def checklist(
    path: Path, repository: Path, environment: Mapping[str, str] | None = None
) -> tuple[str, bool]:
    """Check whether a run could start here; give the page, and whether everything holds.

    Raises: ProfileError.
    """
    profile = config.load(path)
    seen = look(profile, os.environ if environment is None else environment, repository)
    return "\n".join(_lines(profile, path, repository, seen)) + "\n", seen.ready


def _lines(profile: Profile, path: Path, repository: Path, seen: Preflight) -> Iterator[str]:
    yield f"m43 checklist for {shown(path, repository)} ({profile.kind}); nothing is changed"
    for title, checks in (("ground", seen.ground), ("auth", seen.auth), ("venv", seen.venv)):
        if checks:
            yield ""
            yield title
        for check in checks:
            yield from _check_lines(check)
    yield ""
    yield from seen.notes
    failing = [check for check in seen.checks if not check.holds]
    if failing:
        yield f"NOT READY: {len(failing)} of {len(seen.checks)} checks do not hold"
    else:
        yield f"READY: {len(seen.checks)} checks hold. The run, once:"
        yield f"  {command(profile, path, repository)}"


def _check_lines(check: Check) -> Iterator[str]:
    if check.holds:
        yield f"  ok  {check.name}: {check.found}"
        return
    yield f"  NO  {check.name}"
    yield f"        found     {check.found}"
    yield f"        expected  {check.expected}"
    yield f"        to do     {check.action}"


def command(profile: Profile, path: Path, repository: Path) -> str:
    """Write the exact command of the run."""
    bundled = path.resolve() == repository / "acceptance" / f"{profile.kind}.toml"
    option = "" if bundled else f" --m43-profile {path}"
    return f"pytest acceptance -m {profile.kind}{option}"
