"""The download through the hub's own client, in its child, and what lies on disk afterwards."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from m43.errors import FailureClass, GateStoppedError
from m43.harness.gates import auth, download
from m43.harness.gates.hub_exchange import Arrival
from m43.harness.process.process import Sight
from m43.harness.run.hub_access import HubAccess
from m43.records.hub_record import AuthRecord
from m43.records.profile import Profile
from m43.records.run_dir import RunDir, read_record
from m43.records.run_records import ProcessRecord
from tests.unit.harness.conftest import FILES, REVISION, TOKEN, WEIGHT_BYTES, StartWorld
from tests.unit.harness.hub_here import fetched_here
from tools.faulty_hub import Fault, FaultKind


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Make a run folder."""
    return RunDir.create(tmp_path / "run")


@pytest.fixture
def granted(start_world: StartWorld, profile: Profile) -> AuthRecord:
    """What the auth gate found before anything went wrong."""
    hub_access, _ = start_world()
    return auth.measure(hub_access, profile)


def test_the_pinned_files_arrive_and_are_digested_from_disk(
    start_world: StartWorld, profile: Profile, granted: AuthRecord, run: RunDir
) -> None:
    """What lies there is, file by file, what the hub described."""
    hub_access, _ = start_world()
    record = download.fetch(run, hub_access, profile, granted)
    assert record.files == granted.files
    assert record.revision == REVISION
    assert record.bytes_moved == sum(file.size_bytes for file in granted.files)
    assert (record.folder / "model.safetensors").read_bytes() == WEIGHT_BYTES


def test_a_second_download_moves_nothing(
    start_world: StartWorld, profile: Profile, granted: AuthRecord, run: RunDir
) -> None:
    """What the cache has is digested, not fetched."""
    hub_access, _ = start_world()
    download.fetch(run, hub_access, profile, granted)
    assert download.fetch(run, hub_access, profile, granted).bytes_moved == 0


def exchange(path: Path) -> None:
    """Put other bytes into a file, then the first ones, and their time."""
    data, status = path.read_bytes(), path.stat()
    path.write_bytes(bytes(len(data)))
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def turn(path: Path) -> None:
    """Have a link lead elsewhere, then where it led."""
    target = path.readlink()
    for each in (Path(os.devnull), target):
        path.unlink()
        path.symlink_to(each)


@pytest.mark.parametrize("change", [exchange, turn, Path.unlink])
def test_a_file_that_is_exchanged_while_it_is_read_is_refused(
    start_world: StartWorld,
    profile: Profile,
    granted: AuthRecord,
    run: RunDir,
    change: Callable[[Path], None],
) -> None:
    """Also when it is put back: the tokenizer that was read may have been another."""
    hub_access, _ = start_world()
    folder = download.fetch(run, hub_access, profile, granted).folder
    before = download.linked_states(folder)
    download.require_untouched(folder, before)

    change(folder / "config.json")

    with pytest.raises(GateStoppedError, match=r"config\.json") as raised:
        download.require_untouched(folder, before)
    assert raised.value.failure_class is FailureClass.DOWNLOAD_CORRUPT


def test_a_file_that_is_exchanged_while_others_are_digested_is_refused(
    start_world: StartWorld,
    profile: Profile,
    granted: AuthRecord,
    run: RunDir,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights take seconds; what was digested before them may be another file by then."""
    hub_access, _ = start_world()
    link = download._link

    def link_late(folder: Path, arrivals: tuple[Arrival, ...]) -> None:
        link(folder, arrivals)
        exchange(folder / "config.json")

    monkeypatch.setattr(download, "_link", link_late)
    with pytest.raises(GateStoppedError, match=r"since they were digested: config\.json") as raised:
        download.fetch(run, hub_access, profile, granted)
    assert raised.value.failure_class is FailureClass.DOWNLOAD_CORRUPT


def test_training_sees_the_pinned_files_and_nothing_else(
    start_world: StartWorld, profile: Profile, granted: AuthRecord, run: RunDir
) -> None:
    """What other tools put into the cache's snapshot does not reach the run."""
    hub_access, _ = start_world()
    first = download.fetch(run, hub_access, profile, granted)
    (first.cache / "chat_template.jinja").write_text("{{ surprise }}")
    second = download.fetch(run, hub_access, profile, granted)
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
    run: RunDir,
    fault: FaultKind,
    failure_class: FailureClass,
) -> None:
    """One named error, without the token, after a handful of requests and no waiting."""
    hub_access, hub = start_world(Fault(kind=fault))
    with pytest.raises(GateStoppedError) as raised:
        download.fetch(run, hub_access, profile, granted)
    assert raised.value.failure_class == failure_class
    assert TOKEN not in str(raised.value)
    # Asked for, described and fetched: each file once.
    assert len(hub.requests) <= 3 * len(FILES)


def test_a_hub_that_went_away_is_unreachable(
    start_world: StartWorld, profile: Profile, granted: AuthRecord, run: RunDir
) -> None:
    """Between auth and download a network can end."""
    hub_access, _ = start_world()
    with pytest.raises(GateStoppedError) as raised:
        download.fetch(run, replace(hub_access, endpoint="http://127.0.0.1:9"), profile, granted)
    assert raised.value.failure_class == FailureClass.HUB_UNREACHABLE


def test_a_changed_file_in_the_cache_is_noticed(
    start_world: StartWorld, profile: Profile, granted: AuthRecord, run: RunDir
) -> None:
    """The cache's word that it has the file is not taken for the file."""
    hub_access, _ = start_world()
    record = download.fetch(run, hub_access, profile, granted)
    (record.folder / "model.safetensors").resolve().write_bytes(WEIGHT_BYTES[:-1] + b"?")
    with pytest.raises(GateStoppedError, match=r"model\.safetensors") as raised:
        download.fetch(run, hub_access, profile, granted)
    assert raised.value.failure_class == FailureClass.DOWNLOAD_CORRUPT


CAUSES = {
    FailureClass.DISK_FULL: (errno.ENOSPC, errno.EDQUOT),
    FailureClass.CACHE_UNUSABLE: (errno.EACCES, errno.EROFS, errno.ENOLCK, errno.EIO),
}


@pytest.mark.parametrize(
    ("failure_class", "number"),
    [(known, number) for known, numbers in CAUSES.items() for number in numbers],
)
def test_what_the_file_system_says_is_no_trouble_of_the_hub(
    start_world: StartWorld,
    profile: Profile,
    granted: AuthRecord,
    monkeypatch: pytest.MonkeyPatch,
    failure_class: FailureClass,
    number: int,
) -> None:
    """A full disk, rights, a read-only mount, a file system without locks, a broken disk."""
    hub_access, _ = start_world()

    def fail(*arguments: object, **options: object) -> str:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("m43.harness.gates.hub_files.hf_hub_download", fail)
    with pytest.raises(GateStoppedError, match=os.strerror(number)) as raised:
        fetched_here(hub_access, profile, granted)
    assert raised.value.failure_class == failure_class


@contextmanager
def stalled(raised_within_s: float) -> Iterator[list[GateStoppedError]]:
    """Expect a download that was ended, and not late."""
    caught: list[GateStoppedError] = []
    begun = time.monotonic()
    with pytest.raises(GateStoppedError) as raised:
        yield caught
    caught.append(raised.value)
    assert time.monotonic() - begun < raised_within_s
    assert raised.value.failure_class == FailureClass.TRANSFER_STALLED


def test_a_download_past_its_deadline_is_ended(
    start_world: StartWorld, profile: Profile, granted: AuthRecord, run: RunDir
) -> None:
    """The deadline of the profile ends it, whatever it waits for, and says where it was."""
    fault = Fault(kind=FaultKind.SLOW, where="storage/", delay_s=60.0)
    hub_access, _ = start_world(fault)
    late = replace(profile, deadlines=replace(profile.deadlines, download_s=4.0))
    with stalled(15.0) as errors:
        download.fetch(run, hub_access, late, granted)
    assert "0 of 307,200 bytes had arrived" in errors[0].problems[0].found
    record = read_record(run.process("download"), ProcessRecord)
    assert record.ended_by_parent == "deadline"
    assert record.last_phase == "download model.safetensors"


def test_a_download_that_stands_still_is_ended_before_its_deadline(
    start_world: StartWorld, profile: Profile, granted: AuthRecord, run: RunDir
) -> None:
    """Silence counts from the last byte; where the child stood is kept."""
    fault = Fault(kind=FaultKind.SLOW, where="storage/", delay_s=60.0)
    hub_access, _ = start_world(fault)
    quiet = replace(profile, deadlines=replace(profile.deadlines, silence_s=3.0))
    with stalled(20.0) as errors:
        download.fetch(run, hub_access, quiet, granted)
    assert "for standing still" in errors[0].problems[0].found
    assert read_record(run.process("download"), ProcessRecord).ended_by_parent == "silence"
    assert "hub_files.py" in run.stacks("download").read_text()


def test_progress_is_seen_in_bytes(
    start_world: StartWorld, profile: Profile, granted: AuthRecord, run: RunDir
) -> None:
    """A person can see how far a file of gigabytes is."""
    hub_access, _ = start_world()
    seen: list[Sight] = []
    download.fetch(run, hub_access, profile, granted, seen.append)
    last, size = seen[-1].beat, len(WEIGHT_BYTES)
    assert last is not None
    assert (last.phase, last.total) == ("digest model.safetensors", size)


def test_a_cut_connection_is_not_taken_up_again(
    start_world: StartWorld, profile: Profile, granted: AuthRecord, run: RunDir
) -> None:
    """Nothing is retried, by the transport neither: the weights are asked for once."""
    fault = Fault(kind=FaultKind.CUT, where="model.safetensors", times=1, after_bytes=1000)
    hub_access, hub = start_world(fault)
    with pytest.raises(GateStoppedError) as raised:
        download.fetch(run, hub_access, profile, granted)
    assert raised.value.failure_class == FailureClass.CONNECTION_LOST
    stored = [request for request in hub.requests if request.path.startswith("/storage/")]
    assert [request.method for request in stored] == ["GET"]


def test_each_file_is_asked_for_once(
    start_world: StartWorld, profile: Profile, granted: AuthRecord, run: RunDir
) -> None:
    """What the record counts is what the hub saw: a description and a body for each file."""
    hub_access, hub = start_world()
    record = download.fetch(run, hub_access, profile, granted)
    assert record.requests == len(hub.requests) == 2 * len(FILES)
    assert len({(request.method, request.path) for request in hub.requests}) == 2 * len(FILES)
    assert (record.transport, record.unasked) == ("http", ())


@pytest.fixture
def cached(
    start_world: StartWorld, profile: Profile, granted: AuthRecord, run: RunDir
) -> tuple[HubAccess, Path]:
    """Fill a cache, as another person has done."""
    hub_access, _ = start_world()
    record = download.fetch(run, hub_access, profile, granted)
    return hub_access, record.cache


def test_a_cache_that_has_everything_is_neither_asked_about_nor_changed(
    start_world: StartWorld,
    profile: Profile,
    granted: AuthRecord,
    cached: tuple[HubAccess, Path],
    tmp_path: Path,
) -> None:
    """Others read it at the same time, and it may be mounted read-only."""
    hub_access, _ = cached
    _, hub = start_world()
    before = {path: path.lstat().st_mtime_ns for path in hub_access.cache.rglob("*")}
    second = RunDir.create(tmp_path / "second")
    record = download.fetch(second, replace(hub_access, endpoint=hub.endpoint), profile, granted)
    assert (record.bytes_moved, record.requests, hub.requests) == (0, 0, ())
    assert {path: path.lstat().st_mtime_ns for path in hub_access.cache.rglob("*")} == before
    assert record.folder == second.base_model
