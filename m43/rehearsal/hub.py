"""The loopback hub: a real HTTP server on 127.0.0.1 that serves one gated model repository."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from m43.rehearsal.reply import Reply, Request, ServedRepository, reply_to

CHUNK_BYTES = 2**20
# How long `requests` waits for answers that are still on their way.
SETTLE_S = 5.0


@dataclass(frozen=True, kw_only=True)
class ServedRequest:
    """A request that the hub has answered; `body_bytes` is what went out, headers not counted."""

    method: str
    path: str
    status: int
    body_bytes: int


class LoopbackHub:
    """A hub for one repository, behind one token.

    Example:
        with LoopbackHub(repository=repository, token=token) as hub:
            HfApi(endpoint=hub.endpoint, token=token).whoami()
    """

    def __init__(self, *, repository: ServedRepository, token: str, port: int = 0) -> None:
        self.repository = repository
        self.token = token
        self._begun = 0
        self._answered: dict[int, ServedRequest] = {}
        self._pending = 0
        self._changed = threading.Condition()
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", port), self)
        # A short poll, because closing waits for one.
        # A daemon: a run that breaks in the middle must not wait for its own hub for ever.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="m43-loopback-hub", daemon=True
        )

    @property
    def endpoint(self) -> str:
        """The address to give to huggingface_hub."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def requests(self) -> tuple[ServedRequest, ...]:
        """Every request so far, in the order in which they came."""
        with self._changed:
            # A client can have read an answer before the thread that sent it has noted it.
            self._changed.wait_for(lambda: self._pending == 0, timeout=SETTLE_S)
            return tuple(self._answered[number] for number in sorted(self._answered))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()

    def begin(self) -> int:
        """Record that a request is being answered, and return its number."""
        with self._changed:
            self._pending += 1
            self._begun += 1
            return self._begun

    def reply(self, request: Request) -> Reply:
        """Return the answer to a request."""
        return reply_to(request, self.repository, self.token)

    def pieces(self, reply: Reply) -> Iterator[bytes]:
        """Cut the body of an answer into the pieces that are sent."""
        if reply.file is None:
            yield reply.body
            return
        position, end = reply.file.start, reply.file.end
        with reply.file.file.path.open("rb") as file:
            file.seek(position)
            while position < end:
                piece = file.read(min(CHUNK_BYTES, end - position))
                if not piece:
                    # Somebody shortened the file after it was described.
                    return
                yield piece
                position += len(piece)

    def end(self, number: int, request: Request, status: int, body_bytes: int) -> None:
        """Record that a request was answered."""
        answered = ServedRequest(
            method=request.method, path=request.target, status=status, body_bytes=body_bytes
        )
        with self._changed:
            self._answered[number] = answered
            self._pending -= 1
            self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    """The listening socket and its connections, all of which end with the hub."""

    # Waited for when the server closes: a thread that outlives its hub would answer for it.
    daemon_threads = False
    block_on_close = True

    def __init__(self, address: tuple[str, int], hub: LoopbackHub) -> None:
        self.hub = hub
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore disconnected clients."""

    def hang_up(self) -> None:
        """End the connections that clients keep open for later."""
        with self._lock:
            for connection in self._connections:
                # Some have ended by themselves in the meantime.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One connection: reads requests, sends the hub's replies."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing to standard error; `LoopbackHub.requests` has every request."""

    def _serve(self) -> None:
        hub = self.server.hub
        request = Request(
            method=self.command,
            target=self.path,
            authorization=self.headers.get("Authorization", ""),
            range=self.headers.get("Range", ""),
            host=self.headers.get("Host", ""),
        )
        number = hub.begin()
        reply = hub.reply(request)
        sent = 0
        try:
            self._send_head(reply)
            if request.method != "HEAD":
                for piece in hub.pieces(reply):
                    self.wfile.write(piece)
                    sent += len(piece)
                # The client still waits for the rest of a body that ended too early.
                self.close_connection = self.close_connection or sent < reply.length
        except OSError:
            # The client went away; what it was sent is counted.
            self.close_connection = True
        finally:
            hub.end(number, request, reply.status, sent)

    def _send_head(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(reply.length))
        self.end_headers()
