"""Whole runs of pytest in a copy of the repository, with a child that takes a moment."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from m43.errors import FailureClass
from m43.evidence.journal import witness_lines
from m43.evidence.run import load_run
from m43.evidence.verify.claims import examine
from m43.records.gates import STAGES
from m43.records.run_dir import RunDir
from tests.unit.evidence.good_run import PROMISES
from tests.unit.harness.conftest import TOKEN
from tests.unit.harness.copied_tree import CopiedTree

CORRUPT = FailureClass.DOWNLOAD_CORRUPT.value


def behind(gate: str) -> int:
    """Count the promises of later gates."""
    place = STAGES.index(gate)
    return sum(STAGES.index(promise.gate) > place for promise in PROMISES)


def the_run(tree: CopiedTree) -> Path:
    """Give the one run folder that there is."""
    (run,) = (path for path in tree.runs.iterdir() if path.is_dir())
    return run


def events(run: Path) -> list[tuple[str, str, str]]:
    """Read event, gate and failure class of every entry of the journal."""
    entries = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    return [(entry["event"], entry["gate"], entry["failure_class"]) for entry in entries]


def page_problems(tree: CopiedTree, run: Path) -> list[str]:
    """Verify the page of a run as somebody far away does: another time zone, no locale."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from m43.evidence.verify.claims import verify\n"
        "print(*verify(Path(sys.argv[1]), Path(sys.argv[2])), sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(run), str(tree.root)],
        env={"TZ": "Pacific/Kiritimati", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    return [each for each in done.stdout.splitlines() if "report" in each or "svg" in each]


def test_a_good_rehearsal_is_accepted_and_leaves_the_summary(copied_tree: CopiedTree) -> None:
    """Every promise kept, one closing document, both reports, exit status 0."""
    result = copied_tree.pytest("acceptance", "-m", "rehearsal")
    run = the_run(copied_tree)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "ACCEPTED (rehearsal)" in result.stdout
    assert f"{len(PROMISES)} passed" in result.stdout
    lines = result.stdout.splitlines()
    assert f"{sum(line.startswith('  kept     ') for line in lines)} passed" in result.stdout
    assert lines[-1] == f"  check     {sys.executable} -m m43 verify submission_runs/{run.name}"
    assert result.stdout.isascii()
    assert "\x1b" not in result.stdout
    assert (run / "m43_summary.md").exists()
    assert not (run / "failure_analysis.md").exists()
    assert events(run)[-1][0] == "closed"
    assert "  model/README.md\n" in (run / "MANIFEST.sha256").read_text()
    page = (run / "report.html").read_text()
    assert "REHEARSAL" in page
    assert "<svg" in page
    assert page.count('"outcome">passed</td>') == len(PROMISES)
    assert page_problems(copied_tree, run) == []
    suite = ET.parse(run / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == (
        str(len(PROMISES)),
        "0",
        "0",
    )


def test_a_run_gives_its_first_witness_before_it_trains(copied_tree: CopiedTree) -> None:
    """Once, whole, behind the gates that have closed and before a word of the training."""
    result = copied_tree.pytest("acceptance", "-m", "rehearsal")
    run = RunDir(the_run(copied_tree))
    entries = load_run(run).entries
    (line, _) = witness_lines(run, entries)
    lines = [" ".join(each.split()) for each in result.stdout.splitlines()]
    (place,) = (number for number, each in enumerate(lines) if each.startswith("witness "))
    assert lines[place] == f"witness {line}"
    assert lines[place - 2].startswith("venv: ")
    assert lines[place + 2].startswith("Gate 3 of 4: train-300")
    # The entry whose digest it holds is the last before the gate: what follows it cannot be in it.
    opened = next(n for n, each in enumerate(entries) if each.gate == "train-300")
    assert entries[opened - 1].sha256 in line


def test_another_hub_by_a_variable_is_told_at_the_top(copied_tree: CopiedTree) -> None:
    """On the terminal, in the document and by verify: the contract names the usual one."""
    named = "https://mirror.example"
    result = copied_tree.pytest("acceptance", "-m", "production", HF_ENDPOINT=named)
    run = RunDir(the_run(copied_tree))
    line = f"hub.endpoint: '{named}' instead of 'default'"
    assert result.returncode == 1
    assert run.read_profile().hub.endpoint == named
    first = run.failure_analysis.read_text(encoding="utf-8").partition("## ")[0]
    for text in (result.stdout, first):
        assert line in " ".join(text.split())
    found = examine(run.path, copied_tree.root)
    assert found.contract[1:] == (line,)
    # Nothing was asked, and all that was written follows from the records.
    assert found.problems == ()


def test_a_run_without_a_token_stops_at_auth_and_says_so_everywhere(
    copied_tree: CopiedTree,
) -> None:
    """Exit status 1; the other gates are NOT RUN in the terminal, in HTML and in JUnit."""
    result = copied_tree.pytest("acceptance", "-m", "production")
    run = the_run(copied_tree)
    assert run.name == "m43_v1"
    assert result.returncode == 1
    assert "NOT ACCEPTED" in result.stdout
    assert f"{behind('auth')} not run" in result.stdout
    lines = result.stdout.splitlines()
    states = [line.split("  ")[1] for line in lines if re.match("  (kept|BROKEN|NOT RUN) ", line)]
    first = ["kept", *["BROKEN"] * 6, "kept", "kept"]
    assert states == [*first, *["NOT RUN"] * (len(states) - len(first))]
    assert f"{states.count('NOT RUN')} not run" in result.stdout
    assert "FAILED acceptance/test_production.py::test_auth_finds_the_token_in_hf" in result.stdout
    assert lines[-3].endswith("submission_runs/m43_v1/failure_analysis.md")
    assert "no token" in (run / "failure_analysis.md").read_text()
    assert not (run / "m43_summary.md").exists()
    assert (run / "report.html").read_text().count('"outcome">NOT RUN: ') == behind("auth")
    assert page_problems(copied_tree, run) == []
    skipped = ET.parse(run / "junit.xml").getroot().findall(".//skipped")
    assert len(skipped) == behind("auth")
    assert all(str(node.get("message")).startswith("NOT RUN: ") for node in skipped)


def test_a_run_without_a_token_loads_neither_jax_nor_the_hub_and_is_quick(
    copied_tree: CopiedTree,
) -> None:
    """What is not needed is not imported; it computes under eight times what collecting takes."""
    arguments = copied_tree.command("acceptance", "-m", "production")
    copied_tree.pytest("acceptance", "--collect-only", "-q")  # compiles the copy's modules
    before = _computed_s()
    copied_tree.pytest("acceptance", "--collect-only", "-q")
    collecting_s, before = _computed_s() - before, _computed_s()
    result = subprocess.run(
        [arguments[0], "-X", "importtime", *arguments[1:]],
        cwd=copied_tree.root,
        env=copied_tree.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    spent_s = _computed_s() - before
    loaded = set(re.findall(r"\| +([\w.]+)$", result.stderr, flags=re.MULTILINE))
    assert result.returncode == 1
    assert "m43.harness.plugin.reporting" in loaded
    assert not loaded & {"jax", "flax", "huggingface_hub", "transformers", "rich"}
    # What it computes, not how long it waits: these tests share their machine with others.
    assert spent_s < 8 * collecting_s


def _computed_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_second_run_under_the_same_name_is_refused(copied_tree: CopiedTree) -> None:
    """One attempt per folder: the second call says why, and changes nothing."""
    copied_tree.pytest("acceptance", "-m", "production")
    before = {path: path.read_bytes() for path in copied_tree.runs.rglob("*") if path.is_file()}
    result = copied_tree.pytest("acceptance", "-m", "production")
    after = {path: path.read_bytes() for path in copied_tree.runs.rglob("*") if path.is_file()}
    assert result.returncode == 4
    assert "an earlier attempt" in result.stderr
    assert "    read it      submission_runs/m43_v1/failure_analysis.md\n" in result.stderr
    assert "-m m43 verify submission_runs/m43_v1\n" in result.stderr
    assert "pytest acceptance -m production --m43-run m43_v2\n" in result.stderr
    assert after == before


@pytest.mark.parametrize(
    ("how", "gate", "failure_class", "not_run"),
    [
        ("package missing", "venv", "", behind("venv")),
        ("plan does not fit", "venv", "", behind("venv")),
        ("non-finite", "train-300", "non-finite loss", behind("venv")),
        ("299", "train-300", "", behind("train-300")),
        ("99 rows", "eval", "", behind("eval")),
        ("stray train", "train-300", "", behind("train-300")),
        ("stray evaluate", "eval", "", behind("eval")),
        ("exchange train", "train-300", CORRUPT, behind("venv")),
        ("exchange evaluate", "eval", CORRUPT, behind("train-300")),
        ("touch", "closing", "", 0),
    ],
)
def test_one_thing_wrong_stops_at_its_gate(
    copied_tree: CopiedTree, how: str, gate: str, failure_class: str, not_run: int
) -> None:
    """The first bad entry of the journal names the gate, and what lies behind it is NOT RUN."""
    copied_tree.misbehave(how)
    result = copied_tree.pytest("acceptance", "-m", "rehearsal")
    run = the_run(copied_tree)
    bad = [event for event in events(run) if event[0] in ("gate_stopped", "promise_broken")]
    assert result.returncode == 1, result.stdout + result.stderr
    assert bad[0][1:] == (gate, failure_class)
    assert "During handling" not in result.stdout
    assert len([event for event in events(run) if event[0] == "promise_not_run"]) == not_run
    assert (run / "failure_analysis.md").exists()
    assert not (run / "m43_summary.md").exists()
    assert (run / "MANIFEST.sha256").exists()
    assert page_problems(copied_tree, run) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_in_order(copied_tree: CopiedTree, number: signal.Signals) -> None:
    """The child's group dies, the journal says what came, the document is written."""
    copied_tree.misbehave("hang")
    process = begun(copied_tree)
    try:
        beat = wait_for_beat(copied_tree)
        process.send_signal(number)
        output, _ = process.communicate(timeout=40)
    finally:
        process.kill()
    run = beat.parent
    record = json.loads((run / "train.process.json").read_text())
    entries = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    (interrupted,) = (entry for entry in entries if entry["event"] == "interrupted")
    assert process.returncode == 2, output
    assert record["ended_by_parent"] == "interrupt"
    assert interrupted["detail"] == number.name
    assert entries[-1]["event"] == "closed"
    assert "interrupted" in (run / "failure_analysis.md").read_text()
    assert page_problems(copied_tree, run) == []
    assert not survivors(run)


def begun(tree: CopiedTree, **variables: str) -> subprocess.Popen[str]:
    """Start a rehearsal."""
    return subprocess.Popen(
        tree.command("acceptance", "-m", "rehearsal"),
        cwd=tree.root,
        env=tree.environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_run_shows_its_neighbours_no_secret_and_dumps_no_memory(copied_tree: CopiedTree) -> None:
    """Before its first child: the kernel tells others what a process was given at its start."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    process = begun(copied_tree, HF_TOKEN=TOKEN, COPY=f"x{TOKEN}", NOTE="no secret")
    try:
        while process.poll() is None and not list(copied_tree.runs.glob("*/journal.jsonl")):
            time.sleep(0.001)
        told = [Path("/proc", str(process.pid), name).read_text() for name in ("environ", "limits")]
        process.terminate()
        output, _ = process.communicate(timeout=40)
    finally:
        process.kill()
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    assert "NOTE=no secret\0" in told[0]
    assert TOKEN not in told[0] + output
    assert re.search(r"Max core file size +0 ", told[1])
    files = [path for path in the_run(copied_tree).rglob("*") if path.is_file()]
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]


def test_a_run_that_is_stopped_itself_calls_no_child_silent_and_says_so(
    copied_tree: CopiedTree,
) -> None:
    """By SIGSTOP, for longer than a child may be silent: what took so long was m43."""
    profile = copied_tree.root / "acceptance" / "rehearsal.toml"
    silent, text = "silence_s = 180.0", profile.read_text()
    assert silent in text
    profile.write_text(text.replace(silent, "silence_s = 5.0"))
    copied_tree.misbehave("silent")
    process = begun(copied_tree)
    try:
        run = wait_for_beat(copied_tree).parent
        process.send_signal(signal.SIGSTOP)
        time.sleep(6.0)
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    record = json.loads((run / "train.process.json").read_text())
    assert process.returncode == 0, output
    assert record["ended_by_parent"] == "no"
    assert 5.9 <= record["unwatched_s"] <= record["duration_s"]
    stood = f"m43 itself stood still for {record['unwatched_s']:.1f} s of that"
    assert stood in (run / "m43_summary.md").read_text()


def wait_for_beat(tree: CopiedTree) -> Path:
    """Wait until the training child is at work."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        beats = list(tree.runs.glob("*/train.heartbeat.json"))
        if beats:
            time.sleep(0.3)
            return beats[0]
        time.sleep(0.05)
    raise AssertionError("the child never began")


def survivors(run: Path) -> list[str]:
    """List the processes that still have this run's folder in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if str(run).encode() in command:
            found.append(folder.name)
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ("acceptance",),
        ("acceptance", "-m", "production", "-k", "auth"),
        ("acceptance/test_production.py::test_auth_moves_no_weights", "-m", "rehearsal"),
        ("acceptance", "-m", "rehearsal", "-p", "no:html"),
        ("acceptance", "-m", "rehearsal", "-o", "python_functions=test_auth_*"),
    ],
)
def test_a_call_that_is_not_the_contract_is_refused_without_a_trace(
    copied_tree: CopiedTree, arguments: tuple[str, ...]
) -> None:
    """Usage error before the first gate; submission_runs does not even come to be."""
    result = copied_tree.pytest(*arguments)
    assert result.returncode == 4, result.stdout + result.stderr
    assert "m43 does not begin this run" in result.stderr
    assert not copied_tree.runs.exists()


@pytest.mark.parametrize("option", ["--collect-only", "--fixtures", "--setup-plan"])
def test_a_call_that_only_looks_leaves_no_trace(copied_tree: CopiedTree, option: str) -> None:
    """Looking is free: no folder, no ledger, no refusal."""
    result = copied_tree.pytest("acceptance", option, "-q")
    assert result.returncode == 0, result.stdout + result.stderr
    assert not copied_tree.runs.exists()


def test_a_call_that_asks_what_is_refused_begins_no_run(copied_tree: CopiedTree) -> None:
    """By itself, without another option that only looks."""
    result = copied_tree.pytest("acceptance", "-m", "rehearsal", "--m43-look", "-q")
    assert result.returncode == 0, result.stdout + result.stderr
    assert not copied_tree.runs.exists()
