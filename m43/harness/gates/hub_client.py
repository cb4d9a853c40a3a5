"""The hub's own client, in the child: its requests are seen, its answers bounded.

Left alone, huggingface_hub 2.4 waits for ever in whoami and auth_check, reads an answer of any
size, and repeats what fails.
"""

import contextlib
import ssl
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx2
from huggingface_hub import set_client_factory
from huggingface_hub.utils._http import default_client_factory, hf_request_event_hook

from m43.files import bytes_sha256
from m43.harness.gates.hub_exchange import told
from m43.records import Certificate, HubWay, UnaskedRequest

# What the hub says of a model with some thousand files is below 2 MiB.
ANSWER_BYTES = 4 << 20
_LONGEST_ADDRESS = 200


class AnswerTooLargeError(Exception):
    """An answer that goes on and on: no question has one."""


class CompressedAnswerError(Exception):
    """A compressed answer, which nobody asked for: a megabyte of it may be gigabytes."""


class _Bounded(httpx2.SyncByteStream):
    """An answer's bytes, up to a bound."""

    def __init__(self, stream: Any, most_bytes: int, on_bytes: Callable[[int], None]) -> None:
        self._stream = stream
        self._most_bytes = most_bytes
        self._on_bytes = on_bytes

    def __iter__(self) -> Iterator[bytes]:
        seen = 0
        for piece in self._stream:
            seen += len(piece)
            if seen > self._most_bytes:
                raise AnswerTooLargeError(
                    f"an answer of more than {self._most_bytes:,} bytes; the rest was not read"
                )
            self._on_bytes(len(piece))
            yield piece

    def close(self) -> None:
        self._stream.close()


@contextlib.contextmanager
def hub_client(
    *,
    timeout_s: float,
    on_request: Callable[[Any], None],
    on_response: Callable[[Any], None],
    on_error: Callable[[Exception], None] = lambda error: None,
    on_bytes: Callable[[Any, int], None] = lambda response, count: None,
    most_bytes: Callable[[Any], int] = lambda response: ANSWER_BYTES,
) -> Iterator[None]:
    """Have huggingface_hub's requests seen, timed out and bounded, until the block ends.

    Args:
        timeout_s: Of connecting and of each read; the whole has its deadline with the parent.
        on_request: Sees each request before it is sent; what it raises keeps it from being sent.
        on_response: Sees each answer's status and headers before the library does.
        on_error: Sees what a request failed with, which the library may keep to itself.
        on_bytes: Is told how many bytes of an answer's body have come.
        most_bytes: How long the body of an answer may be.
    """

    def bound(response: Any) -> None:
        # Closed by the client if this raises.
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity") and response.request.method != "HEAD":
            raise CompressedAnswerError(f"an answer in {encoding[:40]!r}, which was not asked for")
        response.stream = _Bounded(
            response.stream, most_bytes(response), lambda count: on_bytes(response, count)
        )

    class Watched(httpx2.Client):
        """huggingface_hub's client, and what its requests failed with."""

        def send(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return super().send(*args, **kwargs)
            except Exception as error:
                on_error(error)
                raise

    def factory() -> Any:
        # As huggingface_hub makes its own, but for what is watched and bounded.
        return Watched(
            event_hooks={
                "request": [hf_request_event_hook, on_request],
                "response": [bound, on_response],
            },
            follow_redirects=True,
            timeout=timeout_s,
            headers={"Accept-Encoding": "identity"},
        )

    set_client_factory(factory)
    try:
        yield
    finally:
        set_client_factory(default_client_factory)


def way_of(response: Any, secrets: Sequence[str]) -> HubWay:
    """Describe the connection that an answer came by.

    Source: httpx2 2.16, its extension "network_stream"; CPython, _ssl.c: get_verified_chain, which
    the ssl module itself shows from 3.13 on.
    """
    stream = response.extensions.get("network_stream")
    if stream is None:
        return HubWay()
    host, port = (*(stream.get_extra_info("server_addr") or ("", 0)), 0, 0)[:2]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    session = stream.get_extra_info("ssl_object")
    session = getattr(session, "_sslobj", session)
    chain: Sequence[Any] = getattr(session, "get_verified_chain", tuple)() or ()
    return HubWay(
        address=told(address, _LONGEST_ADDRESS, secrets) if host else "",
        certificates=tuple(_certificate(each, secrets) for each in chain),
    )


def _certificate(each: Any, secrets: Sequence[str]) -> Certificate:
    told_of = each.get_info()

    def name(of: str) -> str:
        known = {kind: text for part in told_of.get(of, ()) for kind, text in part}
        words = known.get("commonName") or known.get("organizationName") or "no name"
        return told(words, _LONGEST_ADDRESS, secrets)

    der = ssl.PEM_cert_to_DER_cert(each.public_bytes())
    return Certificate(subject=name("subject"), issuer=name("issuer"), sha256=bytes_sha256(der))


class Others:
    """The requests that m43 did not make: the client sent them by itself."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets
        # With the request itself, so that its identity is not given to another.
        self._seen: dict[int, tuple[Any, UnaskedRequest]] = {}

    @property
    def requests(self) -> tuple[UnaskedRequest, ...]:
        """Each of them, with the status of its answer."""
        return tuple(seen for _, seen in self._seen.values())

    def sent(self, request: Any) -> None:
        """Note a request that is on its way."""
        self._note(request, 0)

    def answered(self, response: Any) -> None:
        """Note what came of it."""
        self._note(response.request, int(response.status_code))

    def _note(self, request: Any, status: int) -> None:
        url = request.url
        # Neither user nor query: they may hold what is nobody's business.
        place = f"{url.scheme}://{url.host}{f':{url.port}' if url.port else ''}{url.path}"
        address = told(place, _LONGEST_ADDRESS, self._secrets)
        other = UnaskedRequest(method=str(request.method), address=address, status=status)
        self._seen[id(request)] = (request, other)
