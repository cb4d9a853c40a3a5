"""An m43 that was installed, in a repository of somebody's: what is whose, and what is refused."""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.unit.harness.carried import PARTS
from tests.unit.harness.conftest import REPOSITORY
from tests.unit.harness.copied_tree import CopiedTree, copy_tree

M42 = "submission_runs/m42_v1/m42_summary.md"


@dataclass(frozen=True, kw_only=True)
class Adopted(CopiedTree):
    """A repository, and a site-packages beside it that holds m43 as a wheel brings it."""

    @property
    def installed(self) -> Path:
        """Where m43 lies."""
        return self.root.parent / "site-packages" / "m43"

    def environment(self, **variables: str) -> dict[str, str]:
        """Have Python find that m43, and none below the repository."""
        return super().environment(**{"PYTHONPATH": str(self.installed.parent), **variables})

    def m43(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Call a command of m43 in the repository."""
        command = [sys.executable, "-m", "m43", *words]
        kept = self.environment()
        return subprocess.run(
            command, cwd=self.root, env=kept, capture_output=True, text=True, check=False
        )

    def run(self) -> dict[str, Any]:
        """Rehearse; return what opening and closing say."""
        done = self.pytest("acceptance", "-m", "rehearsal", "--m43-run", "r")
        assert done.returncode == 0, done.stdout + done.stderr
        names = ("opening", "closing")
        texts = ((self.runs / "r" / f"{name}.json").read_text("utf-8") for name in names)
        return {key: value for text in texts for key, value in json.loads(text).items()}

    def unsupported(self) -> list[str]:
        """List what verify says against opening and code; the quick child's numbers are none."""
        said = self.m43("verify", "submission_runs/r").stdout.splitlines()
        assert "ACCEPTED (rehearsal)" in said[0]
        about = tuple(
            f"NOT SUPPORTED  {name}" for name in ("opening.json", "code.sha256", "closing")
        )
        return [line for line in said if line.startswith(about)]

    def refused(self, told: str) -> None:
        """Call pytest, and see it refuse with a sentence and without a trace."""
        done = self.pytest("acceptance", "-m", "rehearsal")
        assert done.returncode == 4, done.stdout + done.stderr
        assert told in done.stderr
        assert [path.name for path in self.runs.iterdir()] == ["m42_v1"]


def record(site: Path) -> None:
    """Write the RECORD of m43 as an installer does."""
    info = site / "m43-0.3.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: m43\nVersion: 0.3.0\n")
    lines = []
    for path in sorted((site / "m43").rglob("*.*")):
        digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=")
        lines.append(f"{path.relative_to(site)},sha256={digest.decode()},{path.stat().st_size}\n")
    (info / "RECORD").write_text("".join(lines))


@pytest.fixture
def adopted(tmp_path: Path) -> Adopted:
    """Install m43 with the quick child, and make a repository ready that holds an M42."""
    root = copy_tree(REPOSITORY, tmp_path / "copy").root
    tree = Adopted(root=tmp_path / "tree")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root / "m43", tree.installed, ignore=ignored)
    for name in PARTS:
        source, target = root / name, tree.installed / "carried" / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=ignored)
        else:
            shutil.copy2(source, target)
    record(tree.installed.parent)
    (tree.root / M42).parent.mkdir(parents=True)
    (tree.root / M42).write_text("M42\n")
    done = tree.m43("init", "--yes")
    assert done.returncode == 0, done.stderr
    return tree


def test_a_run_is_accepted_and_says_what_is_whose(adopted: Adopted) -> None:
    """The code is that of the wheel, the M43 contract the one that it carries, the tree theirs."""
    found = adopted.run()
    assert (found["commit"], found["tree_commit"]) == ("none", "none")
    assert (found["contract_name"], found["tree_conftest_sha256"]) == ("m43", "")
    assert found["m42"] == [f"{hashlib.sha256(b'M42' + bytes([10])).hexdigest()}  {M42}"]
    listed = (adopted.runs / "r" / "code.sha256").read_text("utf-8")
    assert "  m43/errors.py\n" in listed
    assert "carried" not in listed
    assert adopted.unsupported() == []
    summary = (adopted.runs / "r" / "m43_summary.md").read_text("utf-8")
    assert f"| `{M42}` | `" in summary
    assert "| commit | `none, of a repository that m43 0.3.0 was installed for` |" in summary


def test_a_contract_that_was_changed_in_the_tree_is_not_called_m43(adopted: Adopted) -> None:
    """A promise, a value, a row: each is held against what m43 itself carries."""
    rows = adopted.root / "acceptance" / "data" / "eval_v2.jsonl"
    rows.write_text(rows.read_text("utf-8").replace("What", "Which", 1), encoding="utf-8")
    contract = adopted.root / "acceptance" / "test_production.py"
    text = contract.read_text("utf-8")
    contract.write_text(text.replace("0 < 1.15 * plan", "0 < 1.05 * plan"), encoding="utf-8")
    found = adopted.run()
    assert found["contract_name"] == "own"
    (line,) = found["profile_differences"]
    assert line.startswith("contract.eval_rows_sha256: ")
    assert len(found["promise_differences"]) == 1
    assert (adopted.runs / "r" / "own_summary.md").is_file()
    assert adopted.unsupported() == []
    verified = adopted.m43("verify", "submission_runs/r").stdout
    assert "ANOTHER CONTRACT  contract.eval_rows_sha256: " in verified


def test_code_of_m43_that_is_not_its_wheels_is_refused(adopted: Adopted) -> None:
    """As in every package that judges, before the first gate."""
    with (adopted.installed / "text.py").open("a") as file:
        file.write("# mine\n")
    adopted.refused("found site-packages/m43/text.py, expected what a wheel brought")


def test_a_conftest_of_their_own_is_disclosed(adopted: Adopted) -> None:
    """One that steers nothing may stay; its code was in the process that judged."""
    conftest = adopted.root / "conftest.py"
    conftest.write_text(f"import pytest\n\n{conftest.read_text()}")
    found = adopted.run()
    assert found["tree_conftest_sha256"] == hashlib.sha256(conftest.read_bytes()).hexdigest()
    assert adopted.unsupported() == []
    summary = (adopted.runs / "r" / "m43_summary.md").read_text("utf-8")
    assert f"its own conftest.py (SHA-256 {found['tree_conftest_sha256']}) ran in" in summary


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        (
            "conftest.py",
            "def pytest_configure(): ...\n",
            "conftest.py (pytest_configure), expected",
        ),
        (
            "conftest.py",
            "@pytest.fixture\ndef profile(): ...\n",
            "conftest.py (profile), expected a conftest without hooks and without fixtures",
        ),
        ("conftest.py", "import helpers\n", "found helpers (from helpers.py)"),
        ("acceptance/conftest.py", "\n", "acceptance/conftest.py, expected no conftest but"),
    ],
)
def test_what_would_steer_a_run_is_refused(
    adopted: Adopted, name: str, text: str, told: str
) -> None:
    """Before the first gate, by its name."""
    (adopted.root / "helpers.py").write_text("")
    with (adopted.root / name).open("a") as file:
        file.write(text)
    adopted.refused(told)


def test_missing_settings_are_refused_with_the_command_that_adds_them(adopted: Adopted) -> None:
    """So is a pytest.ini that is missing, or that has them otherwise."""
    ini = adopted.root / "pytest.ini"
    text = ini.read_text()
    ini.write_text("[pytest]\nmarkers =\n    production: x\n    rehearsal: x\n")
    adopted.refused("found it without m43's settings, expected them: python -m m43 init adds them")
    ini.write_text(text.replace("= true", "= false"))
    adopted.refused("found generate_report_on_test = false, expected true")
