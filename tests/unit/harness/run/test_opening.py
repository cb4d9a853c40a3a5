"""What is written down before the first gate."""

import os
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from m43.evidence.contract.contract import read_contract
from m43.evidence.journal import ledger
from m43.evidence.journal.journal import stamp
from m43.evidence.run.acceptance import contract_differences
from m43.evidence.verify.code import checkout_of
from m43.files import file_sha256
from m43.harness.plugin import plugin
from m43.harness.run import closing
from m43.harness.run.hub_access import with_its_hub
from m43.harness.run.opening import (
    Plan,
    ShortenedLedgerError,
    contract_path,
    git_commit,
    named,
    opening_record,
    profile_differences,
    require_whole_ledger,
)
from m43.records import profile_check
from m43.records.run_dir import RunDir, write_record
from tests.unit.harness.carried import install
from tests.unit.harness.conftest import REPOSITORY

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BUNDLED = REPOSITORY / "acceptance" / "rehearsal.toml"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Plan a rehearsal in a repository that holds only what the opening reads."""
    (tmp_path / "acceptance").mkdir()
    for name in ("rehearsal.toml", "test_production.py"):
        source = REPOSITORY / "acceptance" / name
        (tmp_path / "acceptance" / name).write_bytes(source.read_bytes())
    path = tmp_path / "acceptance" / "rehearsal.toml"
    return Plan(
        repository=tmp_path,
        profile_path=path,
        profile=named(profile_check.load(path), "", NOW),
        contract=read_contract(contract_path(tmp_path)),
        command=("pytest",),
        started=NOW,
    )


def test_the_time_is_put_into_a_rehearsals_name(plan: Plan) -> None:
    """A rehearsal can be repeated, and its folder says when it was."""
    assert plan.profile.run.name == "rehearsal-20260102T030405Z"
    assert plan.folder == plan.repository / "submission_runs" / "rehearsal-20260102T030405Z"
    assert named(plan.profile, "mine", NOW).run.name == "mine"


def test_this_attempt_is_counted_and_the_earlier_ones_are_disclosed(plan: Plan) -> None:
    """The ledger outlives the folders: a removed run is still an attempt."""
    name = plan.profile.run.name
    for run in ("other", name, name):
        ledger.append(plan.ledger, run=run, kind="rehearsal", started_utc="2026-01-01T00:00:00Z")
    before = closing.measure_tree(plan.repository, plan.folder)
    record = opening_record(plan, before, "d" * 64, lambda repository: "c" * 40)
    assert record.attempts_of_this_run == 2
    assert [attempt.run for attempt in record.earlier_attempts] == ["other", name]
    assert record.profile == "acceptance/rehearsal.toml"
    assert record.profile_differences == ()
    assert record.promises == plan.contract.names
    assert record.train_rows_sha256 == "absent"
    assert record.tree_files == 2


def test_an_installed_m43_tells_itself_from_the_tree(
    plan: Plan, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a version and no commit; rows are told from those of M43 by their digests alone.

    From whichever folder of the tree pytest was called.
    """
    monkeypatch.chdir(plan.repository / "acceptance")
    install(tmp_path_factory.mktemp("site-packages"), monkeypatch)
    conftest = plan.repository / "conftest.py"
    conftest.write_text("x = 1\n")
    ledger.append(plan.ledger, run="r", kind="rehearsal", started_utc="2026-01-01T00:00:00Z")
    before = closing.measure_tree(plan.repository, plan.folder)
    record = opening_record(plan, before, "d" * 64, lambda repository: "c" * 40)
    assert (record.commit, record.tree_commit) == ("none", "c" * 40)
    assert record.tree_conftest_sha256 == file_sha256(conftest)
    assert [line.partition(" ")[0] for line in record.profile_differences] == [
        "contract.train_rows_sha256:",
        "contract.eval_rows_sha256:",
    ]
    assert record.contract_name == "own"


def test_a_profile_of_ones_own_is_held_against_the_bundled_one(plan: Plan) -> None:
    """Every departure from the locked decisions is listed, wherever the file lies."""
    path = plan.repository / "mine.toml"
    text = plan.profile_path.read_text().replace("data/", "acceptance/data/")
    path.write_text(text.replace("seed = 43", "seed = 44"))
    found = profile_differences(path, plan.profile, plan.repository)
    assert found == ("training.seed: 44 instead of 43",)


MIRROR = "hub.endpoint: 'https://mirror.example' instead of 'default'"


@pytest.mark.parametrize(
    ("value", "differences"),
    [
        ("https://mirror.example", (MIRROR,)),
        ("https://mary:word@mirror.example/", (MIRROR,)),
        ("https://huggingface.co/", ()),
        (None, ()),
    ],
)
def test_a_hub_that_a_variable_names_is_told_as_another_contract(
    plan: Plan, value: str | None, differences: tuple[str, ...]
) -> None:
    """Its profile does not name it; a login in the address is nobody's to read."""
    path = plan.repository / "acceptance" / "production.toml"
    path.write_bytes((REPOSITORY / "acceptance" / "production.toml").read_bytes())
    environment = {} if value is None else {"HF_ENDPOINT": value}
    profile = with_its_hub(profile_check.load(path), environment)
    mine = replace(plan, profile_path=path, profile=profile)
    ledger.append(plan.ledger, run="r", kind="production", started_utc="2026-01-01T00:00:00Z")
    before = closing.measure_tree(plan.repository, plan.folder)
    record = opening_record(mine, before, "d" * 64, lambda repository: "c" * 40)

    assert record.profile_differences == contract_differences(record) == differences
    assert record.contract_name == ("own" if differences else "m43")


def test_a_hub_of_a_profiles_own_is_not_led_elsewhere(plan: Plan) -> None:
    """A rehearsal asks its own, whatever the variable says."""
    assert with_its_hub(plan.profile, {"HF_ENDPOINT": "https://x.example"}) == plan.profile


def test_the_commit_says_when_files_differ_from_it(tmp_path: Path) -> None:
    """A folder that is no checkout has none."""
    assert git_commit(tmp_path) == "none"
    name = ("-c", "user.name=m43", "-c", "user.email=m43@localhost")
    for words in (("init", "-q"), (*name, "commit", "-q", "--allow-empty", "-m", "first")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    head = git_commit(tmp_path)
    (tmp_path / "submission_runs" / "a_run").mkdir(parents=True)
    (tmp_path / "submission_runs" / "a_run" / "journal.jsonl").write_text("")
    assert git_commit(tmp_path) == head  # the run's own folder
    (tmp_path / "new").write_text("")
    assert len(head) == 40
    assert git_commit(tmp_path) == f"{head}+changes"
    # A repository further up is another project's.
    (tmp_path / "inner").mkdir()
    assert git_commit(tmp_path / "inner") == "none"


def test_a_checkout_of_another_user_has_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git trusts no such folder by itself; whoever runs m43 there does. A run and verify agree."""
    name = ("-c", "user.name=m43", "-c", "user.email=m43@localhost")
    (tmp_path / "pytest.ini").write_text("")
    for words in (("init", "-q"), ("add", "."), (*name, "commit", "-q", "-m", "first")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    head = git_commit(tmp_path)
    assert len(head) == 40
    program = tmp_path.parent / "bin" / "git"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {shutil.which("git")} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    refused = subprocess.run(
        ["git", "-C", str(tmp_path), "status"], capture_output=True, check=False
    )
    assert b"dubious ownership" in refused.stderr
    assert git_commit(tmp_path) == head
    assert checkout_of(tmp_path, head).place == f"commit {head[:12]}"


HIDDEN: dict[str, tuple[tuple[str, ...], str]] = {
    "a package that is told not to be shown": (
        ("config", "status.showUntrackedFiles", "no"),
        "jax/__init__.py",
    ),
    "a package that a list of one's own excludes": (
        ("config", "core.excludesFile", "../excludes"),
        "jax/__init__.py",
    ),
    "a module that is ignored": (("status",), "ignored.py"),
    "a source of m43 that git is told to take for unchanged": (
        ("update-index", "--assume-unchanged", "m43/errors.py"),
        "m43/errors.py",
    ),
    "a source of m43 that git is told to leave alone": (
        ("update-index", "--skip-worktree", "m43/errors.py"),
        "m43/errors.py",
    ),
}


@pytest.mark.parametrize(("words", "name"), HIDDEN.values(), ids=HIDDEN)
def test_no_configuration_hides_what_python_could_import(
    tmp_path: Path, words: tuple[str, ...], name: str
) -> None:
    """Git is asked so that it has to tell, and m43's own files are compared without it."""
    checkout = tmp_path / "checkout"
    (checkout / "m43").mkdir(parents=True)
    (checkout / "m43" / "errors.py").write_text("")
    (checkout / ".gitignore").write_text("ignored.py\nnotes/\n.venv/\n")
    (tmp_path / "excludes").write_text("jax/\n")
    author = ("-c", "user.name=m43", "-c", "user.email=m43@localhost")
    for each in (("init", "-q"), ("add", "."), (*author, "commit", "-q", "-m", "first"), words):
        subprocess.run(["git", "-C", str(checkout), *each], check=True, capture_output=True)
    for harmless in ("notes/a.txt", ".venv/lib/jax.py", "m43/__pycache__/errors.pyc"):
        (checkout / harmless).parent.mkdir(parents=True, exist_ok=True)
        (checkout / harmless).write_text("")
    subprocess.run(["git", "-C", str(checkout), "config", "core.checkStat", "minimal"], check=True)
    (checkout / ".git" / "info" / "exclude").write_text("__pycache__\njax/\n")
    head = git_commit(checkout)
    assert len(head) == 40

    (checkout / name).parent.mkdir(exist_ok=True)
    (checkout / name).write_text("evil = True\n")

    assert git_commit(checkout) == f"{head}+changes"


def test_asking_for_the_commit_runs_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one that the repository's configuration names, nor one that a variable names."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    checkout = tmp_path / "checkout"
    name = ("-c", "user.name=m43", "-c", "user.email=m43@localhost")
    checkout.mkdir()
    for words in (("init", "-q"), (*name, "commit", "-q", "--allow-empty", "-m", "first")):
        subprocess.run(["git", "-C", str(checkout), *words], check=True)
    head = git_commit(checkout)
    (checkout / "new").write_text("")
    fsmonitor = ["git", "-C", str(checkout), "config", "core.fsmonitor", str(program)]
    subprocess.run(fsmonitor, check=True)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(program))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    subprocess.run([program], check=True)
    (tmp_path / "ran").unlink()

    assert git_commit(checkout) == f"{head}+changes"

    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("kind", "name", "endpoint", "told"),
    [
        ("rehearsal", "m43_v1", "loopback", "must agree with -m production"),
        ("production", "m43_v1", "loopback", "only a rehearsal has a hub of its own"),
        ("production", "../m42", "default", "one plain folder name"),
        ("production", "a@time", "default", "one plain folder name"),
        ("production", "", "default", "one plain folder name"),
    ],
)
def test_a_good_profile_for_another_call_is_refused(
    kind: str, name: str, endpoint: str, told: str
) -> None:
    """The marker and the kind agree, and a name cannot leave the folder of runs."""
    loaded = profile_check.load(BUNDLED)
    profile = replace(
        loaded,
        kind=kind,  # type: ignore[arg-type]
        run=replace(loaded.run, name=name),
        hub=replace(loaded.hub, endpoint=endpoint),
    )
    problems = plugin.profile_problems(profile, BUNDLED, "production")
    assert any(told in problem for problem in problems)


def disclosed(plan: Plan, *earlier: str) -> None:
    """Begin the ledger with attempts, and leave the folder of the last as a run leaves it."""
    for run in earlier:
        ledger.append(plan.ledger, run=run, kind="rehearsal", started_utc=stamp(NOW))
    last = replace(plan, profile=named(plan.profile, earlier[-1], NOW))
    folder = RunDir.create(last.folder)
    before = closing.measure_tree(plan.repository, folder.path)
    write_record(folder.opening, opening_record(last, before, "d" * 64, lambda repository: "none"))


def test_a_ledger_that_was_shortened_is_noticed_before_a_run(plan: Plan) -> None:
    """A run that is still there remembers the attempts before it."""
    disclosed(plan, "first", "second", "third")
    require_whole_ledger(plan.ledger.parent)
    plan.ledger.write_bytes(b"".join(plan.ledger.read_bytes().splitlines(keepends=True)[:1]))
    told = "attempts.jsonl:2: found the end of the ledger, expected the attempt second"
    with pytest.raises(ShortenedLedgerError, match=told):
        require_whole_ledger(plan.ledger.parent)


def test_a_run_folder_of_which_the_ledger_has_no_line_is_disclosed(plan: Plan) -> None:
    """A ledger that was begun anew forgets; a folder that is there does not."""
    disclosed(plan, "first")
    plan.ledger.unlink()
    name = plan.profile.run.name
    ledger.append(plan.ledger, run=name, kind="rehearsal", started_utc=stamp(NOW))
    require_whole_ledger(plan.ledger.parent)
    before = closing.measure_tree(plan.repository, plan.folder)
    record = opening_record(plan, before, "d" * 64, lambda repository: "none")
    assert record.unlisted_runs == ("first",)
    assert record.earlier_attempts == ()


def test_a_folder_that_never_got_its_opening_is_passed_over(plan: Plan) -> None:
    """What was cut off before its first line discloses nothing."""
    disclosed(plan, "first")
    (plan.ledger.parent / "first" / "opening.json").write_text("{")
    require_whole_ledger(plan.ledger.parent)
