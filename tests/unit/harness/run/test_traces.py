"""What a run writes into the checkout by configuration is known before it begins, and no more."""

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from m43.harness.run import traces
from m43.harness.run.traces import Trace, meets, own_traces
from m43.records import profile_check
from m43.records.profile import Profile
from tests.unit.harness.conftest import REPOSITORY


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a checkout."""
    for name in ("m43/a.py", "acceptance/data/train.jsonl", "submission_runs/m42/summary.md"):
        path = tmp_path / "checkout" / name
        path.parent.mkdir(parents=True)
        path.write_text("first")
    return tmp_path / "checkout"


@pytest.fixture
def production() -> Profile:
    """Load a profile whose hub is outside."""
    return profile_check.load(REPOSITORY / "acceptance" / "production.toml")


def named(root: Path, profile: Profile, **variables: str) -> dict[str, str]:
    """Give what is left out, by path, in an environment."""
    environment = {"HOME": "/nowhere", **variables}
    found = own_traces(environment, root, profile)
    return {trace.within(root): trace.of for trace in found}


HUBS = {
    "hub": "the Hugging Face cache",
    "xet": "the cache of hf_xet",
    "datasets": "the cache of datasets",
    ".agent_harnesses.json": "a list that huggingface_hub keeps",
    "m43-compiled": "compiled programs of rehearsals",
}


@pytest.mark.parametrize(
    ("variable", "value", "paths"),
    [
        ("HF_HOME", ".hf", {f".hf/{name}": of for name, of in HUBS.items()}),
        ("XDG_CACHE_HOME", "c", {f"c/huggingface/{name}": of for name, of in HUBS.items()}),
        ("HF_HUB_CACHE", "cache", {"cache": HUBS["hub"]}),
        ("HF_XET_CACHE", "x", {"x": HUBS["xet"]}),
        ("HF_DATASETS_CACHE", "d", {"d": HUBS["datasets"]}),
        ("CUDA_CACHE_PATH", "nv", {"nv": "programs that the CUDA driver compiled"}),
        ("HF_HOME", "../hf", {}),
        ("HF_HUB_CACHE", "..", {}),
        ("HF_HUB_CACHE", "", {".": HUBS["hub"]}),
        ("HF_HUB_CACHE", "link/hub", {"real/hub": HUBS["hub"]}),
    ],
)
def test_a_cache_in_the_checkout_is_left_out_and_nothing_wider(
    root: Path,
    production: Profile,
    variable: str,
    value: str,
    paths: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The folders in use, not the home around them; links are followed to where the bytes go."""
    monkeypatch.chdir(root)
    (root / "real").mkdir()
    (root / "link").symlink_to("real")
    assert named(root, production, **{variable: value}) == paths


def test_the_cache_of_a_rehearsals_own_hub_is_no_cache_of_the_engineers(
    root: Path, production: Profile
) -> None:
    """It writes nothing there, so nothing there is left out."""
    own = replace(production, hub=replace(production.hub, endpoint="loopback"))
    assert named(root, own, HF_HOME=str(root / ".hf")) == {}


def test_temporary_files_in_the_checkout_are_left_out(
    root: Path, production: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Python puts them, by whichever variable."""
    monkeypatch.setattr(tempfile, "tempdir", str(root / "tmp"))
    assert named(root, production) == {"tmp": "temporary files"}
    monkeypatch.setattr(tempfile, "tempdir", str(root))
    assert named(root, production) == {".": "temporary files"}


def test_compiled_python_in_the_checkout_is_left_out(
    root: Path, production: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PYTHONPYCACHEPREFIX: what is imported in the middle of a run is compiled into it."""
    monkeypatch.setattr(sys, "pycache_prefix", str(root / ".pyc"))
    assert named(root, production) == {".pyc": "compiled Python"}


OUTPUT = "a file that a command of this session writes"


@pytest.mark.parametrize(
    "command",
    [
        "exec {python} {script} >> run.log",
        "exec {python} {script} 2> run.log",
        "{python} {script} | tee run.log",
        "sleep 9 > run.log & {python} {script}; kill $!",
        "exec 7> run.log; {python} {script} 7>&-",
    ],
)
def test_the_file_that_the_output_goes_into_is_known(root: Path, command: str) -> None:
    """Redirected, through tee, of another job of the terminal, or of the shell above."""
    script = root.parent / "script.py"
    script.write_text(
        "import time; from pathlib import Path; from m43.records import profile_check as config\n"
        "from m43.harness.run.traces import own_traces\n"
        f"profile = config.load(Path({str(REPOSITORY)!r}) / 'acceptance' / 'rehearsal.toml')\n"
        "time.sleep(0.2)\n"
        f"found = own_traces({{'HOME': '/nowhere'}}, Path({str(root)!r}), profile)\n"
        "text = repr([(trace.of, trace.path.name) for trace in found])\n"
        f"Path({str(root.parent / 'found')!r}).write_text(text)\n"
    )
    (root / "read.txt").write_text("")
    text = command.format(python=sys.executable, script=script)
    with (root / "read.txt").open() as only_read:
        subprocess.run(
            ["bash", "-c", text],
            cwd=root,
            stdin=only_read,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            start_new_session=True,
            check=False,
            timeout=60,
        )
    assert (root.parent / "found").read_text() == repr([(OUTPUT, "run.log")])


# Numbers that no process here has: Linux gives at most 4194304 (proc(5), pid_max).
INIT, OTHER, STRANGER, SHELL, JOB = "5000001", "5000005", "5000006", "5000007", "5000008"


@pytest.fixture
def processes(tmp_path: Path) -> Path:
    """Make a table of processes, as the kernel shows it."""
    folder = tmp_path / "proc"
    mine = str(os.getpid())
    rows = (
        (INIT, "0", INIT),
        (SHELL, INIT, SHELL),
        (mine, SHELL, "9"),
        (JOB, INIT, "9"),
        (OTHER, INIT, OTHER),
    )
    for name, parent, session in rows:
        for kind in ("fd", "fdinfo"):
            (folder / name / kind).mkdir(parents=True)
        (folder / name / "stat").write_text(f"{name} (a ) b) S {parent} {name} {session} 0 -1")
    return folder


def opened(processes: Path, process: str, path: Path, flags: str = "0100001") -> None:
    """Let a process have a file open."""
    number = str(len(list((processes / process / "fd").iterdir())))
    (processes / process / "fd" / number).symlink_to(path)
    (processes / process / "fdinfo" / number).write_text(f"pos:\t0\nflags:\t{flags}\nmnt_id:\t1\n")


def test_only_files_of_this_session_and_of_its_origin_are_seen(root: Path, processes: Path) -> None:
    """Another terminal's are its own; one that is only read, or gone, does not grow."""
    for name in ("mine", "shell", "init", "job", "other", "read", "both"):
        (root / name).write_text("")
    opened(processes, str(os.getpid()), root / "mine")
    opened(processes, SHELL, root / "shell")
    opened(processes, INIT, root / "init")
    opened(processes, JOB, root / "job")
    opened(processes, JOB, root / "read", flags="0100000")
    opened(processes, JOB, root / "both", flags="0100002")
    opened(processes, JOB, root / "removed (deleted)")
    opened(processes, JOB, Path("pipe:[12]"))
    opened(processes, OTHER, root / "other")
    found = sorted(path.name for path in traces._open_files(processes))
    assert found == ["both", "init", "job", "mine", "shell"]


def test_a_process_that_ends_meanwhile_is_passed_over(root: Path, processes: Path) -> None:
    """And one that is another person's."""
    (root / "job").write_text("")
    (processes / SHELL / "fd").rmdir()
    (processes / INIT / "stat").unlink()
    opened(processes, JOB, root / "job")
    assert [path.name for path in traces._open_files(processes)] == ["job"]
    assert list(traces._open_files(root / "no-such-table")) == []


def test_without_a_session_a_pipeline_is_told_by_its_pipes(root: Path, processes: Path) -> None:
    """In a container that was entered from outside, the kernel gives 0 for every session.

    The output goes to tee (the job), from there to another reader; what a stranger does is its own.
    """
    mine = str(os.getpid())
    for name in (JOB, OTHER, STRANGER, mine):
        for kind in ("fd", "fdinfo"):
            (processes / name / kind).mkdir(parents=True, exist_ok=True)
        (processes / name / "stat").write_text(f"{name} (a) S 0 {name} 0 0 -1")
    opened(processes, mine, Path("pipe:[12]"))
    opened(processes, mine, Path("pipe:[14]"), flags="00")
    opened(processes, JOB, Path("pipe:[12]"), flags="00")
    opened(processes, JOB, Path("pipe:[13]"))
    opened(processes, OTHER, Path("pipe:[13]"), flags="00")
    opened(processes, STRANGER, Path("pipe:[14]"))
    for name in (JOB, OTHER, STRANGER):
        (root / name).write_text("")
        opened(processes, name, root / name)
    assert sorted(path.name for path in traces._open_files(processes)) == [OTHER, JOB]


@pytest.fixture(autouse=True)
def _no_open_files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the shell around these tests writes is not theirs."""
    if "processes" not in request.fixturenames:
        monkeypatch.setattr(traces, "_PROCESSES", Path("/nowhere"))


def test_the_ledger_is_left_out_without_a_word(
    root: Path, production: Profile, processes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is locked while a run begins, and never was watched."""
    monkeypatch.setattr(traces, "_PROCESSES", processes)
    (root / "submission_runs" / "attempts.jsonl").write_text("")
    (root / "run.log").write_text("")
    opened(processes, JOB, root / "submission_runs" / "attempts.jsonl")
    opened(processes, JOB, root / "run.log")
    assert named(root, production) == {"run.log": OUTPUT}


@pytest.mark.parametrize(
    ("path", "part"),
    [
        (".", "the whole checkout"),
        ("m43", "m43"),
        ("m43/hub", "m43"),
        ("acceptance/tmp", "acceptance"),
        ("submission_runs", "submission_runs"),
        ("submission_runs/hub", "submission_runs"),
        ("submission_runs/m42", "submission_runs"),
        ("submission_runs/m42/run.log", "submission_runs"),
        ("submission_runs/run.log", ""),
        ("rows", "rows.jsonl"),
        ("rows/rows.jsonl", "rows.jsonl"),
        (".hf/hub", ""),
        ("m43-cache", ""),
        ("run.log", ""),
    ],
)
def test_what_a_run_is_about_is_never_left_out(root: Path, path: str, part: str) -> None:
    """The code, the contract, the runs, the rows; a log beside the runs is none of them."""
    (root / "submission_runs" / "run.log").write_text("")
    trace = Trace(path=(root / path).resolve(), of="")
    assert meets(trace, root, [root / "rows" / "rows.jsonl"], ()) == part


def test_what_git_knows_is_never_left_out(root: Path) -> None:
    """A file of the submission, wherever it lies."""
    trace = Trace(path=root / "notes", of="")
    assert meets(trace, root, (), ("notes/m42.md", "notes/m41.md")) == "notes/m42.md"
