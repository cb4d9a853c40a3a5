"""The ledger discloses every attempt, and notices when one is taken out."""

from pathlib import Path

import pytest

from m43.evidence import ledger
from m43.evidence.chain import BrokenChainError
from m43.records import EarlierAttempt


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
