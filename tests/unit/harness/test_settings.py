"""Whole runs under the settings that people have: each is accepted, or refused before it begins."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.unit.harness.conftest import FILES, REPO, REVISION, TOKEN, WEIGHT_BYTES, StartWorld
from tests.unit.harness.copied_tree import CopiedTree
from tests.unit.harness.test_runs import the_run


def in_bash(tree: CopiedTree, text: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Type a rehearsal into a shell; PYTEST stands for its command."""
    command = shlex.join(tree.command("acceptance", "-m", "rehearsal"))
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", text.replace("PYTEST", command)],
        cwd=tree.root,
        env=tree.environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_rehearsal_bears_what_is_set_for_something_else(copied_tree: CopiedTree) -> None:
    """Words as passwords and tokens, temporary files beside the project, its own output."""
    variables = {
        "HTTPS_PROXY": "http://user:pass@127.0.0.1:3128",
        "HF_TOKEN": "test",
        "HF_HOME": str(copied_tree.root / ".hf"),
        "TMPDIR": str(copied_tree.root / "tmp"),
    }
    (copied_tree.root / "tmp").mkdir()
    result = in_bash(copied_tree, "PYTEST > run.log 2>&1", **variables)
    log = (copied_tree.root / "run.log").read_text()
    assert result.returncode == 0, log
    assert copied_tree.runs.exists(), result.stdout + result.stderr
    run = the_run(copied_tree)
    opening, closing = (json.loads((run / f"{name}.json").read_text()) for name in RECORDS)
    assert opening["left_out"] == closing["left_out"] == ["run.log", "tmp"]
    assert opening["unsearched"] == ["the token in HF_TOKEN", "the password in HTTPS_PROXY"]
    for name in ("m43_summary.md", "report.html"):
        text = (run / name).read_text()
        assert "the password in HTTPS_PROXY" in text
        assert "run.log" in text
        assert "user:pass" not in text


RECORDS = ("opening", "closing")


def test_tee_in_the_checkout_is_known(copied_tree: CopiedTree) -> None:
    """The file grows in another process, which belongs to the same command."""
    result = in_bash(copied_tree, "PYTEST 2>&1 | tee submission_runs.log")
    assert result.returncode == 0, result.stdout
    closing = json.loads((the_run(copied_tree) / "closing.json").read_text())
    assert closing["left_out"] == ["submission_runs.log"]


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"HF_TOKEN": f'"{TOKEN}"'}, "found HF_TOKEN: it begins and ends with a quotation mark"),
        ({"HF_TOKEN": "test"}, "found HF_TOKEN: it is too short, or too like a word"),
        ({"HF_TOKEN": "hf_" + "x" * 34}, "found HF_TOKEN: it is a placeholder"),
        ({"ALL_PROXY": "socks5://u:pass@127.0.0.1:1"}, "found ALL_PROXY: a SOCKS proxy, for which"),
        ({"SSL_CERT_FILE": "/nowhere.pem"}, "found SSL_CERT_FILE: no such file"),
        ({"HF_HUB_CACHE": "."}, ". (the Hugging Face cache), where the whole checkout would be"),
        ({"HF_HOME": "/dev/null/hf"}, "found Not a directory: /dev/null"),
    ],
)
def test_what_cannot_end_well_does_not_begin(
    copied_tree: CopiedTree, variables: dict[str, str], told: str
) -> None:
    """A usage error that names the variable; no folder, no ledger, no attempt."""
    result = copied_tree.pytest("acceptance", "-m", "production", **variables)
    assert result.returncode == 4, result.stdout + result.stderr
    assert "m43 does not begin this run" in result.stderr
    assert told in result.stderr
    assert TOKEN not in result.stdout + result.stderr
    assert "u:pass" not in result.stdout + result.stderr
    assert not copied_tree.runs.exists()


def test_a_page_of_ones_own_in_the_checkout_is_refused(
    copied_tree: CopiedTree, tmp_path: Path
) -> None:
    """It is written anew after each promise, amid what is watched; elsewhere it does no harm."""
    for option in ("--html=mine.html", "--html=acceptance/../a/mine.html", "--junitxml=mine.xml"):
        result = copied_tree.pytest("acceptance", "-m", "rehearsal", option)
        assert result.returncode == 4
        assert f"found {option.partition('=')[0]} into the checkout" in result.stderr
    assert not copied_tree.runs.exists()
    elsewhere = f"--html={tmp_path / 'mine.html'}"
    assert copied_tree.pytest("acceptance", "-m", "rehearsal", elsewhere).returncode == 0


@pytest.mark.parametrize(
    ("option", "place"),
    [
        ("--html", "submission_runs/m43_v1/report.html"),
        ("--junitxml", "submission_runs/m43_v1/junit.xml"),
        ("--junitxml", "acceptance/test_production.py"),
        ("--junitxml", "${PWD}/a-link/test_production.py"),
        ("--log-file", "m43/text.py"),
        ("--basetemp", "acceptance"),
        ("--m43-job-summary", "submission_runs/m43_v1/m43_summary.md"),
        ("-o cache_dir", "submission_runs/m43_v1"),
        ("-o log_file", "acceptance/test_production.py"),
    ],
)
def test_no_call_of_pytest_writes_over_a_run_or_the_checkout(
    copied_tree: CopiedTree, option: str, place: str
) -> None:
    """Nor one that only looks, or is no run: a run's name would be gone, or the contract."""
    (copied_tree.root / "a-link").symlink_to("acceptance")
    (copied_tree.root / "test_other.py").write_text("def test_nothing():\n    pass\n")
    before = (copied_tree.root / "acceptance" / "test_production.py").read_bytes()
    for call in (("acceptance", "-m", "production", "--collect-only"), ("test_other.py",)):
        words = f"{option}={place}".split()
        result = copied_tree.pytest(*call, *words, PWD=str(copied_tree.root))
        assert result.returncode == 4, result.stdout
        assert f"found {option.removeprefix('-o ')} at {copied_tree.root}" in result.stderr
        assert result.stderr.count("\n  - ") == 1
    assert not copied_tree.runs.exists()
    assert (copied_tree.root / "acceptance" / "test_production.py").read_bytes() == before


def test_a_call_that_keeps_no_cache_and_no_log_is_a_call(copied_tree: CopiedTree) -> None:
    """Without the plugins that write them pytest knows no place for them."""
    (copied_tree.root / "test_other.py").write_text("def test_nothing():\n    pass\n")
    off = ("-p", "no:cacheprovider", "-p", "no:logging")
    result = copied_tree.pytest("test_other.py", *off)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_cache_in_the_checkout_is_no_change_of_it(
    copied_tree: CopiedTree, start_world: StartWorld
) -> None:
    """The download that m43 itself makes is named, and everything beside it is watched."""
    _, hub = start_world()
    text = (copied_tree.root / "acceptance" / "production.toml").read_text()
    for pattern, value in (
        (r'repo = ".*"', f'repo = "{REPO}"'),
        (r'revision = ".*"', f'revision = "{REVISION}"'),
        (r'platform = ".*"', 'platform = "cpu"'),
        (r'device_kind = ".*"', 'device_kind = "cpu"'),
        (r'endpoint = ".*"', f'endpoint = "{hub.endpoint}"'),
        (r"files = \[[^]]*\]", f"files = {json.dumps(FILES)}"),
        # The model that is promised is the one that this hub and the quick child have.
        (r"parameters = .*", "parameters = 639_616"),
        (r"(?s)file_bytes\]\n.*?\n\n", f'file_bytes]\n"{FILES[-1]}" = {len(WEIGHT_BYTES)}\n\n'),
        (r"\[contract.config\]\n(.+\n)+", ""),
        (r'path = ".*"', 'path = "self"'),
    ):
        text = re.sub(pattern, value, text, count=1)
    (copied_tree.root / "acceptance" / "mine.toml").write_text(text)
    result = copied_tree.pytest(
        *("acceptance", "-m", "production", "--m43-profile", "acceptance/mine.toml"),
        **{"HF_TOKEN": TOKEN, "HF_HOME": str(copied_tree.root / ".hf")},
    )
    assert copied_tree.runs.exists(), result.stdout + result.stderr
    run = the_run(copied_tree)
    closing = json.loads((run / "closing.json").read_text())
    assert (copied_tree.root / ".hf" / "hub").is_dir(), result.stdout
    assert closing["changed_paths"] == []
    assert ".hf/hub" in closing["left_out"]


def test_a_job_summary_is_appended_whatever_becomes_of_the_run(
    copied_tree: CopiedTree, tmp_path: Path
) -> None:
    """To the file that is named, or to the one that GitHub names; what stood there stays."""
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    named = ("--m43-job-summary", str(page))
    assert copied_tree.pytest("acceptance", "-m", "production", *named).returncode == 1
    failed = page.read_text()
    assert failed.startswith("before\n\n# m43 m43_v1: NOT ACCEPTED\n")
    assert "| 1 of 4: auth |" in failed
    assert "## Next actions for a person" in failed

    done = copied_tree.pytest("acceptance", "-m", "rehearsal", GITHUB_STEP_SUMMARY=str(page))
    assert done.returncode == 0
    added = page.read_text().removeprefix(failed)
    assert added.startswith("\n# m43 rehearsal-")
    assert ": ACCEPTED (rehearsal)\n" in added
    assert "100 evaluation rows" in added


@pytest.mark.parametrize("way", ["option", "variable"])
def test_a_job_summary_that_cannot_be_written_begins_no_run(
    copied_tree: CopiedTree, tmp_path: Path, way: str
) -> None:
    """Said before anything is used up."""
    call, path = ("acceptance", "-m", "production"), str(tmp_path / "nowhere" / "summary.md")
    if way == "option":
        result = copied_tree.pytest(*call, "--m43-job-summary", path)
    else:
        result = copied_tree.pytest(*call, GITHUB_STEP_SUMMARY=path)
    assert result.returncode == 4
    assert f"found {path}, where nothing can be written" in result.stderr
    assert not copied_tree.runs.exists()
