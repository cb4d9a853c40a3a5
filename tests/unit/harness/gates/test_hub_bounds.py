"""A hub that answers without end, too much, or what was not asked for, cannot hold a gate."""

import gzip
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from m43.errors import FailureClass
from m43.evidence.contract.check import failing
from m43.evidence.contract.checks import auth_checks
from m43.harness.gates import auth
from m43.harness.gates.hub_client import ANSWER_BYTES
from m43.harness.process.environment import hub_environment
from m43.harness.run.hub_access import HubAccess
from m43.records.hub_record import UnaskedRequest
from m43.records.profile import Profile
from m43.rehearsal.hub import LoopbackHub
from m43.rehearsal.reply import Reply, Request
from tests.unit.harness.conftest import TOKEN, StartWorld
from tests.unit.harness.hub_here import asked_here
from tests.unit.harness.rude_hub import served

MIB = 1 << 20
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def trickle(peer: socket.socket) -> None:
    """Send a byte a second, for ever."""
    peer.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
    while True:
        peer.sendall(b" ")
        time.sleep(1.0)


def trickle_head(peer: socket.socket) -> None:
    """Never come to the end of the headers."""
    peer.sendall(HEAD)
    while True:
        peer.sendall(b"X-More: 1\r\n")
        time.sleep(0.5)


def flood(peer: socket.socket) -> None:
    """Send 300 MB of spaces."""
    peer.sendall(HEAD + b"Content-Length: 300000000\r\n\r\n")
    for _ in range(300):
        peer.sendall(b" " * 1_000_000)


@cache
def packed() -> bytes:
    """Give 64 KiB that are 64 MiB."""
    return gzip.compress(b" " * (64 * MIB))


def bomb(peer: socket.socket) -> None:
    """Send a little that would be a lot."""
    body = packed()
    peer.sendall(HEAD + b"Content-Encoding: gzip\r\n")
    peer.sendall(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)


def portal(peer: socket.socket) -> None:
    """Answer as a network for guests does."""
    body = b"<!doctype html><title>Welcome! Please sign in</title>"
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n")
    peer.sendall(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)


def cut(peer: socket.socket) -> None:
    """Promise more than is sent."""
    peer.sendall(HEAD + b'Content-Length: 1000\r\n\r\n{"name":')


@contextmanager
def rude_server(say: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve whoever comes with one sentence; give the address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer, suppress(OSError):
                peer.recv(65536)
                say(peer)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


@pytest.mark.parametrize(
    ("say", "deadline_s", "failure_class"),
    [
        (trickle, 4.0, FailureClass.TRANSFER_STALLED),
        (trickle_head, 4.0, FailureClass.TRANSFER_STALLED),
        (flood, 60.0, FailureClass.NOT_THE_HUB),
        (bomb, 60.0, FailureClass.NOT_THE_HUB),
        (portal, 60.0, FailureClass.NOT_THE_HUB),
        (cut, 60.0, FailureClass.CONNECTION_LOST),
    ],
)
def test_the_gate_ends_in_time_whatever_is_sent(
    start_world: StartWorld,
    profile: Profile,
    say: Callable[[socket.socket], None],
    deadline_s: float,
    failure_class: FailureClass,
) -> None:
    """The whole of the gate has one deadline, and each answer a size and a form."""
    hub_access, _ = start_world()
    quick = replace(profile, deadlines=replace(profile.deadlines, auth_s=deadline_s))
    begun = time.monotonic()
    with rude_server(say) as endpoint:
        record = auth.measure(replace(hub_access, endpoint=endpoint), quick)
    assert time.monotonic() - begun < deadline_s + 10.0
    assert failing(auth_checks(record, profile))[0].failure_class is failure_class
    assert record.responses[-1].sent


def test_a_child_that_is_ended_before_it_asks_has_sent_nothing(
    start_world: StartWorld, profile: Profile
) -> None:
    """The deadline may come while it still imports: that is no silence of the hub."""
    hub_access, _ = start_world()
    soon = replace(profile, deadlines=replace(profile.deadlines, auth_s=0.05))
    (response,) = auth.measure(hub_access, soon).responses
    assert (response.step, response.status, response.sent) == ("whoami", 0, False)


@pytest.mark.parametrize("say", [flood, bomb])
def test_an_answer_is_read_up_to_its_bound_and_no_further(
    start_world: StartWorld, profile: Profile, say: Callable[[socket.socket], None]
) -> None:
    """300 MB of spaces, or 64 MiB out of 64 KiB, take no more memory than a long answer."""
    hub_access, _ = start_world()
    with rude_server(say) as endpoint:
        asked_here(replace(hub_access, endpoint=endpoint), profile)  # imports are not counted
        tracemalloc.start()
        asked_here(replace(hub_access, endpoint=endpoint), profile)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak_bytes < 4 * ANSWER_BYTES


class CuriousHub(LoopbackHub):
    """A hub that also has the list that the client asks for by itself."""

    status = 200

    def reply(self, request: Request) -> Reply:
        """Give the list to anybody."""
        if request.target == "/api/agent-harnesses":
            body = json.dumps({"standardEnvVars": ["AGENT"], "harnesses": {}}).encode()
            return Reply(
                status=self.status, headers={"Content-Type": "application/json"}, body=body
            )
        return super().reply(request)


@pytest.mark.parametrize("status", [200, 401, 404, 500])
def test_what_the_client_asks_by_itself_is_written_down_apart(
    model_folder: Path,
    profile: Profile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    """It is no step of the gate's, whatever its answer, and breaks no promise."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", False)
    monkeypatch.setattr("huggingface_hub.constants.AGENT_HARNESSES_PATH", str(tmp_path / "list"))
    monkeypatch.setattr("huggingface_hub.utils._detect_agent._registry", None)
    hub = CuriousHub(repository=served(model_folder, profile.contract), token=TOKEN)
    hub.status = status
    with hub:
        # What HF_ENDPOINT sets in the child.
        files = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", files)
        hub_access = HubAccess(
            environment={"HF_TOKEN": TOKEN, "HOME": str(tmp_path)},
            endpoint=hub.endpoint,
            cache_dir=tmp_path / "cache",
        )
        record = asked_here(hub_access, profile)
        address = f"{hub.endpoint}/api/agent-harnesses"
    assert record.unasked == (UnaskedRequest(method="GET", address=address, status=status),)
    assert record.access_statuses == (200, 200, 200)
    assert record.weights_statuses == (302,)
    assert failing(auth_checks(record, profile)) == ()


def test_the_child_asks_nothing_but_the_questions(
    model_folder: Path, profile: Profile, tmp_path: Path
) -> None:
    """Telemetry is off before the client is imported: the hub sees four requests."""
    hub = CuriousHub(repository=served(model_folder, profile.contract), token=TOKEN)
    with hub:
        hub_access = HubAccess(
            environment={"HF_TOKEN": TOKEN, "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            endpoint=hub.endpoint,
            cache_dir=tmp_path / "cache",
        )
        record = auth.measure(hub_access, profile)
        assert len(hub.requests) == 4
    assert record.unasked == ()


FOR_OUTSIDE = {
    "ALL_PROXY": "socks5://127.0.0.1:1",
    "https_proxy": "http://proxy:3128",
    "HF_HUB_OFFLINE": "1",
}


def environment(**changes: Any) -> dict[str, str]:
    """Make the environment of a hub child."""
    values: dict[str, Any] = {
        "endpoint": "https://hub.example",
        "token": TOKEN,
        "transport": "http",
        "outside": True,
        "parent_pid": 7,
    }
    given = {"PATH": "/bin", "PYTHONWARNINGS": "error", "HF_DEBUG": "1", **FOR_OUTSIDE}
    return hub_environment(given, **{**values, **changes})


def test_the_child_has_a_token_a_hub_and_what_leads_there() -> None:
    """Nothing else of the engineer's: neither another token nor what makes the client talk."""
    made = environment()
    assert made["HF_TOKEN"] == TOKEN
    assert made["HF_ENDPOINT"] == "https://hub.example"
    assert made["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert made["HF_HUB_DISABLE_XET"] == "1"
    assert FOR_OUTSIDE.items() <= made.items()
    assert not {"PYTHONWARNINGS", "HF_DEBUG"} & set(made)
    assert environment(transport="xet")["HF_HUB_DISABLE_XET"] == "0"


def test_what_is_set_for_the_outside_does_not_reach_a_hub_on_this_machine() -> None:
    """A proxy would be asked for the inside, and offline mode would forbid a rehearsal."""
    made = environment(outside=False)
    assert not set(FOR_OUTSIDE) & set(made)
    assert made["NO_PROXY"] == "*"


@pytest.mark.parametrize(
    ("endpoint", "here"),
    [
        ("http://127.0.0.1:80", True),
        ("http://127.8.9.1", True),
        ("http://localhost:9", True),
        ("http://[::1]:9", True),
        ("https://huggingface.co", False),
        ("http://192.168.1.7", False),
    ],
)
def test_this_machine_is_told_from_others(endpoint: str, here: bool) -> None:
    """By its address or its name."""
    assert HubAccess(environment={}, endpoint=endpoint, cache_dir=None).hub_is_here is here
