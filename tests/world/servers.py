"""The stand-ins: hub, storage and CAS behind TLS, a proxy, a black hole, a silent resolver.

Source: the redirects, headers and statuses that huggingface_hub 2.4 handles (file_download.py,
utils/_http.py, utils/_xet.py), and what the real hub is reported to send.
"""

import contextlib
import gzip
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from m43.rehearsal.reply import Reply, Request, ServedRepository, reply_to
from tests.world.circumstances import CAS, HUB, STORAGE, TRANSFER, Circumstance, Manner
from tests.world.xet import XetReply, XetStorage

LIST = "/api/agent-harnesses"
RESOLVED = "/api/resolve-cache/models/"
_FOREVER_S, _TOKEN_S = 600.0, 3600


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request that somebody received."""

    host: str
    method: str
    path: str


@dataclass(kw_only=True)
class Outside:
    """Everything that answers, and what it was asked."""

    circumstance: Circumstance
    repository: ServedRepository
    token: str = field(repr=False)
    xet: XetStorage
    seen: list[Seen] = field(default_factory=list)

    def reply(self, host: str, request: Request, headers: Mapping[str, str]) -> Reply:
        """Answer as the host of that name does when nothing is wrong."""
        if host in (CAS, TRANSFER):
            return _of_xet(self.xet.reply(request.method, request.target, headers))
        if host == STORAGE:
            return reply_to(request, self.repository, self.token)
        if urlsplit(request.target).path == LIST:
            return self._list()
        if "/xet-read-token/" in request.target:
            return _of_xet(self.xet.token_reply(int(time.time()) + _TOKEN_S))
        return self._hub(request)

    def _list(self) -> Reply:
        status = self.circumstance.harnesses
        table: dict[str, Any] = {"standardEnvVars": ["AI_AGENT"], "harnesses": {}}
        body = json.dumps(table if status == 200 else {"error": "no"}).encode()
        return Reply(status=status, headers={"Content-Type": "application/json"}, body=body)

    def _hub(self, request: Request) -> Reply:
        """Answer as the real hub: small files by a relative redirect, large ones by the storage."""
        name = self.repository.name
        if request.target.startswith(RESOLVED):
            rest = request.target.removeprefix(f"{RESOLVED}{name}/")
            revision, _, file = rest.partition("/")
            inner = _with_target(request, f"/{name}/resolve/{revision}/{file}")
            return reply_to(inner, self.repository, self.token)
        reply = reply_to(request, self.repository, self.token)
        path = urlsplit(request.target).path
        if "/resolve/" not in path or reply.status >= 400:
            limits = {"RateLimit": '"api";r=499;t=300'}
            return Reply(
                status=reply.status,
                headers=reply.headers | limits,
                body=reply.body,
                file=reply.file,
            )
        if reply.status == 200:
            target = f"{RESOLVED}{name}/{path.split('/resolve/')[1]}"
            kept = {"X-Repo-Commit": reply.headers["X-Repo-Commit"], "Location": target}
            return Reply(status=307, headers=kept)
        return self._stored(reply)

    def _stored(self, reply: Reply) -> Reply:
        where = urlsplit(reply.headers["Location"])
        location = f"https://{STORAGE}{where.path}?{where.query}"
        headers = reply.headers | {"Location": location}
        if self.circumstance.offers_xet:
            name = where.path.rpartition("/")[2]
            route = f"https://{HUB}/api/models/{self.repository.name}/xet-read-token/"
            headers |= {
                "X-Xet-Hash": self.xet.hash_of(name),
                "Link": f'<{route}{self.repository.revision}>; rel="xet-auth"',
            }
        return Reply(status=302, headers=headers)


def _of_xet(reply: XetReply) -> Reply:
    return Reply(status=reply.status, headers=dict(reply.headers), body=reply.body)


def _with_target(request: Request, target: str) -> Request:
    return Request(
        method=request.method,
        target=target,
        authorization=request.authorization,
        range=request.range,
        host=request.host,
    )


class Server(ThreadingHTTPServer):
    """A TLS server; the handshake is made by the connection's own thread."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], outside: Outside, chain: Path) -> None:
        self.outside = outside
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    def server_bind(self) -> None:
        """Bind without looking the address's name up."""
        # Without http.server's own, which asks a resolver for the name of the address.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[misc]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away, or that do not trust the certificate."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        # Nothing is taken; it is read so that the connection can go on.
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def _answer(self) -> None:
        outside = self.server.outside
        host = self.headers.get("Host", "").partition(":")[0]
        path = urlsplit(self.path).path
        before = sum(seen.host == host and seen.path == path for seen in outside.seen)
        outside.seen.append(Seen(host=host, method=self.command, path=path))
        manner = outside.circumstance.manners.get(host)
        if manner is not None and path != LIST and MANNERS[manner](self, before):
            return
        if path == LIST and outside.circumstance.harnesses == 0:
            time.sleep(_FOREVER_S)
        request = Request(
            method=self.command,
            target=self.path,
            authorization=self.headers.get("Authorization", ""),
            range=self.headers.get("Range", ""),
            host=host,
        )
        self.send(outside.reply(host, request, dict(self.headers.items())), manner)

    def send(self, reply: Reply, manner: Manner | None = None) -> None:
        """Send an answer, or the part of it that the manner lets through."""
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in reply.headers:
            self.send_header("Content-Length", str(reply.length))
        self.end_headers()
        if self.command == "HEAD":
            return
        body = reply.body
        if reply.file is not None:
            body = reply.file.file.path.read_bytes()[reply.file.start : reply.file.end]
        if manner in ("stall after half", "cut"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if manner == "stall after half":
                time.sleep(_FOREVER_S)
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(body)


def _head(handler: _Handler, status: int, length: int, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()


def _trickle(handler: _Handler, before: int) -> bool:
    if handler.command == "HEAD":
        return False
    _head(handler, 200, 1 << 20, Content_Type="application/json")
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(1.0)
    return True


def _flood(handler: _Handler, before: int) -> bool:
    _head(handler, 200, 300_000_000, Content_Type="application/json")
    with contextlib.suppress(OSError):
        for _ in range(300):
            handler.wfile.write(b" " * 1_000_000)
    return True


def _bomb(handler: _Handler, before: int) -> bool:
    body = gzip.compress(b" " * (256 << 20), compresslevel=1)
    _head(handler, 200, len(body), Content_Type="application/json", Content_Encoding="gzip")
    with contextlib.suppress(OSError):
        handler.wfile.write(body)
    return True


def _portal(handler: _Handler, before: int) -> bool:
    body = b"<!doctype html><title>Welcome to the hotel</title><p>Please sign in."
    _head(handler, 200, len(body), Content_Type="text/html")
    handler.wfile.write(b"" if handler.command == "HEAD" else body)
    return True


def _redirecting_portal(handler: _Handler, before: int) -> bool:
    _head(handler, 302, 0, Location="https://portal.example/sign-in")
    return True


def _refusal(status: int) -> Callable[[_Handler, int], bool]:
    def refuse(handler: _Handler, before: int) -> bool:
        limits = {"RateLimit": '"api";r=0;t=120', "Retry_After": "1"}
        _head(handler, status, 0, **(limits if status == 429 else {}))
        return True

    return refuse


def _once(handler: _Handler, before: int) -> bool:
    return _refusal(503)(handler, before) if before == 0 else False


def _never(handler: _Handler, before: int) -> bool:
    time.sleep(_FOREVER_S)
    return True


MANNERS: Mapping[Manner, Callable[[_Handler, int], bool]] = {
    "trickle": _trickle,
    "flood": _flood,
    "bomb": _bomb,
    "portal": _portal,
    "portal by redirect": _redirecting_portal,
    "503 once": _once,
    "429": _refusal(429),
    "refuses": _refusal(503),
    "never answers": _never,
    # These two answer, and stop in the middle of a file.
    "cut": lambda handler, before: False,
    "stall after half": lambda handler, before: False,
}
