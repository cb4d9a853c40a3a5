"""The download: a child brings the pinned files into the Hugging Face cache, within a deadline."""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from m43.errors import FailureClass, GateStoppedError
from m43.evidence.contract import hub_answer_class
from m43.evidence.failures import FAILURES
from m43.files import file_state
from m43.harness.gates.hub_exchange import Arrival, Failed, Fetched, HubRequest
from m43.harness.gates.hub_process import Traces, ending_words, hub_request, run_hub_child
from m43.harness.process import Outcome, Sight, last_of
from m43.harness.run import HubAccess
from m43.records import (
    AuthRecord,
    DownloadRecord,
    PinnedFile,
    ProcessRecord,
    Profile,
    RunDir,
    write_last_record,
)
from m43.text import duration_words

_CHILD = "download"


def fetch(
    run: RunDir,
    hub_access: HubAccess,
    profile: Profile,
    auth: AuthRecord,
    see: Callable[[Sight], None] = lambda sight: None,
) -> DownloadRecord:
    """Bring the pinned files into the cache, and make the folder that training reads.

    What lies in the cache already is neither asked for nor changed; its bytes are digested all
    the same.

    Args:
        run: Where the child leaves its traces, and where the folder is made.
        hub_access: The hub, the token and the cache.
        profile: Says which files of which revision, and how long it may take.
        auth: The files' sizes and digests as the hub told them to the auth gate.
        see: Is shown the child about ten times a second.

    Raises:
        GateStoppedError: when a file does not arrive in time, or is not what was pinned.
    """
    begun = time.monotonic()
    deadlines = profile.deadlines
    traces = Traces(
        log=run.log(_CHILD),
        heartbeat=run.heartbeat(_CHILD),
        stacks=run.stacks(_CHILD),
        silence_s=deadlines.silence_s,
    )
    request = fetch_request(hub_access, profile, auth.files, str(traces.heartbeat))

    def keep(record: ProcessRecord) -> None:
        write_last_record(run, run.process(_CHILD), record)

    outcome = run_hub_child(
        "fetch",
        request,
        hub_access,
        deadline_s=deadlines.download_s,
        see=see,
        traces=traces,
        keep=keep,
    )
    fetched = _fetched(outcome, request)
    _link(run.base_model, fetched.arrivals)
    _require_unwritten(run.base_model, fetched.arrivals)
    return DownloadRecord(
        folder=run.base_model,
        cache=fetched.arrivals[0].path.parent,
        revision=auth.revision,
        files=tuple(arrival.found for arrival in fetched.arrivals),
        transport=fetched.transport,
        requests=fetched.requests,
        unasked=fetched.unasked,
        bytes_moved=sum(arrival.bytes_moved for arrival in fetched.arrivals),
        duration_s=time.monotonic() - begun,
    )


def fetch_config(
    hub_access: HubAccess,
    profile: Profile,
    auth: AuthRecord,
    see: Callable[[Sight], None] = lambda sight: None,
) -> Arrival:
    """Bring config.json alone into the cache, and hold it against its pin.

    Raises:
        GateStoppedError: when it does not arrive, or is not what was pinned.
    """
    pinned = tuple(file for file in auth.files if file.name == "config.json")
    request = fetch_request(hub_access, profile, pinned)
    outcome = run_hub_child(
        "fetch", request, hub_access, deadline_s=profile.deadlines.probe_s, see=see
    )
    return _fetched(outcome, request).arrivals[0]


def fetch_request(
    hub_access: HubAccess, profile: Profile, pinned: tuple[PinnedFile, ...], heartbeat: str = ""
) -> HubRequest:
    """Make the request for files that the hub has described."""
    return replace(hub_request(hub_access, profile), pinned=pinned, heartbeat=heartbeat)


def bytes_to_fetch(hub_access: HubAccess, profile: Profile, sizes: Mapping[str, int]) -> int:
    """Sum the sizes of the files that the cache does not have yet.

    Source: huggingface_hub 2.4, the layout of the cache: models--OWNER--NAME/snapshots/REVISION.
    """
    contract = profile.contract
    folder = hub_access.cache / f"models--{contract.repo.replace('/', '--')}" / "snapshots"
    return sum(
        size for name, size in sizes.items() if not (folder / contract.revision / name).is_file()
    )


def _fetched(outcome: Outcome, request: HubRequest) -> Fetched:
    """Give what the child brought.

    Raises: GateStoppedError, with the class that its end has.
    """
    record = outcome.record
    if record.ended_by_parent != "no":
        raise _stalled(record, request)
    if (failed := last_of(outcome, Failed)) is not None:
        raise refusal(failed, request)
    fetched = last_of(outcome, Fetched)
    if fetched is None or record.exit_status != 0:
        raise GateStoppedError(
            FailureClass.HUB_CLIENT_FAILED,
            found=ending_words(outcome),
            expected="the pinned files",
            where=request.endpoint,
            action=_action(FailureClass.HUB_CLIENT_FAILED, request.repo),
        )
    require_same(request.pinned, fetched.arrivals)
    return fetched


def _stalled(record: ProcessRecord, request: HubRequest) -> GateStoppedError:
    limit = "its deadline" if record.ended_by_parent == "deadline" else "standing still"
    sizes = {f"download {file.name}": file.size_bytes for file in request.pinned}
    size = sizes.get(record.last_phase)
    arrived = (
        f"in {record.last_phase!r}, {record.steps_seen:,} of {size:,} bytes had arrived"
        if size is not None
        else f"in phase {record.last_phase!r}"
        if record.last_phase
        else "before the first file"
    )
    took = duration_words(record.duration_s, whole=True)
    return GateStoppedError(
        FailureClass.TRANSFER_STALLED,
        found=f"ended by m43 for {limit}, after {took}; {arrived}",
        expected="the pinned files, whole",
        where=f"{request.endpoint}, by {request.transport}",
        action=_action(FailureClass.TRANSFER_STALLED, request.repo),
    )


def refusal(failed: Failed, request: HubRequest) -> GateStoppedError:
    """Give a failed download the class that a person can act on."""
    failure_class = hub_answer_class("weights_head", failed.status, failed.causes)
    return GateStoppedError(
        failure_class,
        found=failed.text,
        expected=f"{failed.name} of {request.repo}",
        where=failed.host or request.cache or request.endpoint,
        action=_action(failure_class, request.repo),
    )


def _action(failure_class: FailureClass, repo: str) -> str:
    hint = FAILURES[failure_class].hint.format(repo=repo)
    return f"{hint}; then a new run: files that had arrived whole are kept"


def require_same(pinned: tuple[PinnedFile, ...], arrivals: tuple[Arrival, ...]) -> None:
    """Hold what lies in the cache against what the hub had pinned.

    Raises: GateStoppedError, with every file that differs.
    """
    wrong = [
        (wanted, arrival.found, arrival.path)
        for wanted, arrival in zip(pinned, arrivals, strict=True)
        if wanted != arrival.found
    ]
    if not wrong:
        return
    raise GateStoppedError(
        FailureClass.DOWNLOAD_CORRUPT,
        found="; ".join(
            f"{got.name}: {got.size_bytes} bytes, {got.digest_kind} {got.digest}"
            for _, got, _ in wrong
        ),
        expected="; ".join(
            f"{wanted.name}: {wanted.size_bytes} bytes, {wanted.digest}" for wanted, _, _ in wrong
        ),
        where=", ".join(str(path) for _, _, path in wrong),
        action="remove these files, and the blobs that they link to, from the cache yourself; "
        "then a new run",
    )


def linked_states(folder: Path) -> Mapping[str, tuple[int, ...]]:
    """Return what stands still as long as nobody turns a link of `_link` or writes behind it."""
    return {
        path.name: (*file_state(path.lstat()), *file_state(path.stat()))
        for path in folder.iterdir()
    }


def require_untouched(folder: Path, before: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse what a child has read of files that were exchanged meanwhile, and put back.

    Raises: GateStoppedError, with every file.
    """
    try:
        now = linked_states(folder)
    except OSError as error:
        now = {str(error): ()}
    _refuse_written(
        folder, (name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    )


def _require_unwritten(folder: Path, arrivals: tuple[Arrival, ...]) -> None:
    """Refuse a file that was exchanged while those after it were still digested."""

    def state(path: Path) -> tuple[int, ...]:
        try:
            return file_state(path.stat())
        except OSError:
            return ()

    _refuse_written(
        folder, (each.found.name for each in arrivals if state(each.path) != each.state)
    )


def _refuse_written(folder: Path, names: Iterable[str]) -> None:
    changed = sorted(names)
    if changed:
        raise GateStoppedError(
            FailureClass.DOWNLOAD_CORRUPT,
            found=f"written to since they were digested: {', '.join(changed)}",
            expected="the files as they were digested after the download, until the last is read",
            where=str(folder),
            action="find out what writes into the Hugging Face cache while a run is on; then a new "
            "run",
        )


def _link(folder: Path, arrivals: tuple[Arrival, ...]) -> None:
    """Make the folder that training reads: links to the pinned files and to nothing else.

    The cache's own snapshot may hold more (what other tools fetched), and a loader would use it.
    In the run folder, because the cache may be shared, and others read it at the same time.
    """
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    for arrival in arrivals:
        # Straight to the bytes that were digested, not to a link that may be turned.
        (folder / arrival.found.name).symlink_to(os.path.realpath(arrival.path))
