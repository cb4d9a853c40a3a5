"""The journal is append-only and chained: what was changed afterwards does not read back."""

import errno
import json
import os
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import get_args

import pytest

from m43 import typed_json
from m43.evidence.journal import chain, journal
from m43.evidence.journal.chain import BrokenChainError, CutChainError, Event
from m43.evidence.journal.journal import Journal
from m43.files import is_disk_full
from tests.unit.evidence.good_records import ticking


def written(path: Path, count: int = 5) -> list[bytes]:
    """Write a journal of some entries and give its lines."""
    writer = Journal.create(path, now=ticking())
    writer.append("opened", detail="m43_v1")
    for index in range(count - 1):
        writer.append("promise_kept", gate="auth", name=f"test_auth_{index}")
    return path.read_bytes().splitlines(keepends=True)


def test_entries_read_back_as_they_were_written(tmp_path: Path) -> None:
    """What `append` returns is what `read` gives."""
    path = tmp_path / "journal.jsonl"
    writer = Journal.create(path, now=ticking())
    entries = (
        writer.append("opened"),
        writer.append(
            "gate_stopped", gate="auth", failure_class="no token", detail='a "line"\nand ü'
        ),
    )

    assert journal.read(path) == entries
    assert [entry.seq for entry in entries] == [1, 2]
    assert entries[0].time_utc == "2026-01-02T03:04:05.000Z"
    assert entries[0].previous_sha256 == chain.FIRST_PREVIOUS
    assert entries[1].previous_sha256 == entries[0].sha256


def test_an_opened_journal_goes_on_where_it_ended(tmp_path: Path) -> None:
    """A second process continues the numbers and the chain."""
    path = tmp_path / "journal.jsonl"
    written(path)

    Journal.open(path, now=ticking()).append("sealed")

    assert [entry.seq for entry in journal.read(path)] == [1, 2, 3, 4, 5, 6]


def test_a_writer_knows_what_stands_in_its_file(tmp_path: Path) -> None:
    """Who holds the journal need not read it again: begun, gone on with, and not written."""
    path = tmp_path / "journal.jsonl"
    writer = Journal.create(path, now=ticking())
    assert writer.entries == ()
    writer.append("opened")
    again = Journal.open(path, now=ticking())
    again.append("sealed")
    assert [entry.event for entry in again.entries] == ["opened", "sealed"]
    assert again.entries == journal.read(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        again.append("closed")
    assert len(again.entries) == 2


def test_a_second_journal_under_the_same_name_is_refused(tmp_path: Path) -> None:
    """A journal is begun once."""
    written(tmp_path / "journal.jsonl")

    with pytest.raises(FileExistsError):
        Journal.create(tmp_path / "journal.jsonl")


def test_a_token_does_not_reach_the_journal(tmp_path: Path) -> None:
    """What is shaped like a hub token is redacted before it is sealed."""
    path = tmp_path / "journal.jsonl"

    Journal.create(path).append("interrupted", detail="Bearer hf_" + "a1b2c" * 7)

    assert "hf_" not in path.read_text()


def remake(line: bytes, **changes: object) -> bytes:
    """Change an entry and seal it again, as a forger would."""
    fields = {**json.loads(line), **changes}
    return (chain.canonical({**fields, "sha256": chain.seal(fields)}) + "\n").encode()


@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(lambda lines: lines[:2] + lines[3:], id="drop"),
        pytest.param(lambda lines: lines[:3] + lines[2:], id="duplicate"),
        pytest.param(lambda lines: [lines[1], lines[0], *lines[2:]], id="swap"),
        pytest.param(lambda lines: lines[1:], id="drop the first"),
        pytest.param(
            lambda lines: [lines[0].replace(b"m43_v1", b"m43_v2"), *lines[1:]], id="change"
        ),
        pytest.param(
            lambda lines: [lines[0], remake(lines[1], name="other"), *lines[2:]], id="forge one"
        ),
        pytest.param(lambda lines: [*lines[:-1], remake(lines[-1], seq=9)], id="renumber"),
        pytest.param(lambda lines: [*lines, b"{}\n"], id="add"),
        pytest.param(lambda lines: [*lines, b"\n"], id="empty line"),
        pytest.param(lambda lines: [lines[0][:-5] + b"\n", *lines[1:]], id="cut in the middle"),
        pytest.param(lambda lines: [b"\xff" + lines[0], *lines[1:]], id="not UTF-8"),
    ],
)
def test_a_tampered_journal_is_refused(tmp_path: Path, tamper: object) -> None:
    """Every change to a line that was written breaks the chain."""
    path = tmp_path / "journal.jsonl"
    lines = written(path)
    path.write_bytes(b"".join(tamper(lines)))  # type: ignore[operator]

    with pytest.raises(BrokenChainError):
        journal.read(path)


def test_every_cut_of_the_last_line_is_told_apart_from_tampering(tmp_path: Path) -> None:
    """A power cut in the last write is a distinct error that carries the whole lines before it."""
    path = tmp_path / "journal.jsonl"
    lines = written(path, 3)
    whole = journal.read(path)

    for kept in range(1, len(lines[-1])):
        path.write_bytes(b"".join(lines[:-1]) + lines[-1][:kept])
        with pytest.raises(CutChainError) as caught:
            journal.read(path)
        assert caught.value.good == whole[:2]
        assert caught.value.cut_bytes == kept


def test_a_cut_line_is_taken_away_and_the_journal_goes_on(tmp_path: Path) -> None:
    """How long it was is told; a journal that is whole is left as it is."""
    path = tmp_path / "journal.jsonl"
    lines = written(path, 3)
    path.write_bytes(b"".join(lines)[:-7])

    assert journal.drop_unfinished(path) == len(lines[-1]) - 7
    assert journal.drop_unfinished(path) == 0

    Journal.open(path, now=ticking()).append("interrupted")
    assert [entry.event for entry in journal.read(path)] == [
        "opened",
        "promise_kept",
        "interrupted",
    ]


def test_a_disk_that_takes_half_a_line_has_none_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal is as it was before, so the next line has something whole to follow."""
    path = tmp_path / "journal.jsonl"
    writer = Journal.create(path, now=ticking())
    writer.append("opened")
    before, write = path.read_bytes(), os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2]))
        with pytest.raises(OSError, match="No space left") as raised:
            writer.append("gate_opened", gate="auth")
    assert is_disk_full(raised.value)
    assert path.read_bytes() == before
    writer.append("sealed")
    assert [entry.event for entry in journal.read(path)] == ["opened", "sealed"]


def test_only_the_edges_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries at gate edges are synced; promises within a gate are written and not waited for."""
    writer = Journal.create(tmp_path / "journal.jsonl")
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)

    writer.append("gate_opened", gate="auth")
    writer.append("promise_kept", gate="auth", name="test_auth_x")

    assert len(synced) == 1


def test_a_disk_that_takes_half_a_line_is_left_with_none_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal is as it was before, and goes on where it was when there is room again."""
    path = tmp_path / "journal.jsonl"
    before = b"".join(written(path))
    writer, write = Journal.open(path, now=ticking()), os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
        with pytest.raises(OSError, match="No space left on device") as caught:
            writer.append("sealed")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == before

    writer.append("sealed")

    assert [entry.seq for entry in journal.read(path)] == [1, 2, 3, 4, 5, 6]


def test_an_empty_journal_goes_on_from_its_beginning(tmp_path: Path) -> None:
    """Also when the power was cut in its very first line."""
    path = tmp_path / "journal.jsonl"
    Journal.create(path)
    Journal.open(path, now=ticking()).append("opened")
    path.write_bytes(path.read_bytes()[:9])

    assert journal.drop_unfinished(path) == 9
    Journal.open(path, now=ticking()).append("opened")

    entries = journal.read(path)
    assert [(entry.seq, entry.event) for entry in entries] == [(1, "opened")]
    assert entries[0].previous_sha256 == chain.FIRST_PREVIOUS


def test_every_field_of_an_entry_is_written(tmp_path: Path) -> None:
    """The gate, the name, the class and the detail, each where it belongs."""
    path = tmp_path / "journal.jsonl"
    writer = Journal.create(path, now=ticking())

    entry = writer.append("gate_stopped", gate="auth", name="n", failure_class="c", detail="d")

    assert (entry.event, entry.gate, entry.name) == ("gate_stopped", "auth", "n")
    assert (entry.failure_class, entry.detail) == ("c", "d")
    bare = writer.append("sealed")
    assert (bare.gate, bare.name, bare.failure_class, bare.detail) == ("", "", "", "")
    assert json.loads(path.read_bytes().splitlines()[0]) == typed_json.to_plain(entry)


@pytest.mark.parametrize("event", sorted(get_args(Event)))
def test_each_event_waits_for_the_disk_or_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: Event
) -> None:
    """Promises are judged in a moment and judged again from the records; all else is synced."""
    writer = Journal.create(tmp_path / "journal.jsonl")
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)

    writer.append(event)

    assert len(synced) == (0 if event.startswith("promise_") else 1)


def test_a_journal_is_for_everybody_to_read(tmp_path: Path) -> None:
    """Evidence is; and its name survives a power cut, as its folder is synced."""
    path = tmp_path / "journal.jsonl"
    Journal.create(path)
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.read_bytes() == b""


def test_a_clock_that_jumps_makes_no_duration() -> None:
    """It is read once; what passes is counted by one that nobody sets."""
    begun = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    wall = iter([begun, begun + timedelta(days=1), begun - timedelta(hours=1)])
    passed = iter([100.0, 101.5, 103.0])
    clock = journal.steady_clock(lambda: next(wall), lambda: next(passed))
    assert [clock(), clock()] == [begun + timedelta(seconds=each) for each in (1.5, 3.0)]
    real = journal.steady_clock()
    assert real() <= real() <= datetime.now(UTC) + timedelta(seconds=1)


def test_the_time_is_utc_with_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the zone of the clock or of the machine; without another clock it is now."""
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    moment = datetime(2026, 1, 2, 5, 4, 5, 678901, tzinfo=timezone(timedelta(hours=2)))
    assert journal.stamp(moment) == "2026-01-02T03:04:05.678Z"
    before = datetime.now(UTC)
    assert before <= journal.utc_now() <= datetime.now(UTC)
    assert journal.utc_now().tzinfo is UTC
    monkeypatch.undo()
    time.tzset()


def test_a_new_name_is_synced_through_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no descriptor stays open behind it."""
    synced: list[Path] = []
    monkeypatch.setattr(
        os, "fsync", lambda number: synced.append(Path(f"/proc/self/fd/{number}").readlink())
    )
    before = len(list(Path("/proc/self/fd").iterdir()))

    writer = Journal.create(tmp_path / "journal.jsonl")
    writer.append("opened")

    assert synced == [tmp_path, tmp_path / "journal.jsonl"]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(("bytes_lost", "left"), [(0, 5), (7, 4)])
def test_a_cut_journal_goes_on_with_its_last_good_line(
    tmp_path: Path, bytes_lost: int, left: int
) -> None:
    """In numbers, in the chain, and by the clock that it was given."""
    path = tmp_path / "journal.jsonl"
    lines = written(path, 5)
    path.write_bytes(b"".join(lines)[: -bytes_lost or None])

    journal.drop_unfinished(path)
    entry = Journal.open(path, now=ticking()).append("sealed")

    assert entry.time_utc.startswith("2026-01-02T03:04:0")
    assert [each.seq for each in journal.read(path)] == list(range(1, left + 2))


def test_a_journal_that_was_changed_is_named_with_its_line(tmp_path: Path) -> None:
    """By the path under which it was read."""
    path = tmp_path / "journal.jsonl"
    lines = written(path)
    path.write_bytes(b"".join(lines[1:]))
    with pytest.raises(BrokenChainError) as caught:
        journal.read(path)
    assert caught.value.problems[0].where == f"{path}:1"
