"""The path of somebody who adopts m43: from its wheel to an accepted rehearsal in their repository.

Everything is a process of its own, in an environment that was made from the lock and holds m43 as
a wheel, and in an empty repository. The environment's interpreter is named by M43_ADOPTED.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

if "M43_ADOPTED" not in os.environ:
    raise pytest.UsageError("found no M43_ADOPTED, expected an environment with m43: make adopt")
ADOPTED = Path(os.environ["M43_ADOPTED"])
M42 = {
    "submission_runs/m42_v1/m42_summary.md": b"# M42 summary\n\n41 of 100 rows.\n",
    "submission_runs/m42_v1/results.json": b'{"correct": 41, "rows": 100}\n',
}
NAME = "adopted"


@dataclass(frozen=True, kw_only=True)
class Adopter:
    """A repository, and the environment that m43 was installed into."""

    tree: Path

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Python of the environment, with the shell's variables that concern nothing here."""
        hidden = ("HF_", "PYTEST_", "PYTHON", "GITHUB_", "M43_")
        kept = {name: text for name, text in os.environ.items() if not name.startswith(hidden)}
        command = [str(ADOPTED), *words]
        return subprocess.run(
            command, cwd=self.tree, env=kept, capture_output=True, text=True, check=False
        )

    def git(self, *words: str) -> None:
        """Call git as nobody in particular."""
        quiet = ("-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *quiet, *words], cwd=self.tree, check=True, capture_output=True)

    def record(self, name: str) -> dict[str, object]:
        """Read a record of the run."""
        text = (self.tree / "submission_runs" / NAME / name).read_text(encoding="utf-8")
        found: dict[str, object] = json.loads(text)
        return found


@pytest.fixture(scope="module")
def adopter(tmp_path_factory: pytest.TempPathFactory) -> Adopter:
    """Make the repository: empty, but for the submission before."""
    tree = tmp_path_factory.mktemp("adopter")
    adopter = Adopter(tree=tree)
    for name, data in M42.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    adopter.git("init", "--quiet")
    adopter.git("add", "--all")
    adopter.git("commit", "--quiet", "--message", "M42")
    return adopter


def ended(done: subprocess.CompletedProcess[str], status: int = 0) -> str:
    """Return what was said, of a process that ended so."""
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_m43_lies_in_the_environment_as_a_wheel_brought_it(adopter: Adopter) -> None:
    """Not as a link to this checkout, and with everything that it needs."""
    place = Path(ended(adopter.call("-c", "import m43; print(m43.__file__)")).strip())
    assert place.is_relative_to(ADOPTED.parents[1])
    assert (place.parent / "carried" / "acceptance" / "test_production.py").is_file()
    ended(adopter.call("-m", "pip", "check"))


def test_init_shows_first_and_writes_when_it_is_told_to(adopter: Adopter) -> None:
    """Nothing but what is missing; nothing the second time."""
    shown = ended(adopter.call("-m", "m43", "init"), status=1)
    assert '+pytest_plugins = ["m43.harness.plugin.plugin"]' in shown
    assert "+generate_report_on_test = true" in shown
    assert [path.name for path in adopter.tree.iterdir() if path.name != ".git"] == [
        "submission_runs"
    ]

    assert "\nwritten: 19 files\n" in ended(adopter.call("-m", "m43", "init", "--yes"))
    assert "nothing is missing here" in ended(adopter.call("-m", "m43", "init"))
    adopter.git("add", "--all")
    adopter.git("commit", "--quiet", "--message", "m43")


def test_the_rehearsal_is_accepted_in_the_repository(adopter: Adopter) -> None:
    """Under the M43 contract, by the code of the wheel, at a commit of the repository."""
    said = ended(adopter.call("-m", "pytest", "acceptance", "-m", "rehearsal", "--m43-run", NAME))
    assert f"m43 rehearsal {NAME}: ACCEPTED (rehearsal)" in said
    opening, closing = adopter.record("opening.json"), adopter.record("closing.json")
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=adopter.tree, check=True, capture_output=True, text=True
    )
    assert opening["tree_commit"] == head.stdout.strip()
    assert (opening["commit"], opening["contract_name"]) == ("none", "m43")
    assert opening["profile_differences"] == opening["promise_differences"] == []
    assert opening["tree_conftest_sha256"] == ""
    # pytest, m43 itself, and what they load: each file is held against the RECORD of its wheel.
    assert closing["altered"] == closing["unrecorded"] == closing["foreign_code"] == []


def test_the_summary_has_the_digests_of_m42(adopter: Adopter) -> None:
    """Of its files, where they really lie, before and after."""
    run = adopter.tree / "submission_runs" / NAME
    summary = (run / "m43_summary.md").read_text(encoding="utf-8")
    for name, data in M42.items():
        digest = sha256(data).hexdigest()
        assert f"| `{name}` | `{digest}` | `{digest}` |" in summary
        assert (adopter.tree / name).read_bytes() == data
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all"],
        cwd=adopter.tree,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    own = (f"?? submission_runs/{NAME}/", "?? submission_runs/attempts.jsonl")
    others = [line for line in changed if not line.startswith(own)]
    assert [line for line in others if "__pycache__/" not in line] == []


def test_every_claim_of_the_run_is_supported(adopter: Adopter) -> None:
    """By the m43 that was installed; a file of it that is changed is told by its name."""
    run = f"submission_runs/{NAME}"
    said = ended(adopter.call("-m", "m43", "verify", run))
    assert f"{run}: every claim of this folder is supported by its records" in said

    listing = adopter.tree / run / "code.sha256"
    whole = listing.read_bytes()
    listing.write_bytes(whole.replace(b"  m43/errors.py", b"  m43/error5.py"))
    said = ended(adopter.call("-m", "m43", "verify", run), status=1)
    assert "other code in 2 files: m43/error5.py, m43/errors.py" in said
    listing.write_bytes(whole)
