"""The ledger discloses every attempt, and notices when one is taken out."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from m43.evidence.journal import ledger
from m43.evidence.journal.chain import BrokenChainError, CutChainError
from m43.records.run_records import EarlierAttempt


def test_attempts_read_back_in_order(tmp_path: Path) -> None:
    """Each attempt is one line, the first one included."""
    path = tmp_path / "submission_runs" / "attempts.jsonl"
    assert ledger.read(path) == ()

    ledger.append(path, run="m43_v1", kind="production", started_utc="2026-01-02T03:04:05Z")
    ledger.append(path, run="m43_v2", kind="production", started_utc="2026-01-03T03:04:05Z")

    attempts = ledger.read(path)
    assert [attempt.run for attempt in attempts] == ["m43_v1", "m43_v2"]
    assert attempts[0].earlier == EarlierAttempt(
        run="m43_v1", kind="production", started_utc="2026-01-02T03:04:05Z"
    )


def pipe(path: Path) -> None:
    """Put a pipe there that nobody writes to."""
    os.mkfifo(path)


def holes(path: Path) -> None:
    """Make a file of 2 TB that takes no room."""
    with path.open("wb") as file:
        file.truncate(2 << 40)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [pipe, holes, Path.mkdir])
def test_what_has_no_end_is_no_ledger(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """It lies beside the run folders, and whoever verifies one looks at it."""
    make(tmp_path / "attempts.jsonl")
    with pytest.raises(BrokenChainError, match="expected the lines of a ledger"):
        ledger.read(tmp_path / "attempts.jsonl")


def test_a_removed_attempt_is_noticed_and_nothing_is_added(tmp_path: Path) -> None:
    """An attempt cannot be hidden by deleting its line."""
    path = tmp_path / "attempts.jsonl"
    for name in ("a", "b", "c"):
        ledger.append(path, run=name, kind="rehearsal", started_utc="2026-01-02T03:04:05Z")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])

    with pytest.raises(BrokenChainError):
        ledger.append(path, run="d", kind="rehearsal", started_utc="2026-01-02T03:04:05Z")
    assert path.read_bytes() == lines[0] + lines[2]


def entered(path: Path, *names: str) -> list[bytes]:
    """Enter attempts and give the lines."""
    for name in names:
        ledger.append(path, run=name, kind="rehearsal", started_utc="2026-01-02T03:04:05Z")
    return path.read_bytes().splitlines(keepends=True)


def test_a_line_that_a_power_cut_left_unfinished_is_taken_away(tmp_path: Path) -> None:
    """The attempts before it stand, and the next one follows them."""
    path = tmp_path / "attempts.jsonl"
    lines = entered(path, "a", "b")
    path.write_bytes(b"".join(lines)[:-5])
    with pytest.raises(CutChainError):
        ledger.append(path, run="c", kind="rehearsal", started_utc="2026-01-02T03:04:05Z")

    assert ledger.recover(path) == len(lines[1]) - 5

    assert path.read_bytes() == lines[0]
    assert entered(path, "c")[0] == lines[0]
    assert [attempt.seq for attempt in ledger.read(path)] == [1, 2]


def test_a_whole_ledger_and_an_absent_one_are_left_alone(tmp_path: Path) -> None:
    """There is nothing to recover, and nothing is made."""
    path = tmp_path / "attempts.jsonl"
    assert ledger.recover(path) == 0
    assert not path.exists()
    entered(path, "a")
    before = path.read_bytes()
    assert ledger.recover(path) == 0
    assert path.read_bytes() == before


def test_a_ledger_that_was_changed_is_not_recovered(tmp_path: Path) -> None:
    """Only the end can be a power cut's."""
    path = tmp_path / "attempts.jsonl"
    lines = entered(path, "a", "b")
    path.write_bytes(lines[1] + lines[0][:-5])
    with pytest.raises(BrokenChainError) as caught:
        ledger.recover(path)
    assert caught.value.problems[0].where == f"{path}:1"
    assert path.read_bytes() == lines[1] + lines[0][:-5]


def test_every_field_of_an_attempt_is_written_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number, the link and the seal are those of the chain; the file is for everybody."""
    path = tmp_path / "new" / "runs" / "attempts.jsonl"
    synced: list[Path] = []
    monkeypatch.setattr(
        os, "fsync", lambda number: synced.append(Path(f"/proc/self/fd/{number}").readlink())
    )

    first = ledger.append(path, run="m43_v1", kind="production", started_utc="t")
    second = ledger.append(path, run="m43_v2", kind="rehearsal", started_utc="u")

    assert (first.seq, first.run, first.kind, first.started_utc) == (1, "m43_v1", "production", "t")
    assert first.previous_sha256 == "0" * 64
    assert (second.seq, second.previous_sha256) == (2, first.sha256)
    assert ledger.read(path) == (first, second)
    assert synced == [path.parent, path, path]
    assert path.stat().st_mode & 0o777 == 0o644
