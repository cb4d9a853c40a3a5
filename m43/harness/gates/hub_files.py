"""The download, in the child: the pinned files in the cache, digested again from their bytes.

By plain HTTP each file is asked for once, and a second request for it is not sent. With Xet the
requests are hf_xet's own, which nobody here sees; the parent ends the child when it stands still.
"""

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from huggingface_hub import hf_hub_download, hf_hub_url
from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

from m43.errors import causes
from m43.evidence.contract import cause_names
from m43.files import file_state
from m43.harness.gates.hub_client import ANSWER_BYTES, AnswerTooLargeError, Others, hub_client
from m43.harness.gates.hub_exchange import (
    LONGEST_ERROR,
    Arrival,
    Failed,
    Fetched,
    HubRequest,
    failure_words,
    told,
)
from m43.records import Heartbeat, PinnedFile, Transport

TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 20
_SECONDS_BETWEEN_BEATS = 0.5
# huggingface_hub repeats these by itself, after waiting. Source: 2.4, utils/_http.py.
_REPEATED_STATUSES = (408, 429)
# All that hf_xet tells of a failure is a text. Source: hf_xet 1.8.0, each of them raised.
_OF_XET = "Task error: "
_XET_STATUS = re.compile(r"HTTP status (?:client|server) error \((\d{3}) ")
_XET_URL = re.compile(r"https?://[^\s)]+")
_XET_NO_ANSWER = "error sending request for url"

Beat = Callable[[Heartbeat], None]


class RefusedError(Exception):
    """The hub answered with an error; nothing is asked twice."""


class AskedAgainError(Exception):
    """A second request for what was asked before, which the client was about to send."""


class OtherCommitError(Exception):
    """A hub that speaks of another commit than it was asked for; the client would file under it."""


class FetchFailedError(Exception):
    """A file that did not come; what happened is its argument."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.text)
        self.failed = failed


def fetch(
    request: HubRequest,
    token: str,
    *,
    beat: Beat = lambda heartbeat: None,
    secrets: Sequence[str] = (),
) -> Fetched:
    """Bring the pinned files into the cache and digest what lies there.

    Args:
        request: The hub, the revision, its files as the auth gate was told of them, the cache.
        token: Sent to the hub, and to no storage.
        beat: Is told which file is being moved or digested, and how many of its bytes are.
        secrets: What may be found in nothing that is returned.

    Raises: FetchFailedError.
    """
    watch = _Watch(request, (token, *secrets), beat)
    with hub_client(
        timeout_s=TIMEOUT_S,
        on_request=watch.see_request,
        on_response=watch.see_response,
        on_error=watch.see_error,
        on_bytes=watch.see_bytes,
        most_bytes=watch.most_bytes,
    ):
        arrivals = tuple(watch.arrive(pinned, token) for pinned in request.pinned)
    return Fetched(
        arrivals=arrivals,
        transport=watch.transport if watch.requests else request.transport,
        requests=watch.requests,
        unasked=watch.others.requests,
    )


class _Watch:
    """Watches the requests for one file after the other."""

    def __init__(self, request: HubRequest, secrets: Sequence[str], beat: Beat) -> None:
        self._wanted = request
        self._secrets = secrets
        self._beats = _Beats(beat)
        self.others = Others(secrets)
        self.requests = 0
        self._asked: set[tuple[str, str]] = set()
        # Where the file that is being fetched is asked for: at the hub, and wherever that sends.
        self._addresses: set[str] = set()
        self._host, self._status = "", 0
        self._error: Exception | None = None
        self._size_bytes = 0
        # Whether this file, or any, is one that comes by Xet.
        self._xet_file = self._by_xet = False

    @property
    def transport(self) -> Transport:
        """How files came: a hub that offers no Xet is asked by plain HTTP."""
        return "xet" if self._by_xet else "http"

    def see_request(self, request: Any) -> None:
        """Let each request for the file pass once.

        Raises: AskedAgainError.
        """
        if not self._is_mine(request):
            self.others.sent(request)
            return
        asked = (str(request.method), str(request.url))
        if asked in self._asked:
            raise AskedAgainError(f"{asked[0]} of the same address, a second time; not sent")
        self._asked.add(asked)
        self.requests += 1
        self._host, self._status = str(request.url.host), 0

    def see_response(self, response: Any) -> None:
        """Refuse an answer before the client waits and asks again, or files a foreign commit.

        Raises: RefusedError, OtherCommitError.
        """
        if not self._is_mine(response.request):
            self.others.answered(response)
            return
        self._status = status = int(response.status_code)
        if status in _REPEATED_STATUSES or status >= 500:
            raise RefusedError(f"{self._host} answered {status}")
        if location := response.headers.get("location"):
            self._addresses.add(urljoin(str(response.request.url), str(location)))
        # What describes the file: a redirect within the hub does not yet.
        describes = status < 300 or "x-linked-etag" in response.headers
        if response.request.method == "HEAD" and status < 400 and describes:
            self._require_commit(response.headers.get("x-repo-commit"))
            self._require_size(response.headers)
            # What the client decides by. Source: huggingface_hub 2.4, _download_to_tmp_and_move.
            self._xet_file = self._wanted.transport == "xet" and "x-xet-hash" in response.headers
            self._by_xet = self._by_xet or self._xet_file

    def see_error(self, error: Exception) -> None:
        """Keep what a request failed with: the client may ask again instead of telling."""
        if not isinstance(error, AskedAgainError):
            self._error = error

    def see_bytes(self, response: Any, count: int) -> None:
        """Count what has come of a file; the client shows it in pieces of 10 MB only."""
        if _is_file(response):
            self._beats.arrive(count)

    def most_bytes(self, response: Any) -> int:
        """Say how long an answer's body may be: as long as the file, if it is that."""
        return max(self._size_bytes if _is_file(response) else 0, ANSWER_BYTES)

    def arrive(self, pinned: PinnedFile, token: str) -> Arrival:
        """Bring one file, or find it in the cache; digest it.

        Raises: FetchFailedError.
        """
        wanted, name = self._wanted, pinned.name
        url = hf_hub_url(wanted.repo, name, revision=wanted.revision, endpoint=wanted.endpoint)
        self._addresses, self._size_bytes = {url}, pinned.size_bytes
        self._host, self._status, self._error = "", 0, None
        self._xet_file = False
        self._beats.begin(f"download {name}", pinned.size_bytes)
        try:
            text = hf_hub_download(
                wanted.repo,
                name,
                revision=wanted.revision,
                cache_dir=wanted.cache or None,
                endpoint=wanted.endpoint,
                token=token,
                etag_timeout=TIMEOUT_S,
                tqdm_class=_meter(self._beats, pinned.size_bytes, lambda: self._xet_file),
            )
            path, moved = Path(text), self._beats.written
            self._beats.begin(f"digest {name}", pinned.size_bytes)
            state = file_state(path.stat())
            found = _digested(pinned, path, self._beats)
        except Exception as error:
            raise FetchFailedError(self._failed(name, error)) from error
        return Arrival(found=found, path=path, bytes_moved=moved, state=state)

    def _require_commit(self, name: str | None) -> None:
        if name != self._wanted.revision:
            raise OtherCommitError(
                f"the hub answers for commit {name or 'none'}, not for the pinned one"
            )

    def _require_size(self, headers: Any) -> None:
        # The client goes by this size. hf_xet brings that much, and does not heed what is raised
        # in the course of it. Source: huggingface_hub 2.4, file_download.py.
        size = headers.get("x-linked-size") or headers.get("content-length") or ""
        if size.isdecimal() and int(size) > self._size_bytes:
            raise _longer_than(self._size_bytes)

    def _failed(self, name: str, error: Exception) -> Failed:
        # What came before the second request tells why there would have been one.
        parts = [part for part in causes(error) if not isinstance(part, AskedAgainError)]
        first = parts[0] if parts else self._error or error
        failed = Failed(
            name=name,
            text=failure_words(first, self._secrets),
            causes=cause_names(first),
            status=self._status if self._status >= 400 else 0,
            host=told(self._host, LONGEST_ERROR, self._secrets),
        )
        return _failed_in_xet(failed, str(first)) if _OF_XET in str(first) else failed

    def _is_mine(self, request: Any) -> bool:
        token_for_xet = f"/api/models/{self._wanted.repo}/xet-read-token/"
        return str(request.url) in self._addresses or request.url.path.startswith(token_for_xet)


def _is_file(response: Any) -> bool:
    return response.request.method == "GET" and int(response.status_code) in (200, 206)


class _Beats:
    """Tells where the download is, no oftener than useful. Nothing beats but what moves."""

    def __init__(self, beat: Beat) -> None:
        self._tell = beat
        self._number = 0
        self._at = -float("inf")
        self._phase, self._total = "", 0
        self._arrived = self.written = 0

    @property
    def done(self) -> int:
        """The bytes of the file that have come: from the network, or to the disk by another way."""
        return max(self.written, min(self._arrived, self._total))

    def begin(self, phase: str, total: int) -> None:
        """Begin with a file."""
        self._phase, self._total = phase, total
        self._arrived = self.written = 0
        self._say()

    def arrive(self, size_bytes: int) -> None:
        """Take what has come from the network."""
        self._arrived += size_bytes
        self._say_at_times()

    def write(self, size_bytes: int) -> None:
        """Take what has been written to the disk, or read from it."""
        self.written += size_bytes
        self._say_at_times()

    def _say_at_times(self) -> None:
        if time.monotonic() - self._at >= _SECONDS_BETWEEN_BEATS:
            self._say()

    def _say(self) -> None:
        self._number += 1
        self._at = time.monotonic()
        self._tell(
            Heartbeat(
                phase=self._phase,
                done=self.done,
                total=self._total,
                loss_nats=0,
                tokens_per_s=0,
                beat=self._number,
            )
        )


def _meter(beats: _Beats, size_bytes: int, by_xet: Callable[[], bool]) -> type:
    """Make the class that huggingface_hub shows its progress to, for either transport."""

    class Meter(tqdm):
        """A progress bar that draws nothing, and ends a file that is longer than pinned."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **(kwargs | {"disable": True}))

        def update(self, n: float | None = 1) -> None:
            beats.write(int(n or 0))
            if beats.written > size_bytes:
                raise _longer_than(size_bytes)

        def update_transfer(self, n: float | None = 1) -> None:
            """Take what hf_xet has received; of plain HTTP the stream itself has told."""
            if by_xet():
                beats.arrive(int(n or 0))

        def set_transfer_postfix_str(self, *args: Any, **kwargs: Any) -> None:
            """Draw no speed either."""

    return Meter


def _longer_than(size_bytes: int) -> AnswerTooLargeError:
    return AnswerTooLargeError(f"more than the {size_bytes:,} bytes of the file")


def _failed_in_xet(failed: Failed, text: str) -> Failed:
    """Read out of hf_xet's words which host it was, and whether it answered, and what."""
    status, url = _XET_STATUS.search(text), _XET_URL.search(text)
    host = urlsplit(url[0]).hostname if url else None
    # That the storage refuses (401, 403) says nothing of the hub's token or of the licence.
    said = int(status[1]) if status and status[1].startswith(("429", "5")) else 0
    causes = (*failed.causes, "ConnectError") if _XET_NO_ANSWER in text else failed.causes
    return replace(failed, status=said, causes=causes, host=host or failed.host)


def _digested(pinned: PinnedFile, path: Path, beats: _Beats) -> PinnedFile:
    kind = pinned.digest_kind
    size = path.stat().st_size
    digest = hashlib.sha256() if kind == "sha256" else hashlib.sha1(usedforsecurity=False)
    if kind == "git-sha1":
        # Source: git hash-object: a blob's name covers a header with its length.
        digest.update(f"blob {size}\0".encode())
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
            beats.write(len(piece))
    return PinnedFile(
        name=pinned.name, size_bytes=size, digest_kind=kind, digest=digest.hexdigest()
    )
