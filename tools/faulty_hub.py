"""A loopback hub at which one thing goes wrong, for tests and for a look by hand.

The hub of a rehearsal has no faults; this one answers in its place, each fault as the real hub
shows it.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

from m43.rehearsal import (
    STORAGE,
    LoopbackHub,
    Reply,
    Request,
    ServedRepository,
    error_reply,
    reply_to,
)


class FaultKind(StrEnum):
    """What can go wrong with a hub, each as the real one shows it."""

    NONE = "nothing"
    TOKEN_REFUSED = "token refused"
    LICENCE_NOT_ACCEPTED = "licence not accepted"
    TOKEN_WITHOUT_GATED_ACCESS = "fine-grained token without gated access"
    UNKNOWN_REPOSITORY = "unknown repository"
    UNKNOWN_REVISION = "unknown revision"
    RATE_LIMITED = "rate limited"
    SERVER_ERROR = "server error"
    SLOW = "slow answers"
    CUT = "connection cut in the middle of a file"
    WRONG_BYTES = "other bytes than the pinned ones"
    MISSING_FILE = "missing file"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: What goes wrong.
        where: Part of the paths that it happens at, such as "whoami" or "model.safetensors"; empty
            means everywhere. A missing file must be named, in full.
        times: How often it happens before the hub recovers; 0 means that it never does.
        delay_s: How long a slow answer takes to begin.
        after_bytes: How much of the file arrives before a connection is cut.
    """

    kind: FaultKind
    where: str = ""
    times: int = 0
    delay_s: float = 0.0
    after_bytes: int = 0

    def __post_init__(self) -> None:
        if self.kind is FaultKind.MISSING_FILE and not self.where:
            raise ValueError("found no name of the missing file, expected one; give it as `where`")


NO_FAULT = Fault(kind=FaultKind.NONE)


@dataclass(frozen=True, kw_only=True)
class _SpoiltReply(Reply):
    """A reply whose body does not arrive as it is."""


class FaultyHub(LoopbackHub):
    """A hub for one repository, behind one token, with at most one fault."""

    def __init__(
        self, *, repository: ServedRepository, token: str, fault: Fault = NO_FAULT, port: int = 0
    ) -> None:
        super().__init__(repository=repository, token=token, port=port)
        self._fault = fault
        self._met = 0
        self._counting = threading.Lock()

    def reply(self, request: Request) -> Reply:
        """Answer a request, with the fault in force if it meets it."""
        if not self._meets(request):
            return super().reply(request)
        if self._fault.kind is FaultKind.SLOW:
            self.closing.wait(self._fault.delay_s)
        reply = faulty_reply(request, self.repository, self.token, self._fault)
        if self._fault.kind in (FaultKind.CUT, FaultKind.WRONG_BYTES):
            return _SpoiltReply(**vars(reply))
        return reply

    def pieces(self, reply: Reply) -> Iterator[bytes]:
        """Cut a body into pieces to send, spoilt where the fault says so."""
        if reply.file is None or not isinstance(reply, _SpoiltReply):
            yield from super().pieces(reply)
            return
        position = reply.file.start
        left = self._fault.after_bytes if self._fault.kind is FaultKind.CUT else reply.length
        spoilt = reply.file.file.size_bytes // 2 if self._fault.kind is not FaultKind.CUT else -1
        for whole in super().pieces(reply):
            piece = whole[:left]
            at = spoilt - position
            if 0 <= at < len(piece):
                piece = piece[:at] + bytes([piece[at] ^ 0xFF]) + piece[at + 1 :]
            yield piece
            position, left = position + len(piece), left - len(piece)
            if left == 0:
                return

    def _meets(self, request: Request) -> bool:
        with self._counting:
            met = self._fault.kind is not FaultKind.NONE and self._is_at(request)
            self._met += met
        return met

    def _is_at(self, request: Request) -> bool:
        fault = self._fault
        if fault.times and self._met >= fault.times:
            return False
        if fault.kind is FaultKind.MISSING_FILE:
            # It is missing from the listing as well.
            return True
        # These two befall bodies of files, so that `times` counts what a client notices.
        spoils_bodies = fault.kind in (FaultKind.CUT, FaultKind.WRONG_BYTES)
        path = request.target
        has_file = "/resolve/" in path or path.startswith(f"/{STORAGE}")
        is_body = request.method == "GET" and has_file
        return fault.where in path and (is_body or not spoils_bodies)


def faulty_reply(request: Request, repository: ServedRepository, token: str, fault: Fault) -> Reply:
    """Answer a request as the real hub would with the fault in force."""
    if (outage := _outage(fault.kind)) is not None:
        return outage
    if fault.kind is FaultKind.TOKEN_REFUSED and request.authorization:
        request = replace(request, authorization="Bearer another")
    changes: dict[FaultKind, dict[str, Any]] = {
        FaultKind.UNKNOWN_REPOSITORY: {"name": "nobody/nothing"},
        FaultKind.UNKNOWN_REVISION: {"revision": "0" * 40},
        FaultKind.MISSING_FILE: {
            "files": tuple(file for file in repository.files if file.name != fault.where)
        },
    }
    reply = reply_to(request, replace(repository, **changes.get(fault.kind, {})), token)
    path = unquote(urlsplit(request.target).path)
    granted = reply.status < HTTPStatus.BAD_REQUEST or reply.status == HTTPStatus.NOT_FOUND
    if granted and (path.endswith("/auth-check") or "/resolve/" in path):
        return _closed_gate(repository.name, fault.kind) or reply
    if fault.kind is FaultKind.TOKEN_WITHOUT_GATED_ACCESS and path.endswith("/whoami-v2"):
        return replace(reply, body=reply.body.replace(b'"role": "read"', b'"role": "fineGrained"'))
    return reply


def _outage(kind: FaultKind) -> Reply | None:
    if kind is FaultKind.SERVER_ERROR:
        message = "Internal Error - We're working hard!"
        return error_reply(HTTPStatus.INTERNAL_SERVER_ERROR, message)
    if kind is FaultKind.RATE_LIMITED:
        message = "We had to rate limit you. Retry later, or upgrade your account."
        headers = {"RateLimit": '"api";r=0;t=1', "RateLimit-Policy": '"fixed window";"api";q=1;w=1'}
        return error_reply(HTTPStatus.TOO_MANY_REQUESTS, message, headers=headers)
    return None


def _closed_gate(name: str, kind: FaultKind) -> Reply | None:
    if kind is FaultKind.LICENCE_NOT_ACCEPTED:
        message = (
            f"Access to model {name} is restricted and you are not in the authorized list. "
            f"Visit the page of {name} to ask for access."
        )
        return error_reply(HTTPStatus.FORBIDDEN, message, code="GatedRepo")
    if kind is FaultKind.TOKEN_WITHOUT_GATED_ACCESS:
        message = (
            "Please enable access to public gated repositories in your fine-grained token settings "
            "to view this repository."
        )
        # The real hub gives no X-Error-Code here: it is a plain 403.
        return error_reply(HTTPStatus.FORBIDDEN, message)
    return None
