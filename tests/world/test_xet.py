"""The download by the real Xet transport: what it brings, what it says of itself, how it ends."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from m43.errors import FailureClass, GateStoppedError
from m43.harness.gates import auth, download
from m43.harness.process.environment import hub_environment
from m43.harness.process.process import Sight
from m43.harness.process.reaper import marked
from m43.harness.run.hub_access import HubAccess
from m43.records import profile_check
from m43.records.hub_record import AuthRecord, DownloadRecord
from m43.records.profile import Profile, Transport
from m43.records.run_dir import RunDir, read_record
from m43.records.run_records import ProcessRecord
from m43.rehearsal.hub import LoopbackHub
from m43.rehearsal.reply import Reply, Request, ServedRepository
from tests.world.xet import CHUNK_BYTES, Trouble, XetReply, XetServers, XetStorage

REPO = "m43/toy"
REVISION = "0123456789abcdef0123456789abcdef01234567"
pytestmark = pytest.mark.quick

TOKEN = "hf_" + "NoHubHasEverIssuedThisTokenOfTests"
WEIGHTS = "model.safetensors"
FILES = ("config.json", "tokenizer.json", WEIGHTS)
# Four chunks and a half, no two of them alike, so that none can stand in another's place.
WEIGHT_BYTES = b"".join(number.to_bytes(4, "big") for number in range(CHUNK_BYTES * 9 // 8))


class XetHub(LoopbackHub):
    """A hub whose large files lie in a Xet storage as well."""

    def __init__(self, repository: ServedRepository, storage: XetStorage) -> None:
        super().__init__(repository=repository, token=TOKEN)
        self._storage = storage
        # What it says instead of the truth, once it is set.
        self.size_said = 0
        self.token_said = ""

    def reply(self, request: Request) -> Reply:
        """Offer the Xet storage beside the plain one, and give the access token for it."""
        route = f"/api/models/{REPO}/xet-read-token/{REVISION}"
        if request.target == route and request.authorization == f"Bearer {TOKEN}":
            said = self._storage.token_reply(int(time.time()) + 3600)
            token = {"X-Xet-Access-Token": self.token_said} if self.token_said else {}
            return Reply(status=said.status, headers={**said.headers, **token}, body=said.body)
        reply = super().reply(request)
        if not request.target.endswith(f"/resolve/{REVISION}/{WEIGHTS}") or reply.status >= 400:
            return reply
        offer = {
            "X-Xet-Hash": self._storage.hash_of(WEIGHTS),
            "Link": f'<http://{request.host}{route}>; rel="xet-auth"',
        }
        size = {"X-Linked-Size": str(self.size_said)} if self.size_said else {}
        return replace(reply, headers=reply.headers | offer | size)


@dataclass(frozen=True, kw_only=True)
class Outside:
    """A hub, a Xet storage, and m43 between them."""

    hub: XetHub
    xet: XetServers
    world: HubAccess
    profile: Profile
    granted: AuthRecord
    run: RunDir

    def fetch(
        self, see: Callable[[Sight], None] = lambda sight: None, **deadlines: float
    ) -> DownloadRecord:
        """Download as the gate does."""
        hurried = replace(self.profile.deadlines, **deadlines)
        profile = replace(self.profile, deadlines=hurried)
        return download.fetch(self.run, self.world, profile, self.granted, see)

    def refused(
        self, see: Callable[[Sight], None] = lambda sight: None, **deadlines: float
    ) -> GateStoppedError:
        """Download, and expect that it does not succeed."""
        with pytest.raises(GateStoppedError) as raised:
            self.fetch(see, **deadlines)
        return raised.value


Start = Callable[..., Outside]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start an outside that ends with the test."""
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING_FACE_")):
            monkeypatch.delenv(name)
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "gemma"}\n')
    (folder / "tokenizer.json").write_text("{}\n")
    (folder / WEIGHTS).write_bytes(WEIGHT_BYTES)
    served = ServedRepository.from_folder(folder, name=REPO, revision=REVISION)
    loaded = profile_check.load(
        Path(profile_check.__file__).resolve().parents[2] / "acceptance" / "rehearsal.toml"
    )
    contract = replace(loaded.contract, repo=REPO, revision=REVISION)
    with ExitStack() as stack:

        def begin(transport: Transport = "xet", trouble: Trouble = Trouble.NONE) -> Outside:
            servers = XetServers({WEIGHTS: folder / WEIGHTS}, trouble=trouble, chunks_per_xorb=2)
            xet = stack.enter_context(servers.serving())
            hub = stack.enter_context(XetHub(served, xet.storage))
            home = {"HOME": str(tmp_path / "home"), "HF_HOME": str(tmp_path / "hf")}
            environment = {"HF_TOKEN": TOKEN, "PATH": os.environ["PATH"], **home}
            world = HubAccess(
                environment=environment, endpoint=hub.endpoint, cache_dir=tmp_path / "hf" / "hub"
            )
            settings = replace(loaded.hub, files=FILES, transport=transport)
            profile = replace(loaded, contract=contract, hub=settings)
            granted = auth.measure(world, profile)
            run = RunDir.create(tmp_path / "run")
            return Outside(hub=hub, xet=xet, world=world, profile=profile, granted=granted, run=run)

        yield begin


def children() -> list[int]:
    """List the hub children of this process, and what they have started."""
    return list(marked(f"{os.getpid()}-hub"))


def test_the_weights_come_through_xet_and_are_what_was_pinned(start: Start) -> None:
    """The hub only says where they are: no byte of them comes from its own storage."""
    outside = start()
    record = outside.fetch()
    assert (record.folder / WEIGHTS).read_bytes() == WEIGHT_BYTES
    assert record.files == outside.granted.files
    assert record.transport == "xet"
    assert record.bytes_moved == sum(file.size_bytes for file in outside.granted.files)
    storage = outside.xet.storage
    assert len(outside.xet.seen(f"{storage.cas_url}/v1/reconstructions/")) == 1
    assert len(outside.xet.seen(storage.storage_url)) == 3
    assert [seen for seen in outside.hub.requests if "/storage/" in seen.path] == []


def test_xet_tells_nobody_and_keeps_to_the_home_that_it_was_given(
    start: Start, tmp_path: Path
) -> None:
    """No report of the transfer goes to the CAS, and what hf_xet writes lies below HF_HOME."""
    outside = start()
    outside.fetch()
    assert {seen.method for seen in outside.xet.seen()} == {"GET"}
    assert not (tmp_path / "home").exists()
    written = [path.read_bytes() for path in (tmp_path / "hf" / "xet").rglob("*") if path.is_file()]
    assert written
    assert not [data for data in written if TOKEN.encode() in data]


def test_by_http_the_xet_storage_is_not_asked(start: Start) -> None:
    """A hub may offer Xet as it likes: the profile says how the weights come."""
    outside = start(transport="http")
    record = outside.fetch()
    assert (record.folder / WEIGHTS).read_bytes() == WEIGHT_BYTES
    assert record.transport == "http"
    assert outside.xet.seen() == ()
    assert not [seen for seen in outside.hub.requests if "xet-read-token" in seen.path]


def test_bytes_that_xet_brings_wrong_are_noticed_by_m43(start: Start) -> None:
    """hf_xet takes them without a word; m43 digests what lies on disk."""
    error = start(trouble=Trouble.WRONG_BYTES).refused()
    assert error.failure_class == FailureClass.DOWNLOAD_CORRUPT


@pytest.mark.parametrize("trouble", [Trouble.STALLS_AFTER_HALF, Trouble.NEVER_ANSWERS])
@pytest.mark.parametrize(
    ("limit", "deadlines"),
    [("silence", {"silence_s": 4.0}), ("deadline", {"download_s": 6.0})],
)
def test_a_transport_that_stands_still_is_ended_and_leaves_nothing(
    start: Start, trouble: Trouble, limit: str, deadlines: dict[str, float]
) -> None:
    """Left alone, hf_xet waits five minutes for each read, and then asks again."""
    outside = start(trouble=trouble)
    running: set[int] = set()
    begun = time.monotonic()
    error = outside.refused(lambda sight: running.update(children()), **deadlines)
    assert time.monotonic() - begun < 20.0
    assert running
    assert children() == []
    assert error.failure_class == FailureClass.TRANSFER_STALLED
    assert f"{outside.hub.endpoint}, by xet" in str(error)
    record = read_record(outside.run.process("download"), ProcessRecord)
    assert record.ended_by_parent == limit
    assert record.last_phase == f"download {WEIGHTS}"
    storage = outside.xet.storage
    stalls = storage.storage_url if trouble is Trouble.STALLS_AFTER_HALF else storage.cas_url
    assert outside.xet.seen(stalls)


def test_what_is_under_way_is_a_sign_of_life(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the file's beginning is missing nothing is written, and yet it does not stand."""
    outside = start()
    storage, reply = outside.xet.storage, outside.xet.storage.reply
    headers = {"Host": storage.cas_url.removeprefix("http://")}
    headers["Authorization"] = f"Bearer {storage.access_token}"
    told = reply("GET", f"/v1/reconstructions/{storage.hash_of(WEIGHTS)}", headers)
    first, second, third = (term["hash"] for term in json.loads(told.body)["terms"])
    delays_s = {first: 9.0, second: 3.0, third: 6.0}

    def slow(method: str, path: str, headers: Mapping[str, str]) -> XetReply:
        time.sleep(sum(delay for xorb, delay in delays_s.items() if xorb in path))
        return reply(method, path, headers)

    monkeypatch.setattr(storage, "reply", slow)
    record = outside.fetch(silence_s=5.0)
    assert (record.folder / WEIGHTS).read_bytes() == WEIGHT_BYTES
    assert record.duration_s > 9.0


def set_hf_xet(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    """Give hf_xet settings that m43 passes to no child; a test need not wait or be large."""

    def environment(*args: Any, **options: Any) -> dict[str, str]:
        return hub_environment(*args, **options) | settings

    monkeypatch.setattr("m43.harness.gates.hub_process.hub_environment", environment)


def test_a_file_is_told_in_parts_that_begin_within_a_chunk(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As files above 256 MB are."""
    parts = {f"HF_XET_RECONSTRUCTION_{name}_RECONSTRUCTION_FETCH_SIZE" for name in ("MIN", "MAX")}
    set_hf_xet(monkeypatch, **dict.fromkeys(parts, "100kb"))
    outside = start()
    record = outside.fetch()
    assert (record.folder / WEIGHTS).read_bytes() == WEIGHT_BYTES
    assert len(outside.xet.seen(f"{outside.xet.storage.cas_url}/v1/")) > 1


@pytest.mark.parametrize(
    ("url", "headers", "status"),
    [
        ("{cas}/v1/reconstructions/{hash}", {"Authorization": "Bearer {token}"}, 200),
        ("{cas}/v1/reconstructions/{hash}", {}, 401),
        ("{cas}/v1/reconstructions/{hash}", {"Authorization": "Bearer hf_other"}, 401),
        ("{cas}/v1/reconstructions/" + "0" * 64, {"Authorization": "Bearer {token}"}, 404),
        (
            "{cas}/v1/reconstructions/{hash}",
            {"Authorization": "Bearer {token}", "Range": f"bytes={len(WEIGHT_BYTES)}-"},
            416,
        ),
        ("{xorb}", {}, 200),
        ("{xorb}", {"Range": "bytes=8-99"}, 206),
        ("{xorb}", {"Range": "bytes=99999999-"}, 416),
        ("{xorb}", {"Authorization": "Bearer {token}"}, 400),
        ("{xorb}x", {}, 403),
        ("{cas}/xorbs/default/{hash}", {"Authorization": "Bearer {token}"}, 404),
    ],
)
def test_the_storage_is_as_strict_as_the_protocol(
    url: str, headers: dict[str, str], status: int
) -> None:
    """The token is for the CAS, the signature for the storage, and each has its own host."""
    storage = XetStorage({WEIGHTS: WEIGHT_BYTES}, "https://cas", "https://transfer")
    known = {"cas": "https://cas", "hash": storage.hash_of(WEIGHTS), "token": storage.access_token}
    allowed = {"Host": "cas", "Authorization": f"Bearer {storage.access_token}"}
    told = storage.reply("GET", f"/v1/reconstructions/{known['hash']}", allowed)
    known["xorb"] = next(iter(json.loads(told.body)["fetch_info"].values()))[0]["url"]
    parts = urlsplit(url.format(**known))
    said = {name: value.format(**known) for name, value in headers.items()}
    path = parts._replace(scheme="", netloc="").geturl()
    assert storage.reply("GET", path, {"Host": parts.netloc, **said}).status == status


def test_a_storage_that_refuses_is_named_with_what_it_said(start: Start) -> None:
    """hf_xet tells it in a text only; the host in it is the storage's, and not the hub's."""
    outside = start(trouble=Trouble.REFUSES)
    error = outside.refused()
    assert error.failure_class == FailureClass.HUB_ERROR
    assert str(error).startswith("localhost: found RuntimeError")
    assert "503 Service Unavailable" in str(error)
    assert [seen.status for seen in outside.xet.seen()] == [503]


def test_a_storage_that_is_not_there_is_unreachable(start: Start) -> None:
    """Why no answer came, hf_xet does not tell: name, certificate, connection or time."""
    outside = start()
    outside.xet.storage.cas_url = "http://localhost:9"
    error = outside.refused()
    assert error.failure_class == FailureClass.HUB_UNREACHABLE
    assert str(error).startswith("localhost: found RuntimeError")


def test_an_access_token_that_is_refused_is_not_the_hubs_token(start: Start) -> None:
    """The hub took the token and gave another, which the storage does not know."""
    outside = start()
    outside.hub.token_said = "xet_refused"
    error = outside.refused()
    assert error.failure_class == FailureClass.HUB_CLIENT_FAILED
    assert "401 Unauthorized" in str(error)


def test_a_file_that_grew_since_it_was_pinned_is_not_moved(start: Start) -> None:
    """hf_xet would bring it whole: the hub says how long it is before a byte moves."""
    outside = start()
    outside.hub.size_said = len(WEIGHT_BYTES) + 1
    error = outside.refused()
    assert error.failure_class == FailureClass.NOT_THE_HUB
    assert f"more than the {len(WEIGHT_BYTES):,} bytes of the file" in str(error)
    assert outside.xet.seen() == ()
