"""The lies that a folder can tell, each with the error by which `verify` names it."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from html import escape
from pathlib import Path

import pytest

from m43 import typed_json
from m43.evidence.documents.report import seal_reports
from m43.evidence.journal import ledger
from m43.evidence.verify.claims import verify
from m43.files import file_sha256, weights_sha256
from m43.records.evaluation_record import EvaluationRecord
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.run_records import EarlierAttempt, OpeningRecord, TrainRecord
from m43.rows import scoring
from tests.unit.evidence.good_records import (
    REPOSITORY,
    WEIGHTS,
    digest,
    own_differences,
    step_metrics,
)
from tests.unit.evidence.good_run import PROMISES, stop_at, write_good_run, write_report
from tests.unit.evidence.tampering import Change, edit, forge, found, rechain, remove, reseal

ALL = f"{len(PROMISES)} of {len(PROMISES)}"
ONE_MORE = f"{len(PROMISES) + 1} of {len(PROMISES)}"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("cheats"))


@pytest.fixture
def run(good: RunDir, tmp_path: Path) -> RunDir:
    """A copy of it, to be changed."""
    return RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))


def entries(alter: Callable[[list[dict[str, object]]], list[dict[str, object]]]) -> Change:
    """Write the journal of other entries, with numbers and seals that fit."""

    def change(run: RunDir) -> None:
        lines = run.journal.read_text(encoding="utf-8").splitlines()
        rechain(run, alter([json.loads(line) for line in lines]))

    return change


def steps(*numbers: int, duration_s: float = 0.1) -> Change:
    """Claim other steps than the 300, and seal everything again."""

    def change(run: RunDir) -> None:
        lines = [replace(step_metrics(number), duration_s=duration_s) for number in numbers]
        run.metrics.write_text("".join(typed_json.dump_line(line) for line in lines))
        reseal(run)

    return change


def record(path: str, cls: type, **changes: object) -> Change:
    """Change a record, and seal everything again."""

    def change(run: RunDir) -> None:
        write_record(run.path / path, replace(read_record(run.path / path, cls), **changes))
        reseal(run)

    return change


def answered(count: int) -> Change:
    """Claim that the evaluation had so many rows, and seal everything again."""

    def change(run: RunDir) -> None:
        rows = run.read_predictions()[:count]
        run.predictions.write_text("".join(typed_json.dump_line(row) for row in rows))
        write_record(run.results, scoring.tally(rows))
        reseal(run)

    return change


def swapped(run: RunDir) -> None:
    """Put another model in the place of the trained one, and seal everything again."""
    (run.model / "model.safetensors").write_bytes(b"a better model")
    reseal(run)


def swapped_and_told(run: RunDir) -> None:
    """The same, with its digest in every record that names it."""
    (run.model / "model.safetensors").write_bytes(b"the base model")
    told, base = weights_sha256(run.model), digest("the base model")
    train = read_record(run.train, TrainRecord)
    write_record(
        run.train,
        replace(train, model_sha256=told, reloaded_sha256=told, base_weights_sha256=base),
    )
    evaluation = read_record(run.evaluation, EvaluationRecord)
    write_record(run.evaluation, replace(evaluation, model_sha256=told, base_weights_sha256=base))
    edit("closing.json", train.model_sha256, told)(run)
    reseal(run)


def renamed(run: RunDir) -> None:
    """Call a rehearsal production, everywhere, and seal everything again."""
    for name in ("opening.json", "contract.lock.json"):
        edit(name, '"kind": "rehearsal"', '"kind": "production"')(run)
        edit(name, "rehearsal-1", "m43_v1")(run)
    run.path = run.path.rename(run.path.with_name("m43_v1"))
    entries(lambda lines: [*lines[:-1], {**lines[-1], "detail": "ACCEPTED"}])(run)
    reseal(run)


def own_code(run: RunDir) -> None:
    """Judge with a gate of one's own, and list its digest as it was."""
    honest = file_sha256(REPOSITORY / "m43" / "harness" / "gates" / "gates.py")
    edit("code.sha256", honest, "0" * 64)(run)
    record("opening.json", OpeningRecord, code_sha256=file_sha256(run.code))(run)


def own_conftest(run: RunDir) -> None:
    """List a file that the checkout does not have."""
    run.code.write_text(run.code.read_text() + f"{digest('x')}  acceptance/data/conftest.py\n")
    record("opening.json", OpeningRecord, code_sha256=file_sha256(run.code))(run)


def cut_reports(run: RunDir) -> None:
    """Take a report away, with its line of the seal."""
    run.junit.unlink()
    edit("reports.sha256", file_sha256(run.report), digest("another report"))(run)


def in_report(old: str, new: str) -> Change:
    """Edit the page, and write its digest anew."""

    def change(run: RunDir) -> None:
        edit("report.html", old, new)(run)
        seal_reports(run)

    return change


def pytest_said(outcome: str, name: str, said: str = "") -> Change:
    """Have pytest-html say something of a test, as it does, and seal the page."""
    cells = "".join(f"<td>{escape(each)}</td>" for each in (outcome, name, "0.01 s", said))

    def change(run: RunDir) -> None:
        write_report(run, f"<p>1 test</p><table><tbody><tr>{cells}</tr></tbody></table>")
        seal_reports(run)

    return change


def tagged(run: RunDir) -> None:
    """Put markup where a test's words stand, which are pytest's own."""
    pytest_said("Passed", "test_auth_moves_no_weights", "all is well")(run)
    in_report("all is well", "all is <b>well</b>")(run)


LIES: dict[str, tuple[Change, str]] = {
    "the journal's last entries cut off": (
        entries(lambda lines: lines[:-2]),
        "journal.jsonl: found no closing record",
    ),
    "two gates in another order": (
        entries(lambda lines: [*lines[:1], *lines[10:17], *lines[1:10], *lines[17:]]),
        "'closed' with the verdict 'ACCEPTED (rehearsal)'",
    ),
    "the journal without its head": (
        entries(lambda lines: lines[1:]),
        "journal.jsonl: found no first entry",
    ),
    "a promise judged twice": (
        entries(lambda lines: [*lines[:4], lines[4], *lines[4:]]),
        "found 2 entries about test_auth_finds_the_token_in_hf_token",
    ),
    "a step missing": (
        steps(*range(1, 300)),
        "test_train_steps_are_counted_alike_by_three",
    ),
    "a step repeated": (
        steps(*range(1, 300), 299),
        "training_metrics.jsonl:300: found step 299, expected step 300",
    ),
    "a step too many": (
        steps(*range(1, 302)),
        "test_train_steps_are_counted_alike_by_three",
    ),
    "steps of another run": (
        lambda run: run.metrics.write_text(
            "".join(
                typed_json.dump_line(replace(step_metrics(step), loss_nats=0.1))
                for step in range(1, 301)
            )
        ),
        "training_metrics.jsonl: found SHA-256",
    ),
    "faster than any device": (
        steps(*range(1, 301), duration_s=1e-8),
        "training_metrics.jsonl: found 300 steps over 460,800 tokens in 3e-06 s",
    ),
    "a prediction dropped, and the scores counted without it": (
        answered(99),
        "predictions.jsonl: found 99 ids that are not those of eval_v2.jsonl",
    ),
    "an evaluation set of 20 rows": (
        lambda run: [
            edit("contract.lock.json", '"eval_rows": 100', '"eval_rows": 20')(run),
            edit("eval.json", '"rows_in_file": 100', '"rows_in_file": 20')(run),
            answered(20)(run),
        ],
        "opening.json: found contract.eval_rows: 20 instead of 100",
    ),
    "a model without its dimensions": (
        lambda run: [(run.model / "config.json").unlink(), reseal(run)],
        "model/config.json: found FileNotFoundError",
    ),
    "a model with other dimensions": (
        lambda run: [
            edit("model/config.json", '"num_hidden_layers": 2', '"num_hidden_layers": 1')(run),
            reseal(run),
        ],
        "model/config.json: found SHA-256",
    ),
    "another architecture, told consistently": (
        record("train.json", TrainRecord, architecture="Gemma2ForCausalLM"),
        "train.json: found Gemma2ForCausalLM, 639,616 parameters, expected GemmaForCausalLM",
    ),
    "a larger model than the saved one": (
        record("train.json", TrainRecord, parameters=2_506_172_416),
        "train.json: found GemmaForCausalLM, 2,506,172,416 parameters, expected GemmaForCausalLM",
    ),
    "more parameters than the files can hold": (
        record("train.json", TrainRecord, parameters=2_506_172_416),
        "download.json: found 1,281,352 bytes of weights, expected 5,012,344,832 at least",
    ),
    "a plan of another model": (
        lambda run: [
            edit("plan.json", '"parameters": 639616', '"parameters": 639617')(run),
            reseal(run),
        ],
        "plan.json: found GemmaForCausalLM, 639,617 parameters",
    ),
    "a description without a vocabulary": (
        lambda run: [edit("model/config.json", "vocab_size", "vocab")(run), reseal(run)],
        "model/config.json: found KeyError: 'vocab_size'",
    ),
    "a model swapped after training": (
        swapped,
        "the model was swapped after training",
    ),
    "a model swapped, and its digest with it": (
        swapped_and_told,
        "train.json, base_weights_sha256: found base weights",
    ),
    "a rehearsal renamed to production": (
        renamed,
        "the run did not keep to the locked decisions and does not say so",
    ),
    "a gate of one's own": (
        own_code,
        "code.sha256: found other code in 1 file: m43/harness/gates/gates.py",
    ),
    "a conftest of one's own": (
        own_conftest,
        "code.sha256: found other code in 1 file: acceptance/data/conftest.py",
    ),
    "a module of m43 that is in no list": (
        forge("train.imported.json", "m43/__init__.py", "m43/helper.py"),
        "train.imported.json: found m43/helper.py with SHA-256",
    ),
    "a package that was another in training than in evaluation": (
        forge("eval.imported.json", digest("jax"), digest("another jax")),
        "eval.imported.json: found site-packages/jax/__init__.py with SHA-256",
    ),
    "a rehearsal that compiled what only production compiles": (
        forge("eval.imported.json", "as found", "compiled for this run"),
        "eval.imported.json: found bytecode compiled for this run, expected as found",
    ),
    "another list of code": (
        edit("code.sha256", "a", "b"),
        "code.sha256: found SHA-256",
    ),
    "no list of code": (
        lambda run: [run.code.unlink(), reseal(run)],
        "code.sha256: found no file, expected the digest of every file that judged it",
    ),
    "a number in the HTML report": (
        edit("report.html", ALL, ONE_MORE),
        "reports.sha256: found a file",
    ),
    "a number in the HTML report, sealed again": (
        in_report(ALL, ONE_MORE),
        "report.html, character",
    ),
    "an answer in the HTML report, sealed again": (
        in_report("no idea", "an idea"),
        "report.html, character",
    ),
    "a curve in the HTML report, sealed again": (
        in_report("points=\"64.0,", "points=\"64.1,"),
        "report.html, character",
    ),
    "a script in the HTML report, sealed again": (
        in_report("</main>", "<script>alert(1)</script></main>"),
        "report.html, character",
    ),
    "another title of the HTML report, sealed again": (
        in_report("<title>m43 rehearsal", "<title>m43 production"),
        "report.html, character",
    ),
    "a test that failed in the HTML report alone": (
        pytest_said("Failed", "test_auth_moves_no_weights"),
        "report.html, the tests as pytest saw them: found test_auth_moves_no_weights Failed",
    ),
    "a test that nobody promised": (
        pytest_said("Passed", "test_the_moon_is_near"),
        "report.html, the tests as pytest saw them: found test_the_moon_is_near Passed",
    ),
    "markup in the words of a test": (tagged, "report.html, character"),
    "another line end in the seal": (
        lambda run: run.reports_seal.write_text(run.reports_seal.read_text().replace("\n", "\v")),
        "reports.sha256: found a file",
    ),
    "a report taken away": (cut_reports, "reports.sha256: found no such file"),
    "no seal of the reports": (
        remove("reports.sha256"),
        "reports.sha256: found no file, expected the digests of report.html and junit.xml",
    ),
    "another ledger": (
        record("opening.json", OpeningRecord, ledger_sha256=digest("another ledger")),
        "opening.json, ledger_sha256: found",
    ),
    "an earlier attempt counted away": (
        record(
            "opening.json",
            OpeningRecord,
            earlier_attempts=(
                EarlierAttempt(
                    run="rehearsal-1", kind="rehearsal", started_utc="2026-01-01T00:00:00.000Z"
                ),
            ),
        ),
        "opening.json, attempts_of_this_run: found 1 attempts under this name, expected 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_named(run: RunDir, lie: str) -> None:
    """Whatever was sealed again over it."""
    tell, named = LIES[lie]
    tell(run)

    assert named in found(run)


def test_a_production_run_may_name_its_differences_and_no_hub_of_its_own(tmp_path: Path) -> None:
    """What is disclosed is no lie; the documents then say so in their verdict."""
    run = write_good_run(tmp_path, "production", profile_differences=own_differences())

    assert found(run) == ""
    assert "under another contract" in run.summary.read_text(encoding="utf-8")


def disclosing(folder: Path, earlier: int) -> RunDir:
    """Write a run that discloses earlier attempts, with the ledger that tells of them."""
    attempts = tuple(
        EarlierAttempt(run=f"m42-{n}", kind="rehearsal", started_utc=f"2026-01-01T00:00:0{n}.000Z")
        for n in range(earlier)
    )
    run = write_good_run(folder, earlier_attempts=attempts)
    opening = read_record(run.opening, OpeningRecord)
    own = EarlierAttempt(run=opening.run, kind=opening.kind, started_utc=opening.started_utc)
    for each in (*attempts, own):
        ledger.append(
            folder / "attempts.jsonl", run=each.run, kind=each.kind, started_utc=each.started_utc
        )
    return run


def test_a_ledger_that_was_shortened_is_named(tmp_path: Path) -> None:
    """The run's opening remembers every line, so the first that is missing is known."""
    run = disclosing(tmp_path, 3)
    path = tmp_path / "attempts.jsonl"
    assert found(run) == ""

    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))

    assert "attempts.jsonl:3: found the end of the ledger" in found(run)
    assert "expected the attempt m42-2 of 2026-01-01T00:00:02.000Z" in found(run)


def test_a_ledger_made_again_without_an_attempt_is_named(tmp_path: Path) -> None:
    """Whole and well chained, and yet not the one that the run was entered in."""
    run = disclosing(tmp_path, 3)
    path = tmp_path / "attempts.jsonl"
    first, *others = ledger.read(path)
    path.unlink()
    for each in (first, others[-1]):
        ledger.append(path, run=each.run, kind=each.kind, started_utc=each.started_utc)

    assert "attempts.jsonl:2: found the attempt rehearsal-1" in found(run)


def test_a_ledger_of_another_machine_says_nothing(tmp_path: Path) -> None:
    """A folder that was handed on may lie beside other runs; a broken ledger is told anyhow."""
    run = disclosing(tmp_path, 1)
    path = tmp_path / "attempts.jsonl"
    path.unlink()
    ledger.append(path, run="other", kind="rehearsal", started_utc="2026-01-05T00:00:00.000Z")
    assert found(run) == ""

    path.write_bytes(path.read_bytes().replace(b"other", b"0ther"))
    assert "attempts.jsonl:1: found the seal" in found(run)


def test_a_folder_without_its_weights_is_verified_when_that_is_said(run: RunDir) -> None:
    """Weights are large; what is missing beside them is still missed."""
    (run.model / "model.safetensors").unlink()
    assert "model.safetensors: found no file" in found(run)
    assert verify(run.path, REPOSITORY, without_weights=True) == ()

    (run.model / "config.json").unlink()
    problems = verify(run.path, REPOSITORY, without_weights=True)
    assert any(problem.where.endswith("model/config.json") for problem in problems)


def test_weights_pinned_by_their_git_blob_are_not_compared(run: RunDir) -> None:
    """From a SHA-1 no SHA-256 follows; training compared the bytes itself."""
    for name in ("auth.json", "download.json"):
        text = (run.path / name).read_text(encoding="utf-8")
        (run.path / name).write_text(text.replace('"sha256"', '"git-sha1"'))
    (own,) = read_record(run.train, TrainRecord).processes
    other = {"base_weights_sha256": digest("other")}
    record("train.json", TrainRecord, **other, processes=(replace(own, **other),))(run)
    record("eval.json", EvaluationRecord, **other)(run)

    assert "base_weights_sha256" not in found(run)
    assert "records do not keep it" in found(run)  # the promise of the digest, which is not told


def test_a_run_that_was_interrupted_may_have_no_seal_of_its_reports(tmp_path: Path) -> None:
    """SIGKILL leaves a report and no time to seal it; what is sealed must still fit."""
    run = stop_at(tmp_path, "venv", lambda run: None, failure_class="no venv")
    run.reports_seal.unlink()
    assert "reports.sha256: found no file" in found(run)

    entries(
        lambda lines: [
            *lines[:-2],
            {**lines[-1], "event": "interrupted", "detail": "SIGTERM"},
            *lines[-2:],
        ]
    )(run)
    assert "reports.sha256" not in found(run)

    seal_reports(run)
    run.report.write_text("ACCEPTED")
    assert "reports.sha256: found a file" in found(run)


def test_a_page_without_a_seal_is_not_believed_for_being_old(tmp_path: Path) -> None:
    """A kill leaves no seal and a page of an earlier gate, and so does somebody who cheats."""
    run = stop_at(tmp_path, "venv", lambda run: None, failure_class="no venv")
    entries(
        lambda lines: [
            *lines[:-2],
            {**lines[-3], "event": "interrupted", "detail": "x", "name": "", "gate": ""},
            *lines[-2:],
        ]
    )(run)
    reseal(run)
    assert found(run) == ""

    run.reports_seal.unlink()
    assert found(run) == ""
    edit("report.html", "NOT ACCEPTED", "ACCEPTED")(run)
    assert "report.html, character" in found(run)
    run.report.write_text("<h1>ACCEPTED</h1>")
    assert "report.html: found a page that was not drawn at the end" in found(run)


def test_what_pytest_said_of_the_tests_is_believed_where_the_journal_agrees(run: RunDir) -> None:
    """Its words are text, whatever they are; of hostile ones as well."""
    said = "<script>\u202e</td></tr>`|&amp;\n\x1b[31m  two  lines "
    pytest_said("Passed", "test_auth_moves_no_weights", said)(run)

    assert found(run) == ""
    assert "&lt;script&gt;" in run.report.read_text(encoding="utf-8")


def test_a_folder_made_by_hand_is_not_found_out(good: RunDir) -> None:
    """Nothing was trained for this one, and it verifies: an unsigned folder cannot exclude that.

    So its own documents have to say it.
    """
    assert found(good) == ""
    text = good.summary.read_text(encoding="utf-8")
    assert "by hand from the documented" in text
    assert hashlib.sha256(WEIGHTS).hexdigest() in good.manifest.read_text()
