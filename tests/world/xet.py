"""A stand-in for the Xet storage, from which the real hf_xet downloads.

What is answered is decided by `XetStorage` without a socket, so that any server can serve it under
any name; `XetServers` serves it on this machine by plain HTTP.

Source: the Xet protocol, 1.1.0 (huggingface.co/docs/xet: CAS API, xorb format, authentication),
and huggingface_hub 2.4, utils/_xet.py.
"""

import hashlib
import hmac
import json
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

# Source: the protocol: chunks of 64 KiB on average and of 128 KiB at most, xorbs of 64 MiB at most.
CHUNK_BYTES = 64 << 10
CHUNKS_PER_XORB = 1000

_HEADER_BYTES = 8
_NOT_COMPRESSED = 0
_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")
_RECONSTRUCTION = re.compile(r"/v1/reconstructions/([0-9a-f]{64})$")
_XORB = re.compile(r"/xorbs/default/([0-9a-f]{64})$")
_WHOLE = (0, 1 << 62)


class Trouble(Enum):
    """What goes wrong with every file."""

    NONE = "none"
    STALLS_AFTER_HALF = "half of a xorb comes, and then nothing"
    NEVER_ANSWERS = "what a file consists of is never told"
    REFUSES = "what a file consists of is refused with status 503"
    WRONG_BYTES = "a xorb has one byte that the file has not"


class Silence(Enum):
    """Where the server falls silent, with the connection open."""

    NONE = "nowhere"
    AT_ONCE = "before the status"
    AT_HALF = "after half of the body"


@dataclass(frozen=True, kw_only=True)
class XetReply:
    """A status, headers, a body, and whether all of it is sent."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    silence: Silence = Silence.NONE


@dataclass(frozen=True, kw_only=True)
class _Xorb:
    """Chunks of one file, each stored as it is, behind a header."""

    source: bytes | Path = field(repr=False)
    start: int
    end: int

    @property
    def chunk_sizes(self) -> list[int]:
        """The sizes of its chunks as the file has them."""
        return [
            min(CHUNK_BYTES, self.end - at) for at in range(self.start, self.end, CHUNK_BYTES)
        ]

    def offset(self, chunk: int) -> int:
        """Tell where a chunk's header begins, or the xorb ends."""
        return sum(_HEADER_BYTES + size for size in self.chunk_sizes[:chunk])

    def serialized(self) -> bytes:
        """Write the chunks, each behind its header.

        Source: the protocol, xorb format: version, stored length, compression scheme, length;
        the lengths in three bytes, little-endian.
        """
        data = _read(self.source, self.start, self.end)
        parts: list[bytes] = []
        for number, size in enumerate(self.chunk_sizes):
            length = size.to_bytes(3, "little")
            begin = number * CHUNK_BYTES
            parts += (b"\0", length, bytes([_NOT_COMPRESSED]), length, data[begin : begin + size])
        return b"".join(parts)


class XetStorage:
    """The Xet storage of some files: what they consist of (the CAS), and the xorbs themselves.

    hf_xet 1.8.0 verifies no hash when it downloads: with a byte of a xorb turned it wrote the file
    with that byte and said nothing, and it took every name of 64 hexadecimal digits for a file and
    for a xorb. So the names are SHA-256 here and not the protocol's Merkle hashes, which need
    BLAKE3.

    Example:
        storage = XetStorage({"model.safetensors": path}, "https://cas", "https://transfer")
        storage.reply("GET", "/v1/reconstructions/...", {"Host": "cas", "Authorization": ...})

    Args:
        files: Their bytes, or where they lie.
        cas_url: Where it is told what a file consists of, to who has an access token.
        storage_url: Where the xorbs are given to who has a signed address; another host.
        trouble: What goes wrong.
        chunks_per_xorb: Fewer make several xorbs of a small file.
    """

    def __init__(
        self,
        files: Mapping[str, bytes | Path],
        cas_url: str,
        storage_url: str,
        *,
        trouble: Trouble = Trouble.NONE,
        chunks_per_xorb: int = CHUNKS_PER_XORB,
    ) -> None:
        self.cas_url, self.storage_url = cas_url, storage_url
        self.access_token = f"xet_{secrets.token_hex(16)}"
        self._trouble = trouble
        self._key = secrets.token_bytes(16)
        self._hashes: dict[str, str] = {}
        self._xorbs_of: dict[str, list[str]] = {}
        self._xorbs: dict[str, _Xorb] = {}
        for name, source in files.items():
            self._hashes[name] = file_hash = _named("file", _digest(source))
            self._xorbs_of[file_hash] = self._store(file_hash, source, chunks_per_xorb)

    def hash_of(self, name: str) -> str:
        """Give what the hub says in X-Xet-Hash."""
        return self._hashes[name]

    def token_reply(self, expires_at_s: int) -> XetReply:
        """Answer for the hub, at /api/models/REPO/xet-read-token/REVISION, in both ways it has."""
        said = {"casUrl": self.cas_url, "exp": expires_at_s, "accessToken": self.access_token}
        headers = {
            "X-Xet-Cas-Url": self.cas_url,
            "X-Xet-Token-Expiration": str(expires_at_s),
            "X-Xet-Access-Token": self.access_token,
        }
        return _json(said, headers)

    def reply(self, method: str, path: str, headers: Mapping[str, str]) -> XetReply:
        """Answer a request to the CAS or to the storage, whichever it names as its host."""
        said = {name.lower(): value for name, value in headers.items()}
        parts = urlsplit(path)
        host = said.get("host", "")
        if method != "GET" or host not in _hosts(self.cas_url) | _hosts(self.storage_url):
            return _refused(HTTPStatus.NOT_FOUND)
        if host in _hosts(self.cas_url):
            return self._reconstruction(parts.path, said)
        signatures = parse_qs(parts.query).get("signature", [])
        return self._stored(parts.path, signatures, said)

    def _store(self, file_hash: str, source: bytes | Path, chunks_per_xorb: int) -> list[str]:
        size = source.stat().st_size if isinstance(source, Path) else len(source)
        step = chunks_per_xorb * CHUNK_BYTES
        names = []
        for start in range(0, size, step):
            name = _named("xorb", f"{file_hash} {start}")
            self._xorbs[name] = _Xorb(source=source, start=start, end=min(start + step, size))
            names.append(name)
        return names

    def _reconstruction(self, path: str, headers: Mapping[str, str]) -> XetReply:
        if self._trouble is Trouble.NEVER_ANSWERS:
            return XetReply(status=HTTPStatus.OK, silence=Silence.AT_ONCE)
        if self._trouble is Trouble.REFUSES:
            return _refused(HTTPStatus.SERVICE_UNAVAILABLE)
        if headers.get("authorization") != f"Bearer {self.access_token}":
            return _refused(HTTPStatus.UNAUTHORIZED)
        # Of /v2 as of anything else: not here. The client then asks /v1, which is specified.
        match = _RECONSTRUCTION.match(path)
        if match is None or match[1] not in self._xorbs_of:
            return _refused(HTTPStatus.NOT_FOUND)
        xorbs = {name: self._xorbs[name] for name in self._xorbs_of[match[1]]}
        start, end = _range(headers) or _WHOLE
        if start >= max((xorb.end for xorb in xorbs.values()), default=0):
            return _refused(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        return _json(self._terms(xorbs, start, end))

    def _terms(self, xorbs: Mapping[str, _Xorb], start: int, end: int) -> dict[str, Any]:
        """Say which chunks make the file from `start` to before `end`, and where they are."""
        offset, terms, fetch_info = 0, [], {}
        for name, xorb in xorbs.items():
            begin, stop = max(start, xorb.start), min(end, xorb.end)
            if begin >= stop:
                continue
            first = (begin - xorb.start) // CHUNK_BYTES
            after = -(-(stop - xorb.start) // CHUNK_BYTES)
            chunks = {"start": first, "end": after}
            if not terms:
                offset = begin - xorb.start - first * CHUNK_BYTES
            length = sum(xorb.chunk_sizes[first:after])
            terms.append({"hash": name, "unpacked_length": length, "range": chunks})
            # Both ends belong to it, as in a Range header.
            url_range = {"start": xorb.offset(first), "end": xorb.offset(after) - 1}
            fetch_info[name] = [
                {"range": chunks, "url": self._signed(name), "url_range": url_range}
            ]
        return {"offset_into_first_range": offset, "terms": terms, "fetch_info": fetch_info}

    def _stored(self, path: str, signatures: list[str], headers: Mapping[str, str]) -> XetReply:
        match = _XORB.match(path)
        if match is None or match[1] not in self._xorbs or signatures != [self._sign(match[1])]:
            return _refused(HTTPStatus.FORBIDDEN)
        if "authorization" in headers:
            # The storage is not whom the access token is for.
            return _refused(HTTPStatus.BAD_REQUEST)
        data = self._xorbs[match[1]].serialized()
        if self._trouble is Trouble.WRONG_BYTES:
            data = data[:-1] + bytes([data[-1] ^ 0xFF])
        half = self._trouble is Trouble.STALLS_AFTER_HALF
        silence = Silence.AT_HALF if half else Silence.NONE
        part = _range(headers)
        if part is None:
            return XetReply(status=HTTPStatus.OK, body=data, silence=silence)
        start, end = part[0], min(part[1], len(data))
        if start >= end:
            return _refused(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        return XetReply(
            status=HTTPStatus.PARTIAL_CONTENT,
            headers={"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"},
            body=data[start:end],
            silence=silence,
        )

    def _signed(self, xorb: str) -> str:
        return f"{self.storage_url}/xorbs/default/{xorb}?signature={self._sign(xorb)}"

    def _sign(self, xorb: str) -> str:
        return hmac.new(self._key, xorb.encode(), "sha256").hexdigest()


class Answers(Protocol):
    """What decides the answers of a server."""

    def __call__(self, method: str, path: str, headers: Mapping[str, str], /) -> XetReply:
        """Answer a request."""


def handler(answer: Answers, closing: threading.Event) -> type[BaseHTTPRequestHandler]:
    """Make the handler of a server that sends what `answer` decides.

    Args:
        answer: Decides; is called in the connection's own thread.
        closing: Ends the silences, which would otherwise last as long as the server.
    """

    class Handler(BaseHTTPRequestHandler):
        """One connection."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            reply = answer(self.command, self.path, dict(self.headers.items()))
            if reply.silence is Silence.AT_ONCE:
                self._fall_silent()
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if reply.silence is Silence.AT_HALF:
                self.wfile.write(reply.body[: len(reply.body) // 2])
                self._fall_silent()
                return
            self.wfile.write(reply.body)

        def do_POST(self) -> None:
            # Nothing is taken here; it is read so that the connection can go on.
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.do_GET()

        def log_message(self, format: str, *args: Any) -> None:
            """Keep standard error for what matters."""

        def _fall_silent(self) -> None:
            closing.wait()
            self.close_connection = True

    return Handler


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request that reached the CAS or the storage, and the status that was decided for it."""

    method: str
    url: str
    range: str
    has_token: bool
    status: int


class XetServers:
    """The CAS and the storage on two ports of this machine, and the requests that they saw."""

    def __init__(self, files: Mapping[str, bytes | Path], **options: Any) -> None:
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._seen: list[Seen] = []
        kind = handler(self._answer, self.closing)
        self._servers = [_Server(("127.0.0.1", 0), kind) for _ in range(2)]
        cas, store = (server.server_address[1] for server in self._servers)
        self.storage = XetStorage(
            files, f"http://127.0.0.1:{cas}", f"http://localhost:{store}", **options
        )

    @property
    def seen(self) -> tuple[Seen, ...]:
        """Every request so far."""
        with self._lock:
            return tuple(self._seen)

    @contextmanager
    def serving(self) -> Iterator["XetServers"]:
        """Serve until the block ends."""
        threads = [
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            for server in self._servers
        ]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            for server, thread in zip(self._servers, threads, strict=True):
                server.shutdown()
                thread.join()
                server.server_close()

    def _answer(self, method: str, path: str, headers: Mapping[str, str]) -> XetReply:
        reply = self.storage.reply(method, path, headers)
        said = {name.lower(): value for name, value in headers.items()}
        seen = Seen(
            method=method,
            url=f"http://{said.get('host', '')}{path}",
            range=said.get("range", ""),
            has_token="authorization" in said,
            status=reply.status,
        )
        with self._lock:
            self._seen.append(seen)
        return reply


class _Server(ThreadingHTTPServer):
    """A listening socket; its connections end when the clients or the process do."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away; they know."""


def _json(value: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> XetReply:
    said = {"Content-Type": "application/json", **(headers or {})}
    return XetReply(status=HTTPStatus.OK, headers=said, body=json.dumps(value).encode())


def _refused(status: HTTPStatus) -> XetReply:
    headers = {"Content-Type": "text/plain"}
    return XetReply(status=status, headers=headers, body=status.phrase.encode())


def _range(headers: Mapping[str, str]) -> tuple[int, int] | None:
    match = _RANGE.match(headers.get("range", ""))
    return (int(match[1]), int(match[2]) + 1 if match[2] else _WHOLE[1]) if match else None


def _hosts(url: str) -> set[str]:
    """Give what a client may write into Host: a scheme's own port it leaves out."""
    parts = urlsplit(url)
    own = parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme))
    return {parts.netloc} | ({parts.hostname or ""} if own else set())


def _digest(source: bytes | Path) -> str:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _named(kind: str, text: str) -> str:
    return hashlib.sha256(f"{kind} {text}".encode()).hexdigest()


def _read(source: bytes | Path, start: int, end: int) -> bytes:
    if isinstance(source, bytes):
        return source[start:end]
    with source.open("rb") as file:
        file.seek(start)
        return file.read(end - start)
