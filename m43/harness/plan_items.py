"""The plan's items: the plan of the venv gate, made before a run and without leaving anything."""

import tempfile
from pathlib import Path

from m43.errors import FailureClass, GateStoppedError
from m43.evidence.checks import auth_checks, failing, venv_checks
from m43.evidence.plan_checks import plan_checks
from m43.harness import plan
from m43.harness.checklist import Item, item_of, unchecked
from m43.harness.opening import runs_folder
from m43.harness.world import World
from m43.hub_record import AuthRecord
from m43.profile import LOOPBACK_ENDPOINT, Profile
from m43.records import VenvRecord

# What would have been looked at, and what for, where no plan could be made.
_EXPECTED = {
    "the training was planned": "the real step, compiled from config.json",
    "config.json describes the promised model": "the contract's architecture and parameters",
    "the training fits the memory": "what is free, with a margin",
    "the disk of the run folder has room": "room for the trained model and the evidence",
    "the disk of the Hugging Face cache has room": "room for the download",
}
_PLANNED = next(iter(_EXPECTED))


def plan_items(
    world: World,
    profile: Profile,
    repository: Path,
    asked: AuthRecord | None,
    found: VenvRecord | None,
    refused: FailureClass | None = None,
) -> tuple[Item, ...]:
    """Plan the run as the venv gate will, if hub and environment admit it.

    Args:
        world: The hub, the token and the cache, in which nothing is left.
        profile: What is planned.
        repository: The working tree.
        asked: What the hub said; None for a rehearsal, which has not started its own yet.
        found: What the environment is; None if there is none.
        refused: Why the hub's client could not be made, as a class; None if it could.
    """
    if profile.hub.endpoint == LOOPBACK_ENDPOINT:
        text = "it takes the toy's config.json, which the rehearsal's own hub serves"
        expected = _EXPECTED[_PLANNED]
        return (Item(name=_PLANNED, state="at the gate", found=text, expected=expected, action=""),)
    cause = refused or _obstacle(profile, asked, found)
    if cause is not None or asked is None or found is None:
        return _unplanned(cause or FailureClass.NO_VENV)
    try:
        with tempfile.TemporaryDirectory(prefix="m43-config-") as folder:
            record = plan.measure(
                world,
                profile,
                asked,
                found,
                run_folder=runs_folder(repository) / profile.run.name,
                repository=repository,
                config_cache=Path(folder),
            )
    except GateStoppedError as stopped:
        (problem,) = stopped.problems
        return (
            Item(
                name=_PLANNED,
                state="NO",
                found=problem.found,
                expected=problem.expected,
                action=problem.action,
            ),
            *_unplanned(stopped.failure_class)[1:],
        )
    return tuple(item_of(check) for check in plan_checks(record, profile))


def _unplanned(cause: FailureClass) -> tuple[Item, ...]:
    return tuple(unchecked(name, cause, expected) for name, expected in _EXPECTED.items())


def _obstacle(
    profile: Profile, asked: AuthRecord | None, found: VenvRecord | None
) -> FailureClass | None:
    """Name what keeps the plan from being made: it takes the hub's files and a device."""
    if asked is not None and (bad := failing(auth_checks(asked, profile))):
        return bad[0].failure_class
    if found is None:
        return FailureClass.NO_VENV
    computes = found.probe.default_device and not found.probe.import_error
    bad = failing(venv_checks(found, profile))
    return bad[0].failure_class if bad and not computes else None
