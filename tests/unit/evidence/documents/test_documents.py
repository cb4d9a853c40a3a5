"""Exactly one closing document lies in a run folder, and only success writes the summary."""

import re
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from m43 import typed_json
from m43.errors import FailureClass
from m43.evidence.documents import write
from m43.evidence.documents.html import fragment
from m43.evidence.documents.markdown import markdown
from m43.evidence.documents.nodes import Section, Text, rich
from m43.evidence.documents.provenance import POSSIBLE, not_excluded, possible_table
from m43.evidence.documents.report import report_html
from m43.evidence.journal.journal import Journal
from m43.records.evaluation_record import Prediction
from m43.records.run_dir import RunDir, read_record, write_atomically, write_record
from m43.records.run_records import EarlierAttempt, OpeningRecord
from m43.rows import scoring
from tests.unit.evidence import good_run
from tests.unit.evidence.good_records import (
    START,
    closing_record,
    own_differences,
    predictions,
    process_record,
    requirement,
    ticking,
    train_record,
    venv_record,
)
from tests.unit.evidence.good_run import (
    PROMISES,
    break_gate,
    stop_at,
    write_gate_files,
    write_good_run,
    write_opening,
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("documents"))


@pytest.fixture
def run(good: RunDir, tmp_path: Path) -> RunDir:
    """A copy of it, to be changed."""
    return RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))


def test_an_accepted_run_has_the_summary_alone(good: RunDir) -> None:
    """The summary has taken the failure analysis's place."""
    assert good.summary.exists()
    assert not good.failure_analysis.exists()


def test_what_stays_possible_is_the_same_table_everywhere(good: RunDir) -> None:
    """In the summary, in the report, in what verify prints and in README, word for word."""
    rows = markdown(Section("", [possible_table()])).strip()
    readme = (Path(__file__).parents[4] / "README.md").read_text(encoding="utf-8")
    assert rows in good.summary.read_text(encoding="utf-8")
    assert rows in readme
    page = report_html(good, "a run", "")
    for each, line in zip(POSSIBLE, not_excluded(), strict=True):
        assert line == f"{each.short}: {each.shown_by}"
        # In a few words, the same: nothing that the table does not name.
        kinds = ("witness", "replay", "signature", "counters", "second run", "first page")
        assert [kind for kind in kinds if kind in each.shown_by and kind not in each.reveals] == []
        assert each.shown_by
        words = fragment([Text(rich(each.reveals))]).removeprefix("<p>").removesuffix("</p>")
        assert words in page


def test_the_summary_tells_what_was_asked(good: RunDir) -> None:
    """Every section is there, with the numbers and the files that they come from."""
    text = good.summary.read_text(encoding="utf-8")

    count = len(PROMISES)
    assert "**ACCEPTED (rehearsal)**: every promise of the contract was kept" in text
    assert f" kept ({count} of {count}" in text
    assert "loss 3.3925 at the first step, 0.3702 at the last (training_metrics.jsonl)" in text
    assert (
        "| overall | 100 | 2 (2 %) | 0.6 to 7.0 % | 60 (60 %) | 50.2 to 69.1 % | +58 | 42, 24 |"
        in text
    )
    assert text.count("has 58 rows right that the base model has wrong, and 0 rows wrong") == 2
    assert "exact McNemar p = 6.94e-18 (evaluation_results.json)" in text
    assert "0 of 100 prompts occur in the training file" in text
    assert "| template: not in training | 26 |" in text
    assert "![Training loss by optimizer step](loss_curve.svg)" in text
    assert "python -m m43 verify submission_runs/rehearsal-1" in text
    assert "The folder by itself is not signed" in text
    assert "None. Every other file of the working tree has the same digest" in text
    order = ("core", "edge_case", "trace_sensitive", "easy", "medium", "hard")
    places = [text.index(f": {group} |") for group in order]
    assert places == sorted(places)
    assert text.count("| kept |") == len(PROMISES)


@pytest.mark.parametrize(
    ("dtypes", "named"), [(("F16",), "in F16:"), (("BF16", "F16"), "in BF16 and F16:")]
)
def test_weights_in_float16_are_told_of_in_both_documents(
    run: RunDir, dtypes: tuple[str, ...], named: str
) -> None:
    """In one sentence, with its file; of weights in bfloat16 there is nothing to tell."""
    words = f"The base stores its weights {named} each value was read without loss, nothing was"
    assert "float16, and every tensor" not in run.summary.read_text(encoding="utf-8")
    write_record(run.train, train_record(weights_dtypes=dtypes))

    write.write_documents(run)

    text = run.summary.read_text(encoding="utf-8")
    assert f"- {words} computed in float16, and every tensor was saved in the" in text
    assert "dtype that it came in (train.json)." in text
    assert words in report_html(run, "m43", "")


def test_what_is_newer_than_tested_is_named_in_every_document(run: RunDir, tmp_path: Path) -> None:
    """In the summary, the report and a failure analysis, with both versions; otherwise nowhere."""
    words = "Newer than what m43 was tested with, so that more hangs on the numerics check: "
    assert words not in run.summary.read_text(encoding="utf-8")
    assert words not in report_html(run, "m43", "")
    newer = venv_record(requirements=(requirement("jax>=0.12.0", "0.13.1", "0.12"),))
    write_record(run.venv, newer)

    write.write_documents(run)

    text = run.summary.read_text(encoding="utf-8")
    assert f"- {words}`jax 0.13.1 (tested with: 0.12)` (venv.json)." in text
    assert "`0.13.1, newer than what m43 was tested with (0.12)`" in text
    assert f"{words}<code>jax 0.13.1 (tested with: 0.12)</code>" in report_html(run, "m43", "")
    failed = stop_at(
        tmp_path / "failed",
        "train-300",
        lambda failed: write_record(failed.venv, newer),
        failure_class=FailureClass.KILLED,
    )
    assert words in failed.failure_analysis.read_text(encoding="utf-8")


def test_the_flags_of_the_compiler_are_told(run: RunDir) -> None:
    """As they were set for the training, or that none was."""
    flag = "--xla_disable_hlo_passes=while-loop-invariant-code-motion"
    row = "| XLA_FLAGS | `{}` | train.process.json |"
    assert row.format(flag) in run.summary.read_text(encoding="utf-8")
    write_record(run.train_process, process_record(xla_flags=()))

    write.write_documents(run)

    assert row.format("none") in run.summary.read_text(encoding="utf-8")


def test_a_rehearsal_is_watermarked_first_thing(good: RunDir) -> None:
    """Title and banner say so before anything else is said."""
    lines = good.summary.read_text(encoding="utf-8").splitlines()

    assert "REHEARSAL" in lines[0]
    assert lines[2].startswith("> **REHEARSAL")


def test_a_profile_of_its_own_is_named_in_the_verdict(tmp_path: Path) -> None:
    """A production run that differs from the locked decisions says so in its first line."""
    earlier = (EarlierAttempt(run="m43_v0", kind="production", started_utc="2026-01-01T00:00Z"),)
    run = write_good_run(
        tmp_path, "production", profile_differences=own_differences(), earlier_attempts=earlier
    )

    text = run.summary.read_text(encoding="utf-8")
    verdict, listed = text.index("**ACCEPTED under another contract**"), text.index("## In")
    assert "REHEARSAL" not in text
    head = text[verdict : text.index("Differences from the locked decisions")]
    assert "contract.repo: 'm43/toy-gemma' instead of 'google/gemma-2b'" in head
    assert "contract.parameters: 639616 instead of 2506172416" in head
    assert "training.optimizer" not in head
    assert (run.summary.name, text[:13]) == ("own_summary.md", "# Own summary")
    assert all(verdict < text.index(line) < listed for line in own_differences())
    assert "| `m43_v0` | production |" in text


def test_what_was_not_watched_and_not_searched_for_is_named(tmp_path: Path) -> None:
    """Where the run itself writes by configuration, and secrets that are also words."""
    names = {"left_out": (".hf/hub", "a`|b"), "unsearched": ("the password in HTTPS_PROXY",)}
    run = write_good_run(tmp_path, **names)

    text = run.summary.read_text(encoding="utf-8")

    assert "- Working tree, not watched: `.hf/hub`, " in text
    assert "- Secrets, not searched for: `the password in HTTPS_PROXY`; what is also a word" in text
    assert "None that was seen. Every other file of the working tree that was watched" in text
    page = report_html(run, "a title", "")
    assert "not watched: <code>.hf/hub</code>" in page
    assert "not searched for: <code>the password in HTTPS_PROXY</code>" in page


def test_a_clock_that_was_set_back_gives_no_duration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time before the one before it is shown as it is, and nothing is computed from it."""
    times = (START + timedelta(seconds=n if n < 4 else n - 3600) for n in range(1000))
    monkeypatch.setattr(good_run, "ticking", lambda spent_s: lambda: next(times))

    text = write_good_run(tmp_path).summary.read_text(encoding="utf-8")

    assert "The clock was set back before entry 5 (journal.jsonl)" in text
    assert text.count("| ? |") > 5
    assert not re.search(r"\| -\d", text)


def test_rendering_again_changes_nothing(run: RunDir) -> None:
    """The documents follow from the folder alone."""
    before = run.summary.read_bytes(), run.loss_curve.read_bytes()

    paths = write.render(run)

    assert [path.name for path in paths] == [
        "m43_summary.md",
        "loss_curve.svg",
        "attestation.intoto.json",
        "provenance.intoto.json",
    ]
    assert (run.summary.read_bytes(), run.loss_curve.read_bytes()) == before


def test_a_moved_folder_renders_the_same(run: RunDir, tmp_path: Path) -> None:
    """No path of this machine is in a document, also where files cannot be read."""
    run.results.write_text("{}")
    write.write_documents(run)
    first = run.failure_analysis.read_bytes()
    (tmp_path / "elsewhere").mkdir()
    there = RunDir(run.path.rename(tmp_path / "elsewhere" / run.path.name))

    write.write_documents(there)

    assert there.failure_analysis.read_bytes() == first
    assert str(tmp_path).encode() not in first


def test_the_dead_mans_document_is_true_before_the_first_gate(tmp_path: Path) -> None:
    """A run that ends right after its opening leaves a document that says just that."""
    run = RunDir.create(tmp_path / "m43_v1")
    write_opening(run, "production")

    text = run.failure_analysis.read_text(encoding="utf-8")

    assert "**NOT ACCEPTED**: no closing record; last seen before gate 1 of 4." in text
    assert "| class | none: there is no closing record |" in text
    assert "Not run so far: auth, venv, train-300, eval" in text
    assert "export" not in text
    assert not run.summary.exists()


def test_the_failure_analysis_has_its_sections(tmp_path: Path) -> None:
    """A training that was killed for memory: progress, resources, excerpt, what to do."""

    def write(run: RunDir) -> None:
        write_gate_files(run, "train-300")
        run.train.unlink()
        lines = run.metrics.read_text().splitlines(keepends=True)
        run.metrics.write_text("".join(lines[:137]) + '{"step": 138, "lo')
        run.log("train").write_text("```\n<script>\nhf_" + "A1b2C" * 7 + "\n")

    run = stop_at(tmp_path, "train-300", write, failure_class="out of host memory")

    text = run.failure_analysis.read_text(encoding="utf-8")
    for title in (
        "What happened",
        "Next actions for a person",
        "Why, as far as it is known",
        "Expected against observed",
        "Gates not run",
        "Progress at failure",
        "Resources then",
        "Error excerpt",
        "Timeline",
        "Environment difference",
        "Earlier attempts",
        "Evidence index",
        "Impact on M42",
    ):
        assert f"\n## {title}\n" in text
    assert "Last recorded step: 137" in text
    assert "The line after it cannot be read" in text
    assert "````text\n```\n<script>\n[REDACTED]\n````" in text
    count = sum(promise.gate == "eval" for promise in PROMISES)
    assert f"| eval | NOT RUN | {count} |" in text
    assert "Files that cannot be read" not in text
    assert "not measured: the run did not get there" in text


def test_a_failure_after_evaluation_still_tells_what_was_measured(tmp_path: Path) -> None:
    """Progress and scores of the gates that ran are shown, and called not accepted."""
    name = "test_closing_finds_the_environment_unchanged"
    run = break_gate(tmp_path, "closing", name)

    text = run.failure_analysis.read_text(encoding="utf-8")

    assert "Last recorded step: 300" in text
    assert "Evaluation, not accepted: 100 rows, 2 right before training, 60 after" in text
    assert "the run did not get there" not in text
    assert "What `test_closing_finds_the_environment_unchanged` said" in text
    assert "```text\nassert closing.packages_sha256 == venv.packages_sha256\n```" in text
    assert "**BROKEN**" in text


def test_an_interruption_is_told_with_its_cause(tmp_path: Path) -> None:
    """Whoever reads it later sees that somebody or something ended the run, and when."""
    run = RunDir.create(tmp_path / "rehearsal-1")
    journal = write_opening(run)
    journal.append("gate_opened", gate="auth")
    journal.append(
        "interrupted", gate="auth", failure_class="interrupted", detail="SIGTERM was received"
    )
    write.write_opening_analysis(run)

    text = run.failure_analysis.read_text(encoding="utf-8")

    assert "at gate 1 of 4 (auth): **interrupted**" in text
    assert "| established | Interrupted: SIGTERM was received. | journal.jsonl, entry 3 |" in text


def test_a_failure_of_a_run_takes_the_summarys_place(run: RunDir) -> None:
    """Rendering a folder whose journal was changed leaves the failure analysis alone."""
    lines = run.journal.read_bytes().splitlines(keepends=True)
    run.journal.write_bytes(b"".join(lines[:5] + lines[6:]))

    verdict = write.write_documents(run)

    assert not verdict.accepted
    assert run.failure_analysis.exists()
    assert not run.summary.exists()


@pytest.mark.parametrize(
    "name",
    [
        "opening.json",
        "contract.txt",
        "contract.lock.json",
        "auth.json",
        "venv.json",
        "download.json",
        "train.json",
        "train.process.json",
        "training_metrics.jsonl",
        "eval.json",
        "eval.process.json",
        "predictions.jsonl",
        "evaluation_results.json",
        "closing.json",
        "journal.jsonl",
    ],
)
def test_no_summary_without_every_record(run: RunDir, name: str) -> None:
    """A missing and a malformed record both refuse the summary, and a document is still there."""
    (run.path / name).unlink()
    assert not write.write_documents(run).accepted

    (run.path / name).write_text("{]")
    assert not write.write_documents(run).accepted
    assert run.failure_analysis.exists()
    assert not run.summary.exists()


def test_no_summary_over_records_that_break_a_promise(run: RunDir) -> None:
    """A journal that says kept does not help records that are not."""
    write_record(run.train, train_record(optimizer_steps=299))

    verdict = write.write_documents(run)

    expected = "promise test_train_takes_exactly_the_promised_steps does not hold over the records"
    assert expected in verdict.reasons


def test_no_summary_under_another_contract(run: RunDir) -> None:
    """The kept contract must be the one that the run was opened under."""
    opening = read_record(run.opening, OpeningRecord)
    write_record(run.opening, replace(opening, contract_sha256="00" * 32))

    assert not write.write_documents(run).accepted


def test_no_summary_before_the_seal(run: RunDir) -> None:
    """The last entry must be there before anything is accepted."""
    lines = run.journal.read_bytes().splitlines(keepends=True)
    run.journal.write_bytes(b"".join(lines[:-2]))
    assert not write.write_documents(run).accepted

    Journal.open(run.journal, now=ticking()).append("sealed")
    assert write.write_documents(run).accepted


def test_the_failure_analysis_stays_until_the_summary_is_on_disk(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the summary cannot be written, the folder is not left without a document."""
    run.summary.rename(run.failure_analysis)

    def full(path: Path, data: bytes) -> None:
        if path == run.summary:
            raise OSError(28, "No space left on device")
        write_atomically(path, data)

    monkeypatch.setattr(write, "write_atomically", full)
    with pytest.raises(OSError, match="No space"):
        write.write_documents(run)

    assert run.failure_analysis.exists()


def test_hostile_names_do_not_become_markup(run: RunDir) -> None:
    """A group named by a row, a device, a path: shown, never rendered."""
    hostile = "</td><script>alert(1)</script>|x|\n# heading `"
    rows = tuple(replace(row, section=hostile) for row in predictions())
    write_rows(run, rows)
    write_record(run.closing, closing_record(changed_paths=(hostile,)))

    write.write_documents(run)

    text = run.failure_analysis.read_text(encoding="utf-8")
    assert "\n# heading" not in text
    assert "</td><script>" in text  # inside a code span
    assert "`` </td><script>alert(1)</script>|x| # heading ` ``" in text


def write_rows(run: RunDir, rows: tuple[Prediction, ...]) -> None:
    """Replace the predictions and their scores."""
    run.predictions.write_text("".join(typed_json.dump_line(row) for row in rows))
    write_record(run.results, scoring.tally(rows))
