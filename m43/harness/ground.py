"""The ground: what must be so before the first gate, whatever the gates will find."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from m43.errors import M43Error
from m43.evidence import ledger
from m43.evidence.contract import read_contract
from m43.harness.checklist import Item, note
from m43.harness.next_command import free_name
from m43.harness.opening import contract_path, profile_differences, runs_folder, shown
from m43.harness.recovery import is_closed
from m43.harness.start_items import start_items
from m43.harness.world import World
from m43.names import is_folder_name
from m43.profile import LOOPBACK_ENDPOINT, TIME_IN_NAME, Profile
from m43.run_dir import RunDir

_MOST_SHOWN = 3


def ground_items(
    profile: Profile, path: Path, repository: Path, environment: Mapping[str, str]
) -> tuple[Item, ...]:
    """Look at the profile, the contract, the run folder and the ledger; nothing is written."""
    world = World(environment=environment, endpoint="", cache_dir=None)
    return (
        _kind(profile),
        *_differences(profile, path, repository),
        _contract(repository),
        *start_items(repository, profile.kind, environment),
        _free(profile, repository),
        _writable("the runs can be written", runs_folder(repository), repository),
        _writable("the Hugging Face cache can be written", world.cache, repository),
        _ledger(repository),
        *_unclosed(repository),
        _variables(world),
    )


def _item(name: str, holds: bool, found: str, expected: str, action: str) -> Item:
    state, to_do = ("ok", "") if holds else ("NO", action)
    return Item(name=name, state=state, found=found, expected=expected, action=to_do)  # type: ignore[arg-type]


def _kind(profile: Profile) -> Item:
    own_hub = profile.hub.endpoint == LOOPBACK_ENDPOINT
    holds = not (profile.kind == "production" and own_hub)
    return _item(
        "the profile can be run",
        holds,
        f"kind {profile.kind}, hub {profile.hub.endpoint}",
        "a real hub for production; only a rehearsal has a hub of its own",
        'set [hub] endpoint to "default" in the profile',
    )


def _differences(profile: Profile, path: Path, repository: Path) -> Iterator[Item]:
    differences = profile_differences(path, profile.kind, repository)
    yield note(
        "the locked decisions",
        _list(differences) if differences else "no difference",
        "no difference; each one is listed in the documents",
    )


def _contract(repository: Path) -> Item:
    path = contract_path(repository)
    name, expected = "the contract can be read", "promises for every gate"
    try:
        promises = read_contract(path).promises
    except M43Error as error:
        problem = error.problems[0]
        return _item(name, False, problem.found, expected, problem.action)
    found = f"{len(promises)} promises in {shown(path, repository)}"
    return _item(name, bool(promises), found, expected, "restore it from git")


def _free(profile: Profile, repository: Path) -> Item:
    if not is_folder_name(profile.run.name):
        expected = "one plain folder name: letters, digits, dots, hyphens and underscores"
        return _item(
            "the run folder is free", False, repr(profile.run.name), expected, "name it otherwise"
        )
    folder = runs_folder(repository) / profile.run.name
    # A name with the time in it is new whenever it is asked for.
    free = TIME_IN_NAME in profile.run.name or not folder.exists()
    return _item(
        "the run folder is free",
        free,
        f"{'nothing' if free else 'an earlier attempt'} at {shown(folder, repository)}",
        "nothing there: one attempt per run folder",
        f"name a new run with --m43-run {free_name(folder)}; a folder is never used twice",
    )


def _writable(name: str, folder: Path, repository: Path) -> Item:
    # The nearest folder that exists: what is missing below it, the run makes.
    there = next(each for each in (folder, *folder.parents) if each.exists())
    holds = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    found = "yes" if holds else f"no, {shown(there, repository)} may not be written"
    return _item(name, holds, found, "yes", f"look at the owner and the rights of {there}")


def _ledger(repository: Path) -> Item:
    path = runs_folder(repository) / "attempts.jsonl"
    name = "the ledger of attempts is whole"
    expected = "a chain without a gap; every report discloses the attempts in it"
    try:
        attempts = ledger.read(path)
    except (M43Error, OSError) as error:
        return _item(
            name, False, str(error), expected, f"restore {shown(path, repository)} as it was"
        )
    lines = [f"{each.run} ({each.kind}, {each.started_utc})" for each in reversed(attempts)]
    found = f"{len(lines)} earlier: {_list(lines)}" if lines else "no earlier attempt"
    return _item(name, True, found, expected, "")


def _unclosed(repository: Path) -> Iterator[Item]:
    """Name runs without an end; there is nothing to say when there are none."""
    journals = sorted(runs_folder(repository).glob("*/journal.jsonl"))
    names = [path.parent.name for path in journals if not is_closed(RunDir(path.parent))]
    if names:
        yield note(
            "earlier runs without an end",
            _list(names),
            "none; one that was cut off is closed before the next run begins, one that still runs "
            "uses the device",
        )


def _variables(world: World) -> Item:
    found = ", ".join(world.hub_variables) or "none"
    return note("variables that steer huggingface_hub", found, "HF_TOKEN alone is needed")


def _list(lines: "tuple[str, ...] | list[str]") -> str:
    more = len(lines) - _MOST_SHOWN
    return "; ".join(lines[:_MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")
