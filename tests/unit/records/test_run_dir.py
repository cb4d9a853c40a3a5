"""The run folder: made once, written whole, read back strictly."""

from pathlib import Path

import pytest

from m43.records.hub_record import HubResponse
from m43.records.run_dir import (
    RunDir,
    RunExistsError,
    read_lines,
    read_record,
    remove_unfinished,
    write_atomically,
    write_record,
)
from m43.records.run_records import ClosingRecord, MalformedRecordError
from m43.typed_json import dump_line

ANSWER = HubResponse(step="whoami", status=200, error="")


def test_a_second_attempt_under_one_name_is_refused(tmp_path: Path) -> None:
    """The first attempt stays as it is."""
    run = RunDir.create(tmp_path / "runs" / "m43_v1")
    (run.path / "evidence").write_text("kept")
    with pytest.raises(RunExistsError, match="one attempt per run folder"):
        RunDir.create(run.path)
    assert (run.path / "evidence").read_text() == "kept"


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """Facts pass through disk unchanged."""
    write_record(tmp_path / "record.json", ANSWER)
    assert read_record(tmp_path / "record.json", HubResponse) == ANSWER


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs the new content only."""
    path = tmp_path / "record.json"
    write_atomically(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_every_malformed_line_is_told_at_once(tmp_path: Path) -> None:
    """Each with its line number."""
    path = tmp_path / "lines.jsonl"
    path.write_text(dump_line(ANSWER) + "{}\n" + dump_line(ANSWER) + "no\n")
    with pytest.raises(MalformedRecordError) as caught:
        read_lines(path, HubResponse)
    places = {problem.where.split(",")[0] for problem in caught.value.problems}
    assert places == {f"{path}:2", f"{path}:4"}


def test_a_missing_record_says_where_it_should_be(tmp_path: Path) -> None:
    """The run did not get as far, or somebody took it away."""
    with pytest.raises(MalformedRecordError, match=r"closing\.json"):
        read_record(RunDir(tmp_path).closing, ClosingRecord)


def test_half_a_model_card_is_taken_away_and_the_model_stays(tmp_path: Path) -> None:
    """As a power cut leaves it, a folder deeper than other records."""
    run = RunDir(tmp_path)
    run.model.mkdir()
    half, kept = run.model / ".README.md.o9dksim3", run.model / ".another"
    for path in (half, kept):
        path.write_text("---")
    remove_unfinished(run)
    assert list(run.model.iterdir()) == [kept]
