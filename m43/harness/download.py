"""The download: the pinned files in the Hugging Face cache, digested again from their bytes."""

import errno
import hashlib
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m43.errors import FailureClass, GateStoppedError, M43Error
from m43.evidence.checks import response_class
from m43.evidence.secrets import redact
from m43.harness.hub_session import default_endpoint, hub_session
from m43.harness.world import World
from m43.profile import Profile
from m43.records import AuthRecord, DownloadRecord, HubResponse, PinnedFile

_TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 20
# Beside huggingface_hub's own folders, so that what clears the cache clears this as well.
_VIEW = "m43-view"

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A file as it came: where it lies, and whether its bytes were moved for it."""

    pinned: PinnedFile
    path: Path
    bytes_moved: int


class _DeadlineError(Exception):
    """The time for the download is over."""


class _RefusedError(Exception):
    """The hub answered with an error; nothing is asked twice."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"the hub answered {status}")


class _OtherCommitError(Exception):
    """A hub that speaks of another commit than it was asked for; the client would file under it."""

    def __init__(self, told: str | None) -> None:
        super().__init__(f"the hub answers for commit {told or 'none'}, not for the pinned one")


def fetch(
    world: World, profile: Profile, auth: AuthRecord, tell: Tell = lambda name, done, total: None
) -> DownloadRecord:
    """Bring the pinned files into the cache and digest what lies there.

    Args:
        world: The hub, the token and the cache.
        profile: Says which files of which revision.
        auth: The files' sizes and digests as the hub told them to the auth gate.
        tell: Is told file, bytes so far and bytes in all while a file arrives.

    Raises:
        GateStoppedError: when a file does not arrive, or is not what was pinned.
    """
    begun = time.monotonic()
    deadline = begun + profile.deadlines.download_s
    endpoint = world.endpoint or default_endpoint()
    with hub_session(endpoint, timeout_s=_TIMEOUT_S, on_response=_refuse):
        arrivals = [
            _arrive(world, profile, endpoint, pinned, _meter(pinned, tell, deadline))
            for pinned in auth.files
        ]
    found = tuple(_digested(arrival) for arrival in arrivals)
    _require_same(auth.files, found, arrivals)
    folder = _view(arrivals, auth.revision)
    return DownloadRecord(
        folder=folder,
        revision=auth.revision,
        files=found,
        bytes_moved=sum(arrival.bytes_moved for arrival in arrivals),
        duration_s=time.monotonic() - begun,
    )


def fetch_config(world: World, profile: Profile, auth: AuthRecord) -> Arrival:
    """Bring config.json alone into the cache, and hold it against its pin.

    Raises:
        GateStoppedError: when it does not arrive, or is not what was pinned.
    """
    endpoint = world.endpoint or default_endpoint()
    pinned = next(file for file in auth.files if file.name == "config.json")
    deadline = time.monotonic() + profile.deadlines.probe_s
    meter = _meter(pinned, lambda name, done, total: None, deadline)
    with hub_session(endpoint, timeout_s=_TIMEOUT_S, on_response=_refuse):
        arrival = _arrive(world, profile, endpoint, pinned, meter)
    _require_same((pinned,), (_digested(arrival),), [arrival])
    return arrival


def not_cached(world: World, profile: Profile, auth: AuthRecord) -> tuple[PinnedFile, ...]:
    """List the pinned files that the cache does not have yet."""
    from huggingface_hub import try_to_load_from_cache

    contract = profile.contract
    return tuple(
        file
        for file in auth.files
        if not isinstance(
            try_to_load_from_cache(
                contract.repo, file.name, cache_dir=world.cache_dir, revision=contract.revision
            ),
            str,
        )
    )


def _refuse(response: Any) -> None:
    """Turn a refusal into an error of our own, before the library waits and asks again.

    Source: huggingface_hub 2.4, utils/_http.py: it repeats 408, 429 and 5xx up to five times.
    """
    if response.status_code in (408, 429) or response.status_code >= 500:
        raise _RefusedError(response.status_code)


def _arrive(
    world: World, profile: Profile, endpoint: str, pinned: PinnedFile, meter: type
) -> Arrival:
    from huggingface_hub import (
        get_hf_file_metadata,
        hf_hub_download,
        hf_hub_url,
        try_to_load_from_cache,
    )

    contract = profile.contract
    cache = str(world.cache_dir) if world.cache_dir is not None else None
    known = try_to_load_from_cache(
        contract.repo, pinned.name, cache_dir=cache, revision=contract.revision
    )
    url = hf_hub_url(contract.repo, pinned.name, revision=contract.revision, endpoint=endpoint)
    try:
        # hf_hub_download asks a hub that does not answer again and again, for half a minute;
        # this asks once.
        told = get_hf_file_metadata(
            url, token=world.token.value, timeout=_TIMEOUT_S, endpoint=endpoint
        ).commit_hash
        if told != contract.revision:
            raise _OtherCommitError(told)
        path = hf_hub_download(
            contract.repo,
            pinned.name,
            revision=contract.revision,
            cache_dir=cache,
            endpoint=endpoint,
            token=world.token.value,
            etag_timeout=_TIMEOUT_S,
            tqdm_class=meter,
        )
        # It asks the hub once more, and files what comes under the commit of that answer.
        if (filed := Path(path).parent.name) != contract.revision:
            raise _OtherCommitError(filed)
    except Exception as error:  # noqa: BLE001 (every failure gets a class that a person can act on)
        raise _named(error, pinned.name, endpoint, world, profile) from None
    moved = 0 if isinstance(known, str) else pinned.size_bytes
    return Arrival(pinned=pinned, path=Path(path), bytes_moved=moved)


def _meter(pinned: PinnedFile, tell: Tell, deadline: float) -> type:
    """Make the class that huggingface_hub shows its progress to: it tells, and keeps the time."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class Meter(tqdm):
        """A progress bar that draws nothing."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **(kwargs | {"disable": True}))
            self.done = int(kwargs.get("initial") or 0)

        def update(self, n: float | None = 1) -> None:
            self.done += int(n or 0)
            tell(pinned.name, self.done, pinned.size_bytes)
            if time.monotonic() > deadline:
                raise _DeadlineError

    return Meter


def _named(
    error: Exception, name: str, endpoint: str, world: World, profile: Profile
) -> GateStoppedError:
    """Give a failed download the class that a person can act on."""
    chain = tuple(_chain(error))
    failure_class = next(
        (known for part in chain if (known := _class(part)) is not None),
        FailureClass.HUB_UNREACHABLE,
    )
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if failure_class is FailureClass.TIMED_OUT:
        text = f"no end after {profile.deadlines.download_s:.0f} s"
    return GateStoppedError(
        failure_class,
        found=redact(text, world.secrets)[:600],
        expected=f"{name} of {profile.contract.repo}",
        where=endpoint,
        action=_ACTIONS.get(failure_class, "read the hub's answer; then a new run"),
    )


_OWN: Mapping[type[BaseException], FailureClass] = {
    _DeadlineError: FailureClass.TIMED_OUT,
    _OtherCommitError: FailureClass.HUB_ERROR,
}
_ACTIONS = {
    FailureClass.HUB_UNREACHABLE: "look at the network; then a new run: what arrived is kept",
    FailureClass.RATE_LIMITED: "wait until the hub takes requests again; then a new run",
    FailureClass.HUB_ERROR: "look at the hub's status page; then a new run",
    FailureClass.DISK_FULL: "free space for the Hugging Face cache (HF_HOME); then a new run",
    FailureClass.TIMED_OUT: "look at the network; then a new run: what arrived is kept",
    FailureClass.DOWNLOAD_CORRUPT: "remove the file from the cache yourself; then a new run",
}


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and seen not in chain:
        chain.append(seen)
        seen = seen.__cause__ or seen.__context__
    return chain


def _class(error: BaseException) -> FailureClass | None:
    if isinstance(error, M43Error):
        return error.failure_class
    if isinstance(error, _DeadlineError | _OtherCommitError):
        return _OWN[type(error)]
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FailureClass.DISK_FULL
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return FailureClass.DOWNLOAD_CORRUPT
    status = getattr(error, "status", None) or getattr(
        getattr(error, "response", None), "status_code", None
    )
    if status is None:
        return None
    # The same reading of an answer as in the auth gate.
    name = type(error).__name__
    return response_class(HubResponse(step="weights_head", status=int(status), error=name))


def _digested(arrival: Arrival) -> PinnedFile:
    kind = arrival.pinned.digest_kind
    size = arrival.path.stat().st_size
    digest = hashlib.sha256() if kind == "sha256" else hashlib.sha1(usedforsecurity=False)
    if kind == "git-sha1":
        # Source: git hash-object: a blob's name covers a header with its length.
        digest.update(f"blob {size}\0".encode())
    with arrival.path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
    return PinnedFile(
        name=arrival.pinned.name, size_bytes=size, digest_kind=kind, digest=digest.hexdigest()
    )


def _require_same(
    pinned: tuple[PinnedFile, ...], found: tuple[PinnedFile, ...], arrivals: list[Arrival]
) -> None:
    wrong = [
        (wanted, got, arrival.path)
        for wanted, got, arrival in zip(pinned, found, arrivals, strict=True)
        if wanted != got
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


def _view(arrivals: list[Arrival], revision: str) -> Path:
    """Make the folder that training reads: the pinned files and nothing else.

    The cache's own snapshot may hold more (what other tools fetched), and a loader would use it.
    """
    snapshot = arrivals[0].path.parent
    folder = snapshot.parent.parent / _VIEW / revision
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for arrival in arrivals:
        # Straight to the bytes that were digested, not to a link that may be turned.
        (folder / arrival.pinned.name).symlink_to(arrival.path.resolve())
    return folder
