"""The pre-flight: every check of the first two gates, and of the ground they stand on.

It measures as the gates do, and writes nothing: no run folder, no cache, no journal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from m43.config import LOOPBACK_ENDPOINT, TIME_IN_NAME, Profile
from m43.errors import FailureClass, GateStoppedError
from m43.evidence.checks import Check, auth_checks, venv_checks
from m43.harness import auth, venv
from m43.harness.opening import runs_folder
from m43.harness.world import World, outside_world
from m43.records import AuthRecord, VenvRecord

_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What was looked at, gate by gate; `notes` is what could not be, and why."""

    ground: tuple[Check, ...]
    auth: tuple[Check, ...]
    venv: tuple[Check, ...]
    notes: tuple[str, ...]

    @property
    def checks(self) -> tuple[Check, ...]:
        """All of them, in the order of the run."""
        return (*self.ground, *self.auth, *self.venv)

    @property
    def ready(self) -> bool:
        """Whether nothing stands in the way of the first two gates."""
        return bool(self.checks) and all(check.holds for check in self.checks)


def look(profile: Profile, environment: Mapping[str, str], repository: Path) -> Preflight:
    """Make every check that can be made before a run."""
    notes = []
    own_hub = profile.hub.endpoint == LOOPBACK_ENDPOINT
    world = (
        World(environment=environment, endpoint="", cache_dir=None)
        if own_hub
        else outside_world(profile, environment)
    )
    asked: AuthRecord | None = None
    if own_hub:
        notes.append("auth: a rehearsal starts its own hub and makes its own token")
    else:
        asked = auth.measure(world, profile)
    found: VenvRecord | None = None
    try:
        found = venv.measure(world, profile, repository).record
        environment_checks = venv_checks(found, profile)
    except GateStoppedError as stopped:
        environment_checks = (_stopped(stopped),)
    return Preflight(
        ground=(*_ground(profile, repository), *_room(asked, found)),
        auth=auth_checks(asked, profile) if asked is not None else (),
        venv=environment_checks,
        notes=tuple(notes),
    )


def _stopped(stopped: GateStoppedError) -> Check:
    problem = stopped.problems[0]
    return Check(
        name=f"the environment at {problem.where}",
        found=problem.found,
        expected=problem.expected,
        holds=False,
        action=problem.action,
        failure_class=stopped.failure_class,
    )


def _ground(profile: Profile, repository: Path) -> tuple[Check, ...]:
    folder = runs_folder(repository) / profile.run.name
    # A name with the time in it is new whenever it is asked for.
    free = TIME_IN_NAME in profile.run.name or not folder.exists()
    attempt = Check(
        name="the run folder is free",
        found="nothing there" if free else "an earlier attempt",
        expected="nothing there",
        holds=free,
        action=f"name a new run with --m43-run NAME; {folder.name} is never used twice",
        failure_class=FailureClass.HARNESS_ERROR,
    )
    rows = [
        Check(
            name=f"the {word} rows are there",
            found=f"{path.stat().st_size} bytes" if path.is_file() else "no file",
            expected=f"a file at {path}",
            holds=path.is_file() and path.stat().st_size > 0,
            action="correct [data] in the profile",
            failure_class=FailureClass.DATA_INVALID,
        )
        for word, path in (
            ("training", profile.data.train),
            ("evaluation", profile.data.evaluation),
        )
    ]
    return (attempt, *rows)


def _room(asked: AuthRecord | None, found: VenvRecord | None) -> tuple[Check, ...]:
    if asked is None or found is None or not asked.files:
        return ()
    # The download and the trained model, which is as large; what the cache has is not deducted.
    needed = 2 * sum(file.size_bytes for file in asked.files)
    free = found.probe.disk_free_bytes
    return (
        Check(
            name="the disk has room for the download and the trained model",
            found=f"{free / _GIB:.1f} GiB free",
            expected=f"{needed / _GIB:.1f} GiB or more",
            holds=free >= needed,
            action="free space, or put HF_HOME elsewhere",
            failure_class=FailureClass.DISK_FULL,
        ),
    )
