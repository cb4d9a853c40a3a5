"""The command `m43 checklist`: every check that can be made before a run, whatever the first says.

It measures as the gates do, and writes nothing: no run folder, no cache, no journal.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from m43 import typed_json
from m43.errors import FailureClass, GateStoppedError
from m43.evidence.contract import (
    M43,
    Check,
    auth_checks,
    contract_path,
    folder_of,
    home,
    read_contract,
    venv_checks,
)
from m43.evidence.documents import summary_template
from m43.harness.commands import data_checks
from m43.harness.commands.card_checks import card_items
from m43.harness.commands.data_checks import plan_items
from m43.harness.gates import auth, venv
from m43.harness.pytest_start import start_problems
from m43.harness.run import (
    Checklist,
    Group,
    HubAccess,
    Item,
    connection_refused,
    ground_items,
    is_ready,
    item_of,
    look_again,
    note,
    outside_world,
    run_command,
    shown,
    without_secrets,
)
from m43.harness.terminal import page, show
from m43.records import (
    LOOPBACK_ENDPOINT,
    NOT_MEASURED,
    AuthRecord,
    ProbeRecord,
    Profile,
    RunTable,
    VenvRecord,
    gate_title,
    profile_check,
)


def start_items(
    repository: Path, kind: str, environment: Mapping[str, str], folder: str = M43
) -> Iterator[Item]:
    """Start pytest as the run would, in a process of its own that begins nothing."""
    yield _start_item(
        "pytest can start here",
        start_problems(repository, kind, without_secrets(environment), folder),
        "yes",
        "it starts, and m43 refuses nothing of the call",
        "do what each says, in the shell in which the run will be started",
    )


def _start_item(
    name: str, problems: tuple[str, ...], good: str, expected: str, action: str
) -> Item:
    return Item(
        name=name,
        state="NO" if problems else "ok",
        found="; ".join(problems).removeprefix("found ") if problems else good,
        expected=expected,
        action=action if problems else "",
    )


def look(
    profile: Profile, path: Path, repository: Path, environment: Mapping[str, str]
) -> Checklist:
    """Run every check that can be made before a run.

    Args:
        profile: With the run's name as it was asked for.
        path: Where the profile lies.
        repository: The working tree.
        environment: The engineer's variables.
    """
    begun = time.monotonic()
    own_hub = profile.hub.endpoint == LOOPBACK_ENDPOINT
    hub_access = (
        HubAccess(environment=environment, endpoint="", cache_dir=None)
        if own_hub
        else outside_world(profile, environment)
    )
    # The hub, a child and the rows have nothing to wait for in each other. The threads live as
    # long as the child does: the kernel ends it with the thread that started it.
    with ThreadPoolExecutor(max_workers=2) as pool:
        # A client that cannot be made would only say the same again.
        refused = None if hub_access.hub_is_here else connection_refused(environment)
        measure = auth.measure if refused is None else auth.ask_nothing
        asking = None if own_hub else pool.submit(measure, hub_access, profile)
        probing = pool.submit(_probe, hub_access, profile, repository)
        # A run that has begun knows the first by itself; the others it looks at again.
        start = start_items(repository, profile.kind, environment, folder_of(path, repository))
        ground = (*start, *ground_items(profile, path, repository, environment))
        training = data_checks.training_items(profile)
        evaluation = data_checks.evaluation_items(profile)
        asked = asking.result() if asking is not None else None
        found, stopped = probing.result()
    environment_items = _venv_items(found, stopped, profile, repository)
    card = card_items(profile, environment)
    planned = plan_items(hub_access, profile, repository, asked, found, refused)
    groups = (
        Group(gate="ground", title="Before the first gate", items=ground),
        _group("auth", _auth_items(asked, profile, refused)),
        _group("venv", (*card, *environment_items, *planned)),
        _group("train-300", training),
        _group("eval", evaluation),
    )
    ready = is_ready(groups)
    next_command: Callable[[Profile, Path, Path], str] = run_command if ready else look_again
    return Checklist(
        kind=profile.kind,
        profile=shown(path, repository),
        run=profile.run.name,
        ready=ready,
        groups=groups,
        command=next_command(profile, path, repository),
        duration_s=time.monotonic() - begun,
    )


def _group(gate: str, items: tuple[Item, ...]) -> Group:
    return Group(gate=gate, title=gate_title(gate), items=items)


def _probe(
    hub_access: HubAccess, profile: Profile, repository: Path
) -> tuple[VenvRecord | None, GateStoppedError | None]:
    try:
        return venv.measure(hub_access, profile, repository).record, None
    except GateStoppedError as stopped:
        return None, stopped


def _auth_items(
    asked: AuthRecord | None, profile: Profile, refused: FailureClass | None
) -> tuple[Item, ...]:
    if asked is None:
        text = "a rehearsal starts its own hub and makes its own token"
        return (note("the hub", text),)
    checks = auth_checks(asked, profile)
    if refused is not None and checks[0].holds:
        checks = tuple(
            check if check.checked else replace(check, failure_class=refused) for check in checks
        )
    return tuple(map(item_of, checks))


def _venv_items(
    found: VenvRecord | None, stopped: GateStoppedError | None, profile: Profile, repository: Path
) -> tuple[Item, ...]:
    if found is not None:
        return tuple(item_of(check) for check in venv_checks(found, profile))
    assert stopped is not None
    problem = stopped.problems[0]
    reason = Check(
        name=f"the environment at {shown(Path(problem.where), repository)}",
        found=problem.found,
        expected=problem.expected,
        holds=False,
        action=problem.action,
        failure_class=stopped.failure_class,
    )
    # The checks of an environment that nobody could ask, by their names.
    unasked = (
        replace(check, checked=False, failure_class=stopped.failure_class)
        for check in venv_checks(_unknown_environment(profile, repository), profile)
    )
    return (item_of(reason), *map(item_of, unasked))


def _unknown_environment(profile: Profile, repository: Path) -> VenvRecord:
    """Describe an environment of which nothing is known, to list what would have been looked at."""
    probe = ProbeRecord(
        executable="",
        prefix="",
        python_version="3.11",
        system="",
        release="",
        packages=(),
        site_packages=(),
        import_error="",
        devices=(),
        default_device="",
        numerics=NOT_MEASURED,
        driver_version="none",
        host_memory_bytes=0,
        disk_free_bytes=0,
    )
    return VenvRecord(
        path=str(venv.venv_folder(profile)),
        interpreter="",
        probe=probe,
        requirements=venv.compare(home(repository) / "pyproject.toml", probe),
        packages_sha256="",
        altered=(),
        unrecorded=(),
        duration_s=0,
    )


def checklist(
    path: Path, run: str, repository: Path, stream: TextIO, *, as_json: bool = False
) -> int:
    """Check everything, write the page or the record, and return the exit status.

    Args:
        path: The profile.
        run: The name of the run folder; empty for the profile's own.
        repository: The working tree.
        stream: Where it is written; in colour if that is a terminal.
        as_json: For machines.

    Raises: ProfileError.
    """
    profile = _profile(path, run)
    with _patience(stream):
        found = look(profile, path, repository, os.environ)
    if as_json:
        stream.write(typed_json.dump(found))
    else:
        show(page(found), stream)
    return 0 if found.ready else 1


def template(path: Path, run: str, repository: Path, stream: TextIO) -> int:
    """Write what the summary of an accepted run under this profile will look like.

    Raises: ProfileError, ContractError.
    """
    contract = read_contract(contract_path(repository, folder_of(path, repository)))
    stream.write(summary_template(_profile(path, run), contract))
    return 0


def _profile(path: Path, run: str) -> Profile:
    profile = profile_check.load(path)
    return replace(profile, run=RunTable(name=run)) if run else profile


@contextlib.contextmanager
def _patience(stream: TextIO) -> Iterator[None]:
    """Show a person that something is going on; some seconds without a word look like a fault."""
    if not stream.isatty():
        yield
        return
    from rich.console import Console

    with Console(file=stream).status("looking at the hub, the environment and the rows"):
        yield
