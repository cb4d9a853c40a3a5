"""A stand-in for the Xet storage, from which the real hf_xet downloads.

What is answered is decided by `XetStorage` without a socket, so that any server can serve it under
any name; `handler` sends it, and `XetServers` serves it on this machine by plain HTTP.

Source: the Xet protocol, 1.1.0 (huggingface.co/docs/xet: CAS API, xorb format, authentication),
and huggingface_hub 2.4, utils/_xet.py.
"""

import hashlib
import hmac
import io
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

# Source: the protocol: chunks of 64 KiB on average and 128 KiB at most, xorbs of 64 MiB at most.
CHUNK_BYTES = 64 << 10
CHUNKS_PER_XORB = 1000

_CHUNK_HEADER_BYTES = 8
_NOT_COMPRESSED = 0
_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")
_WITHOUT_END = 1 << 62
_RECONSTRUCTION = re.compile(r"/v1/reconstructions/([0-9a-f]{64})$")
_XORB = re.compile(r"/xorbs/default/([0-9a-f]{64})$")


class Trouble(Enum):
    """What goes wrong with every file."""

    NONE = "none"
    STALLS_AFTER_HALF = "half of a xorb comes, and then nothing"
    NEVER_ANSWERS = "what a file consists of is never told"
    REFUSES = "what a file consists of is refused with status 503"
    WRONG_BYTES = "the last byte of each xorb is not the file's"


class Silence(Enum):
    """Where a server falls silent, with the connection open."""

    NONE = "nowhere"
    AT_ONCE = "before the status"
    AT_HALF = "after half of the body"


@dataclass(frozen=True, kw_only=True)
class XetReply:
    """A status, headers and a body, and how much of it is sent."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    silence: Silence = Silence.NONE


@dataclass(frozen=True, kw_only=True)
class _Xorb:
    """Some chunks of a file, from `start` to before `end`, each stored as it is."""

    source: bytes | Path = field(repr=False)
    start: int
    end: int

    @property
    def chunk_sizes(self) -> list[int]:
        starts = range(self.start, self.end, CHUNK_BYTES)
        return [min(CHUNK_BYTES, self.end - start) for start in starts]

    def offset(self, chunk: int) -> int:
        """Tell where in the xorb a chunk begins, with its header, or the last one ends."""
        return sum(_CHUNK_HEADER_BYTES + size for size in self.chunk_sizes[:chunk])

    def serialized(self) -> bytes:
        """Write the chunks, each behind its header.

        Source: the protocol, xorb format: version, stored length, compression scheme, length;
        the lengths in three bytes, little-endian.
        """
        parts: list[bytes] = []
        with _opened(self.source) as file:
            file.seek(self.start)
            for size in self.chunk_sizes:
                length = size.to_bytes(3, "little")
                parts += (b"\0", length, bytes([_NOT_COMPRESSED]), length, file.read(size))
        return b"".join(parts)


class XetStorage:
    """The Xet storage of some files: what they consist of (the CAS), and the xorbs themselves.

    hf_xet 1.8.0 verifies no hash of what it downloads: of a xorb with one byte turned it wrote the
    file with that byte and said nothing (WRONG_BYTES), and it took any 64 hexadecimal digits as
    the name of a file or a xorb. So the names here are SHA-256, and not the protocol's Merkle
    hashes, which need BLAKE3.

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
        self._files: dict[str, dict[str, _Xorb]] = {}
        self._xorbs: dict[str, _Xorb] = {}
        for name, source in files.items():
            with _opened(source) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                size, step = file.seek(0, io.SEEK_END), chunks_per_xorb * CHUNK_BYTES
            self._hashes[name] = file_hash = _hash("file", digest)
            self._files[file_hash] = {
                _hash("xorb", f"{digest} {start}"): _Xorb(
                    source=source, start=start, end=min(start + step, size)
                )
                for start in range(0, size, step)
            }
            self._xorbs |= self._files[file_hash]

    def hash_of(self, name: str) -> str:
        """Give what the hub says in X-Xet-Hash."""
        return self._hashes[name]

    def token_reply(self, expires_at_s: int) -> XetReply:
        """Answer for the hub at /api/models/REPO/xet-read-token/REVISION, in both ways it has."""
        said = {"casUrl": self.cas_url, "exp": expires_at_s, "accessToken": self.access_token}
        headers = {
            "X-Xet-Cas-Url": self.cas_url,
            "X-Xet-Token-Expiration": str(expires_at_s),
            "X-Xet-Access-Token": self.access_token,
        }
        return _json(said, headers)

    def reply(self, method: str, path: str, headers: Mapping[str, str]) -> XetReply:
        """Answer a request to the CAS or to the storage, whichever it names as its host."""
        headers = {name.lower(): value for name, value in headers.items()}
        parts, host = urlsplit(path), headers.get("host", "")
        if method == "GET" and host == urlsplit(self.cas_url).netloc:
            return self._cas(parts.path, headers)
        if method == "GET" and host == urlsplit(self.storage_url).netloc:
            signed = parse_qs(parts.query).get("signature", [""])[0]
            return self._stored(parts.path, signed, headers)
        return _refused(HTTPStatus.NOT_FOUND)

    def _cas(self, path: str, headers: Mapping[str, str]) -> XetReply:
        if self._trouble is Trouble.NEVER_ANSWERS:
            return XetReply(status=HTTPStatus.OK, silence=Silence.AT_ONCE)
        if self._trouble is Trouble.REFUSES:
            return _refused(HTTPStatus.SERVICE_UNAVAILABLE)
        if headers.get("authorization") != f"Bearer {self.access_token}":
            return _refused(HTTPStatus.UNAUTHORIZED)
        # hf_xet asks for /v2 first; told that there is none, it asks for /v1, which is specified.
        match = _RECONSTRUCTION.match(path)
        if match is None or match[1] not in self._files:
            return _refused(HTTPStatus.NOT_FOUND)
        xorbs = self._files[match[1]]
        start, end = _range(headers)
        if start >= min(end, max((xorb.end for xorb in xorbs.values()), default=0)):
            return _refused(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        return _json(self._reconstruction(xorbs, start, end))

    def _reconstruction(self, xorbs: Mapping[str, _Xorb], start: int, end: int) -> dict[str, Any]:
        """Say which chunks hold the file from `start` to before `end`, and where they lie."""
        offset, terms, fetch_info = 0, [], {}
        for name, xorb in xorbs.items():
            begin, stop = max(start, xorb.start), min(end, xorb.end)
            if begin >= stop:
                continue
            first, within = divmod(begin - xorb.start, CHUNK_BYTES)
            after = -(-(stop - xorb.start) // CHUNK_BYTES)
            offset = offset if terms else within
            chunks = {"start": first, "end": after}
            length = sum(xorb.chunk_sizes[first:after])
            terms.append({"hash": name, "unpacked_length": length, "range": chunks})
            # The last byte belongs to it, as in a Range header.
            url_range = {"start": xorb.offset(first), "end": xorb.offset(after) - 1}
            url = f"{self.storage_url}/xorbs/default/{name}?signature={self._signature(name)}"
            fetch_info[name] = [{"range": chunks, "url": url, "url_range": url_range}]
        return {"offset_into_first_range": offset, "terms": terms, "fetch_info": fetch_info}

    def _stored(self, path: str, signed: str, headers: Mapping[str, str]) -> XetReply:
        match = _XORB.match(path)
        if match is None or match[1] not in self._xorbs or signed != self._signature(match[1]):
            return _refused(HTTPStatus.FORBIDDEN)
        if "authorization" in headers:
            # The address is what allows it; a token has no business here.
            return _refused(HTTPStatus.BAD_REQUEST)
        data = self._xorbs[match[1]].serialized()
        if self._trouble is Trouble.WRONG_BYTES:
            data = data[:-1] + bytes([data[-1] ^ 0xFF])
        start, end = _range(headers)
        end = min(end, len(data))
        if start >= end:
            return _refused(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        whole = "range" not in headers
        half = self._trouble is Trouble.STALLS_AFTER_HALF
        return XetReply(
            status=HTTPStatus.OK if whole else HTTPStatus.PARTIAL_CONTENT,
            headers={} if whole else {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"},
            body=data[start:end],
            silence=Silence.AT_HALF if half else Silence.NONE,
        )

    def _signature(self, xorb: str) -> str:
        return hmac.new(self._key, xorb.encode(), "sha256").hexdigest()


Answer = Callable[[str, str, Mapping[str, str]], XetReply]


def handler(answer: Answer, closing: threading.Event) -> type[BaseHTTPRequestHandler]:
    """Make the handler of a server that sends what is answered.

    Args:
        answer: Decides by method, path and headers, as `XetStorage.reply` does.
        closing: Ends the silences, which otherwise last as long as the server.
    """

    class Handler(BaseHTTPRequestHandler):
        """One connection."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            reply = answer(self.command, self.path, dict(self.headers.items()))
            if reply.silence is not Silence.AT_ONCE:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                half = reply.silence is Silence.AT_HALF
                self.wfile.write(reply.body[: len(reply.body) // 2] if half else reply.body)
            if reply.silence is not Silence.NONE:
                closing.wait()
                self.close_connection = True

        def do_POST(self) -> None:
            # Nothing is taken; it is read so that the connection can go on.
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.do_GET()

        def log_message(self, format: str, *args: Any) -> None:
            """Keep standard error for what matters."""

    return Handler


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request that reached the CAS or the storage, and what was answered."""

    method: str
    url: str
    status: int


class XetServers:
    """The CAS and the storage, on two ports of this machine, and the requests that they saw."""

    def __init__(self, files: Mapping[str, bytes | Path], **options: Any) -> None:
        self._closing = threading.Event()
        self._seen: list[Seen] = []
        kind = handler(self._answer, self._closing)
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), kind) for _ in range(2)]
        cas, store = (server.server_address[1] for server in self._servers)
        self.storage = XetStorage(
            files, f"http://localhost:{cas}", f"http://127.0.0.1:{store}", **options
        )

    def seen(self, url: str = "") -> tuple[Seen, ...]:
        """List the requests so far whose address begins like this."""
        return tuple(seen for seen in tuple(self._seen) if seen.url.startswith(url))

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
            self._closing.set()
            for server, thread in zip(self._servers, threads, strict=True):
                server.shutdown()
                thread.join()
                server.server_close()

    def _answer(self, method: str, path: str, headers: Mapping[str, str]) -> XetReply:
        reply = self.storage.reply(method, path, headers)
        host = {name.lower(): value for name, value in headers.items()}.get("host", "")
        self._seen.append(Seen(method=method, url=f"http://{host}{path}", status=reply.status))
        return reply


def _json(value: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> XetReply:
    said = {"Content-Type": "application/json", **(headers or {})}
    return XetReply(status=HTTPStatus.OK, headers=said, body=json.dumps(value).encode())


def _refused(status: HTTPStatus) -> XetReply:
    return XetReply(status=status, body=status.phrase.encode())


def _range(headers: Mapping[str, str]) -> tuple[int, int]:
    """Read which bytes are asked for; all, if it is not said."""
    match = _RANGE.match(headers.get("range", ""))
    if match is None:
        return 0, _WITHOUT_END
    return int(match[1]), int(match[2]) + 1 if match[2] else _WITHOUT_END


def _hash(kind: str, text: str) -> str:
    return hashlib.sha256(f"{kind} {text}".encode()).hexdigest()


def _opened(source: bytes | Path) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
