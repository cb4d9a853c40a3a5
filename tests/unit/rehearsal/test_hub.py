"""The loopback hub, as the real client of the hub sees it."""

import hashlib
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
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


def url_of(hub: LoopbackHub, name: str, revision: str = REVISION) -> str:
    """Build the address of a file as the client does."""
    return hf_hub_url(REPO, name, revision=revision, endpoint=hub.endpoint)


def fetch(hub: LoopbackHub, name: str, header: str = "") -> tuple[int, bytes, str]:
    """Get a file without the client: status, body and Content-Range."""
    request = urllib.request.Request(url_of(hub, name))
    request.add_header("Authorization", f"Bearer {TOKEN}")
    if header:
        request.add_header("Range", header)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read(), answer.headers.get("Content-Range", "")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers.get("Content-Range", "")


def test_whoami_names_an_account(start_hub: StartHub) -> None:
    """The token belongs to somebody, and its role is told."""
    who = client(start_hub()).whoami()
    assert who["name"] == "rehearsal"
    assert who["auth"]["accessToken"]["role"] == "read"


def test_the_ladder_takes_four_requests_and_moves_no_weights(start_hub: StartHub) -> None:
    """Account, access, revision and the first file of weights, all granted."""
    hub = start_hub()
    api = client(hub)
    api.whoami()
    api.auth_check(REPO)
    info = api.model_info(REPO, revision=REVISION, files_metadata=True)
    head = get_hf_file_metadata(url_of(hub, WEIGHTS), token=TOKEN)
    assert [request.method for request in hub.requests] == ["GET", "GET", "GET", "HEAD"]
    assert [request.status for request in hub.requests] == [200, 200, 200, 302]
    assert hub.requests[-1].body_bytes == 0
    assert info.sha == head.commit_hash == REVISION


def test_the_listing_pins_every_file(start_hub: StartHub, repository: ServedRepository) -> None:
    """Each file is told with its size, its blob and, for weights, its SHA-256."""
    info = client(start_hub()).model_info(REPO, revision=REVISION, files_metadata=True)
    assert info.siblings is not None
    told = {
        file.rfilename: (file.size, file.blob_id, file.lfs.sha256 if file.lfs else "")
        for file in info.siblings
    }
    assert told == {
        file.name: (file.size_bytes, file.blob_id, file.sha256) for file in repository.files
    }
    assert info.gated == "manual"


def test_the_listing_is_short_unless_asked(start_hub: StartHub) -> None:
    """Without `files_metadata` the hub tells names only."""
    info = client(start_hub()).model_info(REPO)
    assert info.siblings is not None
    assert [file.size for file in info.siblings] == [None, None, None]


def test_the_head_of_weights_tells_digest_and_size(start_hub: StartHub) -> None:
    """What a download will be held against, before a byte of it moves; no xet is offered."""
    head = get_hf_file_metadata(url_of(start_hub(), WEIGHTS), token=TOKEN)
    assert head.etag == hashlib.sha256(WEIGHT_BYTES).hexdigest()
    assert head.size == len(WEIGHT_BYTES)
    assert head.xet_file_data is None


@pytest.mark.parametrize("name", ["config.json", WEIGHTS, "assets/a picture.txt"])
def test_a_download_is_byte_for_byte_the_file(
    start_hub: StartHub, folder: Path, tmp_path: Path, name: str
) -> None:
    """The real client puts exactly the served bytes into its cache, under the pinned commit."""
    path = hf_hub_download(
        REPO,
        name,
        revision=REVISION,
        endpoint=start_hub().endpoint,
        token=TOKEN,
        cache_dir=tmp_path / "cache",
    )
    assert Path(path).read_bytes() == (folder / name).read_bytes()
    assert REVISION in path


def test_a_cached_file_is_not_moved_again(start_hub: StartHub, tmp_path: Path) -> None:
    """A second download of a pinned file asks the hub nothing."""
    hub = start_hub()
    for _ in range(2):
        hf_hub_download(
            REPO,
            WEIGHTS,
            revision=REVISION,
            endpoint=hub.endpoint,
            token=TOKEN,
            cache_dir=tmp_path / "cache",
        )
    assert [(request.method, request.body_bytes) for request in hub.requests] == [
        ("HEAD", 0),
        ("GET", len(WEIGHT_BYTES)),
    ]


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=1000-", 1000, len(WEIGHT_BYTES)),
        ("bytes=307199-", 307199, 307200),
        ("bytes=307000-999999", 307000, 307200),
    ],
)
def test_a_range_is_that_part_of_the_file(
    start_hub: StartHub, header: str, start: int, end: int
) -> None:
    """A ranged request gets 206, the part, and where it lies in the whole."""
    status, body, told = fetch(start_hub(), WEIGHTS, header)
    assert (status, body) == (206, WEIGHT_BYTES[start:end])
    assert told == f"bytes {start}-{end - 1}/{len(WEIGHT_BYTES)}"


def test_a_range_behind_the_end_is_refused(start_hub: StartHub) -> None:
    """There is nothing to send, and the answer says how long the file is."""
    status, _, told = fetch(start_hub(), WEIGHTS, "bytes=307200-")
    assert (status, told) == (416, "bytes */307200")


@pytest.mark.parametrize("header", ["bytes=5-2", "bytes=-5", "bytes=0-1,3-4", "lines=1-2"])
def test_a_range_of_another_form_never_gives_wrong_bytes(start_hub: StartHub, header: str) -> None:
    """What is not understood gets the whole file, what is impossible gets nothing of it."""
    status, body, _ = fetch(start_hub(), WEIGHTS, header)
    assert (status, body) in ((200, WEIGHT_BYTES), (416, b""))


def test_a_head_tells_of_the_whole_file(start_hub: StartHub) -> None:
    """A range is a matter of GET only; a HEAD with one still tells the file's length."""
    head = get_hf_file_metadata(
        url_of(start_hub(), WEIGHTS), token=TOKEN, headers={"Range": "bytes=0-9"}
    )
    plain = get_hf_file_metadata(
        url_of(start_hub(), "config.json"), token=TOKEN, headers={"Range": "bytes=0-9"}
    )
    assert (head.size, plain.size) == (len(WEIGHT_BYTES), 24)


def test_main_is_the_pinned_commit(start_hub: StartHub) -> None:
    """The hub knows its only commit under the name of the branch, too."""
    hub = start_hub()
    assert client(hub).model_info(REPO, revision="main").sha == REVISION
    assert get_hf_file_metadata(url_of(hub, WEIGHTS, "main"), token=TOKEN).commit_hash == REVISION


def test_another_revision_is_unknown(start_hub: StartHub) -> None:
    """A commit that the repository does not have is not quietly replaced by one that it has."""
    hub, other = start_hub(), "f" * 40
    with pytest.raises(RevisionNotFoundError, match=f"Invalid rev id: {other}"):
        client(hub).model_info(REPO, revision=other)
    with pytest.raises(RevisionNotFoundError):
        get_hf_file_metadata(url_of(hub, WEIGHTS, other), token=TOKEN)
    assert [request.status for request in hub.requests] == [404, 404]


@pytest.mark.parametrize("name", ["m43/to", "m43/toy-gemma", "other/toy"])
def test_another_repository_is_unknown(start_hub: StartHub, name: str) -> None:
    """Also one whose name begins like the served one."""
    with pytest.raises(RepositoryNotFoundError, match="Repository Not Found"):
        client(start_hub()).auth_check(name)


@pytest.mark.parametrize("name", ["absent.json", "../secret.txt", "..%2Fsecret.txt"])
def test_another_file_is_unknown(start_hub: StartHub, folder: Path, name: str) -> None:
    """Nothing outside the folder can be reached, however it is spelt."""
    (folder.parent / "secret.txt").write_text("secret")
    hub = start_hub()
    url = f"{hub.endpoint}/{REPO}/resolve/{REVISION}/{name}"
    with pytest.raises((RemoteEntryNotFoundError, RevisionNotFoundError)):
        get_hf_file_metadata(url, token=TOKEN)
    assert hub.requests[0].status == 404


def test_another_token_is_refused_everywhere(start_hub: StartHub) -> None:
    """The hub gives nothing to a token that is not the one."""
    hub = start_hub()
    api = client(hub, "hf_" + "x" * 34)
    for ask in (
        api.whoami,
        lambda: api.auth_check(REPO),
        lambda: api.model_info(REPO),
        lambda: get_hf_file_metadata(url_of(hub, WEIGHTS), token=api.token),
    ):
        with pytest.raises(HfHubHTTPError) as refused:
            ask()
        assert refused.value.response.status_code == 401
        assert type(refused.value) is HfHubHTTPError


def test_without_a_token_the_gate_is_named(start_hub: StartHub) -> None:
    """Somebody who is not logged in is told that the model is gated, not that it is missing."""
    hub = start_hub()
    for ask in (
        lambda: client(hub, token=False).auth_check(REPO),
        lambda: client(hub, token=False).model_info(REPO),
        lambda: get_hf_file_metadata(url_of(hub, WEIGHTS), token=False),
    ):
        with pytest.raises(GatedRepoError, match="Please log in") as refused:
            ask()
        assert refused.value.response.status_code == 401


def test_closing_ends_kept_connections(repository: ServedRepository) -> None:
    """A client that keeps its connection open gets no answer from a hub that has closed."""
    with LoopbackHub(repository=repository, token=TOKEN) as hub:
        api = client(hub)
        api.whoami()
    with pytest.raises(Exception, match=r"refused|disconnected|closed"):
        api.whoami()
    assert len(hub.requests) == 1


def test_the_token_is_in_no_request_that_is_remembered(start_hub: StartHub) -> None:
    """Tests print what the hub remembers; the token is not among it."""
    hub = start_hub()
    client(hub).whoami()
    assert TOKEN not in repr(hub.requests)


def test_the_storage_takes_a_signed_address_and_nothing_else(start_hub: StartHub) -> None:
    """Weights lie under another name of the host, behind an address that only a token gets."""
    hub = start_hub()
    head = get_hf_file_metadata(url_of(hub, WEIGHTS), token=TOKEN)
    assert head.location.startswith("http://localhost:")
    with urllib.request.urlopen(head.location) as answer:
        assert answer.read() == WEIGHT_BYTES
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(head.location[:-1])
