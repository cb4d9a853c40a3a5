"""The download through the hub's own client, and what lies on disk afterwards."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from m43.errors import FailureClass, GateStoppedError
from m43.harness import auth, download
from m43.profile import Profile
from m43.records import AuthRecord
from m43.rehearsal.faults import Fault, FaultKind
from tests.unit.harness.conftest import FILES, REVISION, TOKEN, WEIGHT_BYTES, StartWorld


@pytest.fixture
def granted(start_world: StartWorld, profile: Profile) -> AuthRecord:
    """What the auth gate found before anything went wrong."""
    world, _ = start_world()
    return auth.measure(world, profile)


def test_the_pinned_files_arrive_and_are_digested_from_disk(
    start_world: StartWorld, profile: Profile, granted: AuthRecord
) -> None:
    """What lies there is, file by file, what the hub described."""
    world, _ = start_world()
    record = download.fetch(world, profile, granted)
    assert record.files == granted.files
    assert record.revision == REVISION
    assert record.bytes_moved == sum(file.size_bytes for file in granted.files)
    assert (record.folder / "model.safetensors").read_bytes() == WEIGHT_BYTES


def test_a_second_download_moves_nothing(
    start_world: StartWorld, profile: Profile, granted: AuthRecord
) -> None:
    """What the cache has is digested, not fetched."""
    world, _ = start_world()
    download.fetch(world, profile, granted)
    assert download.fetch(world, profile, granted).bytes_moved == 0


def test_training_sees_the_pinned_files_and_nothing_else(
    start_world: StartWorld, profile: Profile, granted: AuthRecord
) -> None:
    """What other tools put into the cache's snapshot does not reach the run."""
    world, _ = start_world()
    first = download.fetch(world, profile, granted)
    snapshot = first.folder.parents[1] / "snapshots" / REVISION
    (snapshot / "chat_template.jinja").write_text("{{ surprise }}")
    second = download.fetch(world, profile, granted)
    assert sorted(path.name for path in second.folder.iterdir()) == sorted(FILES)
    assert all("blobs" in path.readlink().parts for path in second.folder.iterdir())


@pytest.mark.parametrize(
    ("fault", "failure_class"),
    [
        (FaultKind.WRONG_BYTES, FailureClass.DOWNLOAD_CORRUPT),
        (FaultKind.RATE_LIMITED, FailureClass.RATE_LIMITED),
        (FaultKind.SERVER_ERROR, FailureClass.HUB_ERROR),
        (FaultKind.TOKEN_REFUSED, FailureClass.TOKEN_REFUSED),
        (FaultKind.LICENCE_NOT_ACCEPTED, FailureClass.LICENCE_NOT_ACCEPTED),
        (FaultKind.UNKNOWN_REVISION, FailureClass.WRONG_REVISION),
    ],
)
def test_each_failure_has_its_class_and_is_not_retried(
    start_world: StartWorld,
    profile: Profile,
    granted: AuthRecord,
    fault: FaultKind,
    failure_class: FailureClass,
) -> None:
    """One named error, without the token, after a handful of requests and no waiting."""
    world, hub = start_world(Fault(kind=fault))
    with pytest.raises(GateStoppedError) as raised:
        download.fetch(world, profile, granted)
    assert raised.value.failure_class == failure_class
    assert TOKEN not in str(raised.value)
    # Asked for, described and fetched: each file once.
    assert len(hub.requests) <= 3 * len(FILES)


def test_a_hub_that_went_away_is_unreachable(
    start_world: StartWorld, profile: Profile, granted: AuthRecord
) -> None:
    """Between auth and download a network can end."""
    world, _ = start_world()
    with pytest.raises(GateStoppedError) as raised:
        download.fetch(replace(world, endpoint="http://127.0.0.1:9"), profile, granted)
    assert raised.value.failure_class == FailureClass.HUB_UNREACHABLE


def test_a_changed_file_in_the_cache_is_noticed(
    start_world: StartWorld, profile: Profile, granted: AuthRecord
) -> None:
    """The cache's word that it has the file is not taken for the file."""
    world, _ = start_world()
    record = download.fetch(world, profile, granted)
    (record.folder / "model.safetensors").resolve().write_bytes(WEIGHT_BYTES[:-1] + b"?")
    with pytest.raises(GateStoppedError, match=r"model\.safetensors") as raised:
        download.fetch(world, profile, granted)
    assert raised.value.failure_class == FailureClass.DOWNLOAD_CORRUPT


def test_a_full_disk_has_its_own_class(
    start_world: StartWorld,
    profile: Profile,
    granted: AuthRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No space left is not a trouble of the hub."""
    world, _ = start_world()

    def full(*arguments: object, **options: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", full)
    with pytest.raises(GateStoppedError) as raised:
        download.fetch(world, profile, granted)
    assert raised.value.failure_class == FailureClass.DISK_FULL


def test_a_download_past_its_deadline_is_stopped(
    start_world: StartWorld, profile: Profile, granted: AuthRecord
) -> None:
    """The deadline of the profile ends it in the middle of a file."""
    world, _ = start_world()
    late = replace(profile, deadlines=replace(profile.deadlines, download_s=0.0))
    with pytest.raises(GateStoppedError) as raised:
        download.fetch(world, late, granted)
    assert raised.value.failure_class == FailureClass.TIMED_OUT


def test_progress_is_told_in_bytes(
    start_world: StartWorld, profile: Profile, granted: AuthRecord
) -> None:
    """A person can see how far a file of gigabytes is."""
    world, _ = start_world()
    told: list[tuple[str, int, int]] = []
    download.fetch(world, profile, granted, lambda *words: told.append(words))
    size = len(WEIGHT_BYTES)
    assert told[-1] == ("model.safetensors", size, size)


def test_a_cut_connection_is_taken_up_again_and_digested(
    start_world: StartWorld, profile: Profile, granted: AuthRecord, tmp_path: Path
) -> None:
    """A file that arrives in two pieces counts by its bytes, like any other."""
    fault = Fault(kind=FaultKind.CUT, where="model.safetensors", times=1, after_bytes=1000)
    world, _ = start_world(fault)
    record = download.fetch(world, profile, granted)
    assert record.files == granted.files
    assert tmp_path in record.folder.parents
