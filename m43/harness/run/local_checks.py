"""The local checks: what must be so before the first gate, whatever the gates find.

The checklist shows it, and a run is refused by it: one function says for both what is in the way.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from m43.errors import M43Error, Problem, ProblemsError
from m43.evidence.contract import (
    contract_path,
    folder_of,
    home,
    promise_differences,
    read_contract,
)
from m43.evidence.journal import CutChainError, ledger
from m43.files import is_held
from m43.harness.run.hub_access import (
    ACCEPTED_SOURCE,
    flaw,
    outside_world,
    shell_secrets,
    with_its_hub,
)
from m43.harness.run.items import Item, checked, listed, note
from m43.harness.run.next_command import free_name
from m43.harness.run.opening import (
    profile_differences,
    require_whole_ledger,
    runs_folder,
    shown,
)
from m43.harness.run.recovery import is_closed
from m43.harness.run.surroundings import (
    hubs_items,
    innocent,
    temporary,
    traces,
    unsearched,
    variables,
    writable,
)
from m43.records import LOOPBACK_ENDPOINT, TIME_IN_NAME, Profile, RunDir
from m43.text import is_folder_name

# What may be mended, or come between, when a run begins: it looks again, under the ledger's lock.
_LEDGER, _RUNNING = "the ledger of attempts is whole", "no other run is going on"


class GroundError(ProblemsError):
    """Something that the checklist calls NO before the first gate."""


def ground_items(
    profile: Profile, path: Path, repository: Path, environment: Mapping[str, str]
) -> tuple[Item, ...]:
    """Look at what the gates stand on; nothing is written."""
    own_hub = profile.hub.endpoint == LOOPBACK_ENDPOINT
    hub_access = shell_secrets(environment) if own_hub else outside_world(profile, environment)
    return (
        _kind(profile),
        *_differences(with_its_hub(profile, environment), path, repository),
        *_contract(repository, folder_of(path, repository)),
        _free(profile, repository),
        writable("the runs can be written", runs_folder(repository), repository),
        temporary(repository),
        *(() if own_hub else hubs_items(hub_access, profile, repository)),
        _ledger(repository),
        *_unclosed(repository),
        innocent(hub_access, profile, path, repository),
        *traces(hub_access, profile, path, repository),
        *unsearched(hub_access),
        variables(hub_access),
    )


def require_ground(
    profile: Profile, path: Path, repository: Path, environment: Mapping[str, str]
) -> None:
    """Refuse a run of which the checklist would say NO before its first gate has asked anything.

    Nothing is written, not even an empty ledger. Without a token in HF_TOKEN a run begins: that it
    stops at once, and says so in its documents, is one of the locked decisions.

    Raises: GroundError, with everything that is in the way.
    """
    items = ground_items(profile, path, repository, environment)
    problems = [
        Problem(
            found=item.found,
            expected=item.expected,
            where=item.name,
            action=item.action.rstrip("."),
        )
        for item in (*items, *_unusable_token(profile, environment))
        if item.state == "NO" and item.name not in (_LEDGER, _RUNNING)
    ]
    if problems:
        raise GroundError(problems)


def _unusable_token(profile: Profile, environment: Mapping[str, str]) -> Iterator[Item]:
    """Look at the token as gate auth does first of all; the checklist shows it there."""
    if profile.hub.endpoint == LOOPBACK_ENDPOINT:
        return
    token = outside_world(profile, environment).token
    if token.source == ACCEPTED_SOURCE and (reason := flaw(token)):
        yield checked(
            "the token is in HF_TOKEN",
            False,
            f"{token.source}: {reason}",
            "HF_TOKEN, a token as the hub shows it",
            "export it again in the shell that runs pytest, and nothing beside it; a file for "
            "docker run --env-file takes no quotes",
        )


def _kind(profile: Profile) -> Item:
    own_hub = profile.hub.endpoint == LOOPBACK_ENDPOINT
    holds = not (profile.kind == "production" and own_hub)
    return checked(
        "the profile can be run",
        holds,
        f"kind {profile.kind}, hub {profile.hub.endpoint}",
        "a real hub for production; only a rehearsal has a hub of its own",
        'set [hub] endpoint to "default" in the profile',
    )


def _differences(profile: Profile, path: Path, repository: Path) -> Iterator[Item]:
    differences = profile_differences(path, profile, repository)
    yield note(
        "the locked decisions",
        listed(differences) if differences else "no difference",
        "no difference; each one is listed in the documents",
    )


def _contract(repository: Path, folder: str) -> Iterator[Item]:
    path = contract_path(repository, folder)
    name, expected = "the contract can be read", "promises for every gate"
    try:
        contract = read_contract(path)
    except M43Error as error:
        problem = error.problems[0]
        yield checked(name, False, problem.found, expected, problem.action)
        return
    found = f"{len(contract.promises)} promises in {shown(path, repository)}"
    yield checked(name, bool(contract.promises), found, expected, "restore it from git")
    m43 = read_contract(contract_path(home(repository)))
    if differences := promise_differences(contract, m43):
        yield note(
            "the promises are not those of the M43 contract",
            listed(differences),
            "no difference; each one is listed in the documents, which do not call the run M43",
        )


def _free(profile: Profile, repository: Path) -> Item:
    if not is_folder_name(profile.run.name):
        expected = "one plain folder name: letters, digits, dots, hyphens and underscores"
        return checked(
            "the run folder is free", False, repr(profile.run.name), expected, "name it otherwise"
        )
    folder = runs_folder(repository) / profile.run.name
    # A name with the time in it is new whenever it is asked for.
    free = TIME_IN_NAME in profile.run.name or not folder.exists()
    return checked(
        "the run folder is free",
        free,
        f"{'nothing' if free else 'an earlier attempt'} at {shown(folder, repository)}",
        "nothing there: one attempt per run folder",
        f"name a new run with --m43-run {free_name(folder)}; a folder is never used twice",
    )


def _ledger(repository: Path) -> Item:
    path = runs_folder(repository) / ledger.FILE
    expected = "a chain without a gap; every report discloses the attempts in it"
    try:
        attempts = ledger.read(path)
        require_whole_ledger(path.parent)
    except CutChainError as cut:
        return note(_LEDGER, str(cut), "the next run takes away what was cut off")
    except (M43Error, OSError) as error:
        action = f"restore {shown(path, repository)} as it was"
        return checked(_LEDGER, False, str(error), expected, action)
    lines = [f"{each.run} ({each.kind}, {each.started_utc})" for each in reversed(attempts)]
    found = f"{len(lines)} earlier: {listed(lines)}" if lines else "no earlier attempt"
    return checked(_LEDGER, True, found, expected, "")


def _unclosed(repository: Path) -> Iterator[Item]:
    """Name runs without an end; there is nothing to say when there are none."""
    journals = sorted(runs_folder(repository).glob(f"*/{RunDir.journal.name}"))
    unclosed = [path for path in journals if not is_closed(RunDir(path.parent))]
    running = [path.parent.name for path in unclosed if is_held(path)]
    names = [path.parent.name for path in unclosed if path.parent.name not in running]
    if running:
        yield checked(
            _RUNNING,
            False,
            listed(running),
            "none: two at once share the device, and each changes the other's tree",
            "let it end, or end it",
        )
    if names:
        yield note(
            "earlier runs without an end",
            listed(names),
            "none; one that was cut off is closed before the next run begins",
        )
