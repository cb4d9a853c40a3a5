"""The run folder as a folder: one answer for whatever lies in it, and none that waits for ever."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from m43.__main__ import main
from m43.evidence.documents import not_excluded
from m43.evidence.verify import folder
from m43.evidence.verify.claims import examine
from m43.records.run_dir import RunDir
from tests.unit.evidence.good_records import REPOSITORY
from tests.unit.evidence.good_run import PROMISES, stop_at, write_good_run
from tests.unit.evidence.tampering import Change, found, reseal

COUNT = len(PROMISES)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("folder"))


@pytest.fixture
def run(good: RunDir, tmp_path: Path) -> RunDir:
    """A copy of it, to be changed."""
    return RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))


def pipe(run: RunDir) -> None:
    """Put a pipe that nobody writes to where a log was."""
    run.log("train").unlink()
    os.mkfifo(run.log("train"))


def holes(run: RunDir) -> None:
    """Make a log of 2 TB that takes no room."""
    with run.log("train").open("r+b") as file:
        file.truncate(2 << 40)


def deep(run: RunDir) -> None:
    """Put 300 folders into each other."""
    path = run.model
    for _ in range(300):
        path /= "d"
        path.mkdir()
    (path / "x").write_text("x")


def link(run: RunDir) -> None:
    """Lead to a device that has no end."""
    run.vitals.symlink_to("/dev/zero")


def listener(run: RunDir) -> None:
    """Put a socket there; its name may not be long."""
    here = Path.cwd()
    os.chdir(run.path)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("s")
    finally:
        os.chdir(here)


def crowded(run: RunDir) -> None:
    """Put more names there than any run leaves."""
    for number in range(10_001):
        (run.model / f"{number}").touch()


UNREADABLE: dict[str, tuple[Change, str]] = {
    "a named pipe": (pipe, "training_log.txt: found a named pipe"),
    "a sparse log of 2 TB": (holes, "training_log.txt: found 2,199,023,255,552 bytes"),
    "folders 300 deep": (deep, "found a folder 3 deep, expected model and adapter alone"),
    "a link to a device": (link, "vitals.json: found a link"),
    "a socket": (listener, "s: found a socket"),
    "ten thousand names": (crowded, "found more than 10,000 names"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_is_named_and_nothing_else_is_looked_at(
    run: RunDir, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One answer, by names and sizes alone: no byte of the folder is read."""
    change, named = UNREADABLE[what]
    change(run)

    status = main(["verify", str(run.path)])

    lines = capsys.readouterr().out.splitlines()
    assert status == 1
    assert lines[0] == f"{run.path}: NOT VERIFIED, no verdict: it could not be read, see below"
    assert any(named in line for line in lines[1:])
    assert "nothing of this folder was read" in lines[1]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", UNREADABLE)
def test_every_command_refuses_in_a_sentence_what_cannot_be_read(
    good: RunDir, run: RunDir, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """None waits, none ends in a traceback, and nothing is written."""
    change, named = UNREADABLE[what]
    change(run)
    before = {path.name: path.lstat().st_ctime_ns for path in run.path.iterdir()}
    key = tmp_path / "key"
    key.touch()

    calls = (["render"], ["compare", str(good.path)], ["seal", "--key", str(key)])
    for words in calls:
        status = main([*words, str(run.path)])
        told = capsys.readouterr()
        assert status in (1, 2)
        assert named in told.out + told.err
    assert {path.name: path.lstat().st_ctime_ns for path in run.path.iterdir()} == before


def test_what_python_compiled_for_a_run_that_goes_on_keeps_no_command_away(run: RunDir) -> None:
    """A run that was cut off leaves it, folders deep, and is closed all the same."""
    (run.bytecode / "usr" / "lib" / "python3.11").mkdir(parents=True)
    assert folder.unreadable(run) == ()


def unfinished(run: RunDir) -> None:
    """Leave a file under a name as those have that are being written."""
    (run.path / ".report.html.abcd1234").write_text("ACCEPTED")


def empty(run: RunDir) -> None:
    """Leave a folder with nothing in it."""
    run.adapter.mkdir()


def more(name: str) -> Change:
    """Leave a file that no table knows, and seal everything again."""

    def change(run: RunDir) -> None:
        (run.path / name).write_text("{}")
        reseal(run)

    return change


def exchanged(run: RunDir) -> None:
    """Make a folder where a file belongs."""
    run.vitals.mkdir()
    (run.vitals / "x").write_text("x")


STRANGE: dict[str, tuple[Change, str]] = {
    "an unfinished name": (unfinished, ".report.html.abcd1234: found a file under a name as"),
    "an empty folder": (empty, "adapter: found an empty folder"),
    "a file that no table knows": (more("notes.json"), "notes.json: found an unknown file"),
    "a file of no model": (more("model/plugin.py"), "model/plugin.py: found an unknown file"),
    "a folder that is no file": (exchanged, "vitals.json: found a folder, expected a file"),
}


@pytest.mark.parametrize("what", STRANGE)
def test_what_follows_from_no_record_is_named(run: RunDir, what: str) -> None:
    """Also when it was sealed like everything else."""
    change, named = STRANGE[what]
    change(run)

    assert named in found(run)


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/stdin", "/proc/kcore", "/" + "x" * 5000])
@pytest.mark.timeout(60)
def test_a_profile_that_names_a_device_is_not_read_there(run: RunDir, place: str) -> None:
    """The rows are those of this checkout; a place that is no file of rows has none."""
    for name in ("train", "evaluation"):
        text = run.profile.read_text()
        honest = str(getattr(run.read_profile().data, name))
        run.profile.write_text(text.replace(honest, place))

    assert "expected the evaluation file of this run" in found(run)


def test_rows_of_more_than_any_file_has_are_not_read(run: RunDir, tmp_path: Path) -> None:
    """A file with holes has a size, and no end that anybody would wait for."""
    rows = tmp_path / "rows.jsonl"
    with rows.open("wb") as file:
        file.truncate(2 << 40)
    profile = run.read_profile()
    text = run.profile.read_text().replace(str(profile.data.evaluation), str(rows))
    run.profile.write_text(text)

    assert "rows.jsonl" in found(run)


def _no_venv(run: RunDir) -> None:
    del run


def test_the_verdict_is_said_first_and_a_failed_run_never_reads_as_success(
    tmp_path: Path, good: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 0 for a run that was accepted alone; 3 for one that was not, and says so."""
    stopped = stop_at(tmp_path, "venv", _no_venv, failure_class="no venv")

    assert main(["verify", str(stopped.path)]) == 3
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{stopped.path}: NOT ACCEPTED (rehearsal): at gate 2 of 4 (venv): ")
    assert (
        last == f"{stopped.path}: the records support this account of a run that was NOT ACCEPTED"
    )

    assert main(["verify", str(good.path)]) == 0
    first, signed, *told, last = capsys.readouterr().out.splitlines()
    assert first == (
        f"{good.path}: ACCEPTED (rehearsal): every promise of the contract was kept, "
        f"{COUNT} of {COUNT}"
    )
    assert signed.startswith("not signed; what the folder alone does not exclude, and what would")
    possible = [line for line in told if not line.startswith("witness  ")]
    assert possible == [f"  {line}" for line in not_excluded()]
    assert len(possible) <= 12
    assert max(map(len, possible)) <= 110
    assert last.endswith("every claim of this folder is supported by its records")


def test_weights_that_are_not_there_are_named_and_no_claim_about_them_is_made(
    tmp_path: Path, good: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    """The flag alone leaves nothing out: weights that are there are held against the records."""
    run = Path(shutil.copytree(good.path, tmp_path / good.path.name))
    flagged = ["verify", "--without-weights", str(run)]
    assert main(flagged) == 0
    whole = capsys.readouterr().out
    assert "weights were" not in whole
    assert "without its weights" not in whole

    (run / "model" / "model.safetensors").unlink()
    assert main(flagged) == 0
    _, told, *_, last = capsys.readouterr().out.splitlines()
    assert told == (
        f"{run}: handed on without its weights: nothing that it says of model/model.safetensors "
        "was held against the file"
    )
    assert last == (
        f"{run}: every claim of this folder is supported by its records; its weights were not "
        "there to be held against them"
    )


def test_a_failed_run_with_the_reports_of_an_accepted_one_is_named(
    tmp_path: Path, good: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    """report.html is what the judge looks at: its seal written anew, it is not believed."""
    stopped = stop_at(tmp_path, "auth", _no_venv, failure_class="no token")
    for name in ("report.html", "junit.xml"):
        shutil.copy(good.path / name, stopped.path / name)
    shutil.copy(good.reports_seal, stopped.reports_seal)

    assert main(["verify", str(stopped.path)]) == 1
    told = capsys.readouterr().out
    assert told.startswith(
        f"{stopped.path}: NOT VERIFIED, its records as they lie say NOT ACCEPTED (rehearsal)"
    )
    assert "report.html, character" in told
    assert "junit.xml: found acceptance.test_production, test_auth_" in told
    assert "every claim" not in told


def in_junit(old: str, new: str) -> Change:
    """Change junit.xml, and seal it again."""

    def change(run: RunDir) -> None:
        text = run.junit.read_text()
        assert old in text
        run.junit.write_text(text.replace(old, new, 1))
        reseal(run)

    return change


def drop_first_test(run: RunDir) -> None:
    """Leave the first test out, and count what is left."""
    text = run.junit.read_text()
    start = text.index("<testcase ")
    stop = text.index("</testcase>") + len("</testcase>")
    run.junit.write_text(
        text[:start] + text[stop:].replace(f'tests="{COUNT}"', f'tests="{COUNT - 1}"')
    )
    reseal(run)


NAME = "test_auth_moves_no_weights"
JUNIT: dict[str, tuple[Change, str]] = {
    "a test that nobody promised": (
        in_junit(NAME, "test_moon"),
        f"found {COUNT} tests, expected the {COUNT} of the contract, once",
    ),
    "a test left out": (drop_first_test, f"found {COUNT - 1} tests"),
    "a failure that is none": (
        in_junit('time="0.000"></testcase>', 'time="0.000"><failure>x</failure></testcase>'),
        "failed, expected acceptance.test_production, passed",
    ),
    "another count": (in_junit('failures="0"', 'failures="1"'), "found failures '1'"),
    "tests of another file": (
        in_junit("acceptance.test_production", "x.y"),
        "found x.y, test_auth",
    ),
    "a gate in no time": (
        in_junit('time="1.250"', 'time="0.010"'),
        "0.010 s for the tests of auth",
    ),
    "another day": (in_junit('timestamp="2026', 'timestamp="2027'), "the time '2027"),
    "words of nobody": (
        in_junit('time="0.000"></testcase>', 'time="0.000"><system-out>x</system-out></testcase>'),
        "found <system-out> in a test",
    ),
    "a property": (
        in_junit("<testcase ", "<properties></properties><testcase "),
        "found <properties> beside the tests",
    ),
    "no XML": (in_junit("</testsuites>", ""), "junit.xml: found ParseError"),
    "entities": (
        in_junit("<testsuites", "<!DOCTYPE x []><testsuites"),
        "found <none> with 0 suites",
    ),
    "time that is none": (in_junit('time="1.250"', 'time="nan"'), "tests of inf s"),
}


@pytest.mark.parametrize("what", JUNIT)
def test_junit_says_what_the_journal_says(run: RunDir, what: str) -> None:
    """Names, outcomes, counts and seconds; sealed again, it is held against the journal."""
    change, named = JUNIT[what]
    change(run)

    assert named in found(run)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    """Taken away meanwhile, say."""
    (problem,) = folder.unreadable(RunDir(tmp_path / "gone"))
    assert "FileNotFoundError" in problem.found


def test_an_examination_carries_verdict_reason_and_problems(good: RunDir) -> None:
    """What the command prints is worked out where the records are."""
    findings = examine(good.path, REPOSITORY)
    assert findings.accepted
    assert findings.verdict == "ACCEPTED (rehearsal)"
    assert findings.problems == ()
