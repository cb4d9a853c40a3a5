"""A run of an installed m43: its own code is held against m43's, and of the tree what is told."""

import hashlib
import json
from pathlib import Path

import pytest

from m43.evidence.run import load_run
from m43.evidence.verify.code import audit_code
from m43.evidence.verify.judged import audit_profile
from tests.unit.evidence.disagreements import put
from tests.unit.evidence.good_records import REPOSITORY, code_listing
from tests.unit.evidence.good_run import write_good_run

OTHER = "0" * 64


def problems(folder: Path, *names: str, **opening: str) -> str:
    """Audit a run whose list of code has another digest for these files."""
    lines = code_listing().splitlines(keepends=True)
    text = "".join(f"{OTHER}  {line[66:]}" if line[66:-1] in names else line for line in lines)
    assert text.count(OTHER) == len(names)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    run = write_good_run(folder, code_sha256=sha256, commit="none", **opening)
    run.code.write_text(text)
    return "\n".join(map(str, audit_code(run, load_run(run), REPOSITORY)))


def test_what_is_the_trees_may_be_another_one(tmp_path: Path) -> None:
    """Its settings, its profiles, and a conftest that is told; in a checkout none of these."""
    names = ("conftest.py", "pytest.ini", "acceptance/production.toml")
    told = {"tree_commit": "none", "tree_conftest_sha256": OTHER}
    assert problems(tmp_path / "a", *names, **told) == ""
    found = problems(tmp_path / "b", *names)
    assert "other code in 3 files: acceptance/production.toml, conftest.py, pytest.ini" in found


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("m43/errors.py", "other code in 1 file: m43/errors.py"),
        ("pyproject.toml", "other code in 1 file: pyproject.toml"),
        ("acceptance/conftest.py", "code.sha256, acceptance/conftest.py"),
        ("conftest.py", "opening.json, tree_conftest_sha256"),
    ],
)
def test_what_is_m43s_may_not(tmp_path: Path, name: str, told: str) -> None:
    """Nor a conftest that is not told."""
    found = problems(tmp_path, name, tree_commit="c" * 40)
    assert told in found
    assert found.count("\n") == 0


def test_the_attestation_names_the_trees_commit(tmp_path: Path) -> None:
    """As that of another thing than m43, which has none."""
    run = write_good_run(tmp_path, commit="none", tree_commit="c" * 40)
    dependencies = json.loads(run.provenance.read_text())["predicate"]["buildDefinition"][
        "resolvedDependencies"
    ]
    commits = {
        each["name"]: each["digest"]["gitCommit"]
        for each in dependencies
        if "gitCommit" in each["digest"]
    }
    assert commits == {"tree": "c" * 40}


def test_a_conftest_is_told_of_a_tree_only(tmp_path: Path) -> None:
    """That of a checkout is code like other code."""
    assert "tree_conftest_sha256" in problems(tmp_path, tree_conftest_sha256=OTHER)


def test_other_rows_have_to_be_told(tmp_path: Path) -> None:
    """Of a tree nothing else says that they are not those of the M43 contract."""
    run = write_good_run(tmp_path, commit="none", tree_commit="none")
    assert list(audit_profile(load_run(run), REPOSITORY)) == []
    put("opening.json", OTHER, "eval_rows_sha256")(run)
    (found,) = audit_profile(load_run(run), REPOSITORY)
    assert found.found.startswith(f"contract.eval_rows_sha256: '{OTHER}' instead of '")
