"""Runs that were cut off at any place get a true end, and runs that live are left alone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from m43.evidence.documents import write
from m43.evidence.documents.report import report_html
from m43.evidence.journal import chain, journal, ledger, manifest
from m43.evidence.journal.journal import Journal
from m43.evidence.verify.claims import verify
from m43.files import FileLock, HeldError
from m43.harness.run.recovery import Recovered, close_cut_off, close_run, is_closed, vitals
from m43.records.run_dir import RunDir, write_record
from tests.unit.evidence.good_records import CONTRACT, ticking
from tests.unit.evidence.good_run import write_gate_files, write_good_run, write_opening

REPOSITORY = CONTRACT.parents[1]


@pytest.fixture
def cut(tmp_path: Path) -> RunDir:
    """Make a run that was cut off in the middle of training."""
    run = RunDir.create(tmp_path / "runs" / "m43_v1")
    write_record(run.vitals, vitals())
    writer = write_opening(run)
    for gate in ("auth", "venv"):
        writer.append("gate_opened", gate=gate)
        write_gate_files(run, gate)
    writer.append("gate_opened", gate="train-300")
    write.write_opening_analysis(run)
    return run


def sealed_and_cut(folder: Path) -> RunDir:
    """Make a run that kept every promise and was cut off between its seal and its summary."""
    run = write_good_run(folder)
    lines = run.journal.read_text().splitlines(keepends=True)
    run.journal.write_text("".join(lines[:-1]))
    write.write_opening_analysis(run)
    run.summary.unlink()
    assert events(run)[-1] == "sealed"
    return run


def events(run: RunDir) -> list[str]:
    """Read the events of a journal whose chain is whole."""
    return [entry.event for entry in journal.read(run.journal)]


def test_a_run_that_was_cut_off_gets_its_end(cut: RunDir) -> None:
    """Interrupted at the gate that was open, every promise told, sealed, closed, one document."""
    close_run(cut, ticking())
    told = events(cut)
    text = cut.failure_analysis.read_text()
    assert "interrupted" in told
    assert told[-2:] == ["sealed", "closed"]
    assert "at gate 3 of 4 (train-300): **interrupted**" in text
    assert "cut off" in text
    assert not cut.summary.exists()
    assert is_closed(cut)


def test_what_is_not_known_is_called_so(cut: RunDir) -> None:
    """The restart of the machine and the kernel's kills are established; the rest is unknown."""
    close_run(cut, ticking())
    text = cut.failure_analysis.read_text()
    assert "| established | The machine was not restarted" in text
    assert "no out-of-memory kill since the run began" in text
    assert "| unknown | With which status or signal" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"boot_id": "another"}, "| supported | The machine was restarted"),
        ({"oom_kills": -2}, "out-of-memory kills since the run began"),
    ],
)
def test_what_the_machine_still_knows_is_told(
    cut: RunDir, changes: dict[str, object], words: str
) -> None:
    """A restart points to a power cut, a kill to a lack of memory; neither is more than that."""
    write_record(cut.vitals, replace(vitals(), **changes))  # type: ignore[arg-type]
    close_run(cut, ticking())
    assert words in cut.failure_analysis.read_text()


def test_without_vitals_nothing_is_said_of_the_machine(cut: RunDir) -> None:
    """A run that was cut off in its first moment has none."""
    cut.vitals.unlink()
    close_run(cut, ticking())
    assert "| unknown | Whether the machine was restarted" in cut.failure_analysis.read_text()


def test_what_was_closed_holds_against_verify(cut: RunDir) -> None:
    """The end that was added is evidence like the rest: every word follows from the records."""
    # Somebody comes by a minute later.
    close_run(cut, ticking(spent_s=lambda: 60.0))
    left = [problem for problem in verify(cut.path, REPOSITORY) if "gate" not in problem.where]
    assert [str(problem) for problem in left] == []


def test_closing_twice_changes_nothing(cut: RunDir) -> None:
    """A run that has its end is not touched again."""
    close_run(cut, ticking())
    before = {path: path.read_bytes() for path in cut.path.iterdir()}
    assert close_cut_off(cut.path.parent) == Recovered()
    assert {path: path.read_bytes() for path in cut.path.iterdir()} == before


def test_a_run_that_lives_is_never_closed(cut: RunDir) -> None:
    """It holds its journal, and nothing of it changes."""
    hold = FileLock.take(cut.journal)
    before = {path: path.read_bytes() for path in cut.path.iterdir()}
    with pytest.raises(HeldError):
        close_run(cut)
    assert close_cut_off(cut.path.parent).running == ("m43_v1",)
    assert {path: path.read_bytes() for path in cut.path.iterdir()} == before
    hold.release()


def test_half_a_line_at_the_end_is_taken_away_and_told(cut: RunDir) -> None:
    """A power cut in the middle of a write; the line before it is the last that counts."""
    with cut.journal.open("ab") as file:
        file.write(b'{"detail":"","ev')
    close_run(cut, ticking())
    assert events(cut)[-1] == "closed"
    assert json.loads(cut.recovery.read_text())["journal_bytes_removed"] == 16
    assert "16 bytes" in cut.failure_analysis.read_text()


def test_what_was_being_written_is_taken_away(cut: RunDir) -> None:
    """Half-written files have no name of their own; the finished ones stay."""
    (cut.path / ".train.json.ab12cd_3").write_text("{")
    (cut.path / ".model.partial").mkdir()
    cut.reserve.write_bytes(b"00")
    close_run(cut, ticking())
    assert not [path.name for path in cut.path.iterdir() if path.name.startswith(".")]
    assert ".model.partial, .train.json.ab12cd_3" in cut.failure_analysis.read_text()
    assert cut.venv.exists()


@pytest.mark.parametrize("left", ["nothing", "an empty journal"])
def test_a_run_that_had_not_begun_gets_a_document(tmp_path: Path, left: str) -> None:
    """Also when all that a power cut left is the folder; it is entered into the ledger."""
    run = RunDir.create(tmp_path / "runs" / "m43_v1")
    if left == "an empty journal":
        Journal.create(run.journal)
    assert close_cut_off(tmp_path / "runs").closed == ("m43_v1",)
    assert events(run) == ["interrupted", "sealed", "closed"]
    assert "wrote nothing into its journal" in run.failure_analysis.read_text()
    (attempt,) = ledger.read(tmp_path / "runs" / "attempts.jsonl")
    assert (attempt.run, attempt.kind) == ("m43_v1", "not recorded")


def test_half_a_line_of_the_ledger_does_not_stop_the_next_run(cut: RunDir) -> None:
    """The line is taken away, and written again from what the run's folder says."""
    path = cut.path.parent / "attempts.jsonl"
    ledger.append(path, run="m43_v0", kind="production", started_utc="2026-01-01T00:00:00Z")
    with path.open("ab") as file:
        file.write(b'{"kind":"prod')
    close_cut_off(cut.path.parent)
    assert [attempt.run for attempt in ledger.read(path)] == ["m43_v0", "m43_v1"]


def test_a_run_that_had_ended_well_keeps_its_verdict(tmp_path: Path) -> None:
    """Cut off after the seal: every gate closed and every promise kept, so the summary follows."""
    run = sealed_and_cut(tmp_path)
    assert close_cut_off(tmp_path).closed == ("rehearsal-1",)
    assert run.summary.exists()
    assert not run.failure_analysis.exists()
    assert not run.recovery.exists()


def test_half_of_the_last_line_of_all_costs_no_verdict(tmp_path: Path) -> None:
    """The run had been judged; what is unfinished is only the line that repeats it."""
    run = sealed_and_cut(tmp_path)
    with run.journal.open("ab") as file:
        file.write(b'{"detail":"ACC')
    close_cut_off(tmp_path)
    assert events(run)[-2:] == ["sealed", "closed"]
    assert run.summary.exists()


def test_a_sealed_run_that_was_changed_afterwards_is_not_accepted(tmp_path: Path) -> None:
    """The seal is looked at before the last words are written."""
    run = sealed_and_cut(tmp_path)
    run.log("train").write_text("another log\n")
    close_cut_off(tmp_path)
    assert run.failure_analysis.exists()
    assert not run.summary.exists()


def test_a_run_that_was_cut_off_before_its_seal_publishes_no_model(tmp_path: Path) -> None:
    """The card is written before the seal: of a run that was not accepted it is taken away."""
    run = sealed_and_cut(tmp_path)
    lines = run.journal.read_text().splitlines(keepends=True)
    run.journal.write_text("".join(lines[:-1]))
    run.manifest.unlink()
    assert run.model_card.exists()
    close_cut_off(tmp_path)
    assert run.failure_analysis.exists()
    assert not run.model_card.exists()
    assert run.model.exists()
    assert manifest.check(run) == ()


def test_a_journal_that_was_changed_gets_no_line_more(cut: RunDir) -> None:
    """Nothing can follow a doubtful line; the document says so, and commands go on."""
    data = cut.journal.read_bytes().replace(b"auth", b"oath")
    cut.journal.write_bytes(data)
    assert close_cut_off(cut.path.parent).unclosable == ("m43_v1",)
    assert cut.journal.read_bytes() == data
    assert "it was changed after it was written" in cut.failure_analysis.read_text()
    assert close_cut_off(cut.path.parent) == Recovered()
    with pytest.raises(chain.BrokenChainError):
        close_run(cut)


def test_other_folders_are_nobodys_runs(tmp_path: Path) -> None:
    """A folder with files and no journal is not m43's, and a link leads elsewhere."""
    runs = tmp_path / "runs"
    (runs / "notes").mkdir(parents=True)
    (runs / "notes" / "read.me").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (runs / "link").symlink_to(tmp_path / "elsewhere")
    assert close_cut_off(runs) == Recovered()
    assert [path.name for path in (runs / "notes").iterdir()] == ["read.me"]


def test_a_token_in_what_was_cut_off_is_told(cut: RunDir) -> None:
    """The run itself did not get to look for one."""
    cut.log("train").write_text("hf_" + "a1b2c" * 7 + "\n")
    close_run(cut, ticking())
    entries = journal.read(cut.journal)
    assert any("a token was found in training_log.txt" in entry.detail for entry in entries)


def test_render_closes_and_verify_only_tells(
    cut: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    """A judge's command writes nothing; the command that writes documents writes this one."""
    from m43.__main__ import main

    before = {path: path.read_bytes() for path in cut.path.iterdir()}
    assert main(["verify", str(cut.path)]) == 1
    assert "m43 render RUN_DIR" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in cut.path.iterdir()} == before
    assert main(["render", str(cut.path)]) == 0
    assert "it was cut off, and has been closed now" in capsys.readouterr().out
    assert is_closed(cut)


def test_reports_that_a_closed_run_could_not_seal_are_sealed_by_the_next_command(
    tmp_path: Path,
) -> None:
    """The seal is the last thing that a run writes, and may be what a power cut took."""
    run = write_good_run(tmp_path)
    run.reports_seal.unlink()
    assert any(problem.where == "reports.sha256" for problem in verify(run.path, REPOSITORY))

    assert close_cut_off(tmp_path) == Recovered()

    assert verify(run.path, REPOSITORY) == ()
    before = run.reports_seal.read_bytes()
    run.report.write_text("ACCEPTED")
    close_cut_off(tmp_path)
    assert run.reports_seal.read_bytes() == before


def test_a_page_from_before_the_end_is_drawn_again(cut: RunDir) -> None:
    """What a killed run showed last says that it is still on; nobody shall read that for good."""
    cut.report.write_text(report_html(cut, "m43", ""))
    assert "no closing record yet" in cut.report.read_text()

    close_run(cut, ticking())

    page = cut.report.read_text()
    assert "no closing record yet" not in page
    assert "<strong>interrupted</strong>, at gate 3 of 4 (train-300)" in page
    assert "was lost with its process" in page
    assert not [each for each in verify(cut.path, REPOSITORY) if each.where == "reports.sha256"]


def test_a_page_that_tells_the_end_is_left_as_pytest_wrote_it(tmp_path: Path) -> None:
    """It holds what pytest said of its tests, which nothing else does."""
    run = write_good_run(tmp_path)
    run.reports_seal.unlink()
    page = report_html(run, "m43", "<p>37 passed</p>")
    run.report.write_text(page)

    close_cut_off(tmp_path)

    assert run.report.read_text() == page
    assert run.reports_seal.exists()
