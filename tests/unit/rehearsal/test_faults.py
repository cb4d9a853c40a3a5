"""Faults of the hub: each reaches the real client as the exception that the real hub causes."""

import time
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from m43.rehearsal.hub import LoopbackHub
from m43.rehearsal.reply import ServedRepository
from tests.unit.rehearsal.conftest import (
    REPO,
    REVISION,
    TOKEN,
    WEIGHT_BYTES,
    WEIGHTS,
    StartHub,
    client,
)
from tools.faulty_hub import Fault, FaultKind, FaultyHub

# Rung by rung: the exception of whoami, auth_check, model_info and HEAD, and its status.
Rung = tuple[type[Exception], int] | None
LADDERS: dict[FaultKind, tuple[Rung, Rung, Rung, Rung]] = {
    FaultKind.NONE: (None, None, None, None),
    FaultKind.TOKEN_REFUSED: ((HfHubHTTPError, 401),) * 4,
    FaultKind.LICENCE_NOT_ACCEPTED: (None, (GatedRepoError, 403), None, (GatedRepoError, 403)),
    FaultKind.TOKEN_WITHOUT_GATED_ACCESS: (
        None,
        (HfHubHTTPError, 403),
        None,
        (HfHubHTTPError, 403),
    ),
    FaultKind.UNKNOWN_REPOSITORY: (None, *((RepositoryNotFoundError, 404),) * 3),
    FaultKind.UNKNOWN_REVISION: (None, None, *((RevisionNotFoundError, 404),) * 2),
    FaultKind.RATE_LIMITED: ((HfHubHTTPError, 429),) * 4,
    FaultKind.SERVER_ERROR: ((HfHubHTTPError, 500),) * 4,
    FaultKind.SLOW: (None, None, None, None),
    FaultKind.CUT: (None, None, None, None),
    FaultKind.WRONG_BYTES: (None, None, None, None),
    FaultKind.MISSING_FILE: (None, None, None, (RemoteEntryNotFoundError, 404)),
}


def climb(hub: LoopbackHub) -> tuple[Rung, ...]:
    """Ask the four questions of the auth gate and note what each came to."""
    api = client(hub)
    url = hf_hub_url(REPO, WEIGHTS, revision=REVISION, endpoint=hub.endpoint)
    rungs: list[Rung] = []
    for ask in (
        api.whoami,
        lambda: api.auth_check(REPO),
        lambda: api.model_info(REPO, revision=REVISION, files_metadata=True),
        lambda: get_hf_file_metadata(url, token=TOKEN),
    ):
        try:
            ask()
        except HfHubHTTPError as error:
            rungs.append((type(error), error.response.status_code))
        else:
            rungs.append(None)
    return tuple(rungs)


def download(hub: LoopbackHub, cache: Path, name: str = WEIGHTS) -> bytes:
    """Download a file with the real client."""
    path = hf_hub_download(
        REPO, name, revision=REVISION, endpoint=hub.endpoint, token=TOKEN, cache_dir=cache
    )
    return Path(path).read_bytes()


@pytest.mark.parametrize("kind", list(FaultKind))
def test_a_fault_reaches_the_rungs_it_should(start_hub: StartHub, kind: FaultKind) -> None:
    """The ladder fails at the rungs, with the exceptions and the statuses, of the real hub."""
    hub = start_hub(Fault(kind=kind, where=WEIGHTS if kind is FaultKind.MISSING_FILE else ""))
    rungs = climb(hub)
    assert rungs == LADDERS[kind]
    granted = (200, 200, 200, 302)
    assert [request.status for request in hub.requests] == [
        rung[1] if rung else status for rung, status in zip(rungs, granted, strict=True)
    ]


def test_the_two_gates_give_two_messages(start_hub: StartHub) -> None:
    """Licence and scope of the token both refuse with 403; the words tell them apart."""
    with pytest.raises(GatedRepoError, match="not in the authorized list"):
        client(start_hub(Fault(kind=FaultKind.LICENCE_NOT_ACCEPTED))).auth_check(REPO)
    with pytest.raises(HfHubHTTPError, match="403 Forbidden: Please enable access to public gated"):
        client(start_hub(Fault(kind=FaultKind.TOKEN_WITHOUT_GATED_ACCESS))).auth_check(REPO)


def test_a_fine_grained_token_says_so(start_hub: StartHub) -> None:
    """The account page tells the kind of the token that lacks a permission."""
    who = client(start_hub(Fault(kind=FaultKind.TOKEN_WITHOUT_GATED_ACCESS))).whoami()
    assert who["auth"]["accessToken"]["role"] == "fineGrained"


def test_a_missing_file_is_not_listed(start_hub: StartHub) -> None:
    """The listing and the files agree."""
    hub = start_hub(Fault(kind=FaultKind.MISSING_FILE, where="config.json"))
    info = client(hub).model_info(REPO, files_metadata=True)
    assert info.siblings is not None
    assert "config.json" not in [file.rfilename for file in info.siblings]


def test_a_missing_file_needs_a_name() -> None:
    """A fault that hits nothing would let its test pass by doing nothing."""
    with pytest.raises(ValueError, match="found no name"):
        Fault(kind=FaultKind.MISSING_FILE)


def test_a_cut_download_resumes_where_it_was_cut(
    start_hub: StartHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One cut costs one more request, for the rest and not for the whole."""
    # The client keeps whole pieces only, and its own piece of 10 MiB is larger than our file.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50_000)
    hub = start_hub(Fault(kind=FaultKind.CUT, times=1, after_bytes=100_000))
    assert download(hub, tmp_path) == WEIGHT_BYTES
    moved = [request.body_bytes for request in hub.requests if request.method == "GET"]
    assert moved == [100_000, len(WEIGHT_BYTES) - 100_000]
    assert [request.status for request in hub.requests] == [302, 200, 206]


def test_a_download_cut_in_its_first_piece_begins_again(
    start_hub: StartHub, tmp_path: Path
) -> None:
    """What a small file loses to a cut is the whole of it; the client asks for it once more."""
    hub = start_hub(Fault(kind=FaultKind.CUT, times=1, after_bytes=100_000))
    began = time.monotonic()
    assert download(hub, tmp_path) == WEIGHT_BYTES
    # Cut, not stalled: the client notices at once and does not wait for its timeout of 10 s.
    assert time.monotonic() - began < 8
    moved = [request.body_bytes for request in hub.requests if request.method == "GET"]
    assert moved == [100_000, len(WEIGHT_BYTES)]


def test_other_bytes_arrive_unnoticed_by_the_client(start_hub: StartHub, tmp_path: Path) -> None:
    """The client checks sizes only; that a digest is checked must be m43's own doing."""
    hub = start_hub(Fault(kind=FaultKind.WRONG_BYTES, where=WEIGHTS))
    arrived = download(hub, tmp_path)
    assert len(arrived) == len(WEIGHT_BYTES)
    assert sum(one != two for one, two in zip(arrived, WEIGHT_BYTES, strict=True)) == 1
    assert download(hub, tmp_path, "config.json") == b'{"model_type": "gemma"}\n'


def test_a_missing_file_cannot_be_downloaded(start_hub: StartHub, tmp_path: Path) -> None:
    """The client names the entry that is not there."""
    with pytest.raises(RemoteEntryNotFoundError, match="Entry Not Found"):
        download(start_hub(Fault(kind=FaultKind.MISSING_FILE, where=WEIGHTS)), tmp_path)


def test_a_plain_403_hides_behind_a_missing_cache_entry(
    start_hub: StartHub, tmp_path: Path
) -> None:
    """For a download the client wraps it: the status is in the cause, not in the exception."""
    hub = start_hub(Fault(kind=FaultKind.TOKEN_WITHOUT_GATED_ACCESS))
    with pytest.raises(LocalEntryNotFoundError) as wrapped:
        download(hub, tmp_path)
    assert isinstance(wrapped.value.__cause__, HfHubHTTPError)
    assert wrapped.value.__cause__.response.status_code == 403


def test_a_slow_answer_runs_into_the_clients_timeout(repository: ServedRepository) -> None:
    """The client gives up by itself, and the hub closes without waiting for the rest."""
    fault = Fault(kind=FaultKind.SLOW, delay_s=60.0)
    began = time.monotonic()
    with FaultyHub(repository=repository, token=TOKEN, fault=fault) as hub:
        url = hf_hub_url(REPO, WEIGHTS, revision=REVISION, endpoint=hub.endpoint)
        with pytest.raises(httpx2.TimeoutException):
            get_hf_file_metadata(url, token=TOKEN, timeout=0.2)
    assert time.monotonic() - began < 10


def test_a_fault_can_pass(start_hub: StartHub) -> None:
    """A hub that fails twice answers the third time."""
    api = client(start_hub(Fault(kind=FaultKind.SERVER_ERROR, times=2)))
    for _ in range(2):
        with pytest.raises(HfHubHTTPError):
            api.whoami()
    assert api.whoami()["name"] == "rehearsal"


def test_a_fault_stays_where_it_was_put(start_hub: StartHub) -> None:
    """A limit on downloads leaves the ladder's other rungs alone."""
    rungs = climb(start_hub(Fault(kind=FaultKind.RATE_LIMITED, where="/resolve/")))
    assert rungs == (None, None, None, (HfHubHTTPError, 429))


def test_an_unreachable_hub_is_a_connection_error(start_hub: StartHub) -> None:
    """Nothing listens any more: the client says so and not that access was refused."""
    hub = start_hub()
    endpoint = hub.endpoint
    hub.__exit__()
    url = hf_hub_url(REPO, WEIGHTS, revision=REVISION, endpoint=endpoint)
    with pytest.raises(httpx2.ConnectError):
        get_hf_file_metadata(url, token=TOKEN)
