"""What is measured after the last gate that ran."""

import shutil
import subprocess
from pathlib import Path

import pytest

from m43.files import weights_sha256
from m43.harness.run import closing, packages
from m43.harness.run.closing import closing_record
from m43.records.run_dir import RunDir
from tests.unit.evidence.good_records import imported_record


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Make a run folder in a small repository."""
    (tmp_path / "m42.md").write_text("first")
    (tmp_path / "site-packages" / "jax").mkdir(parents=True)
    run = RunDir.create(tmp_path / "submission_runs" / "run")
    run.failure_analysis.write_text("")
    return run


def test_nothing_changed_is_told_by_equal_digests(run: RunDir, tmp_path: Path) -> None:
    """Before and after, environment and tree."""
    site = tmp_path / "site-packages"
    before = closing.measure_tree(tmp_path, run.path)
    installed = packages.measure_packages([site])
    record = closing_record(
        run,
        tmp_path,
        tree_before=before,
        packages_before=installed,
        site_packages=[site],
        foreign_code=(),
        judge=imported_record(altered=("site-packages/pluggy/a.py",), changed=("b.py",)),
    )
    assert record.packages_sha256 == installed.sha256
    assert record.tree_sha256 == before.sha256
    assert record.changed_paths == record.changed_packages == ()
    assert record.documents == ("failure_analysis.md",)
    assert record.model_sha256 == ""
    assert record.altered == ("site-packages/pluggy/a.py", "b.py")
    assert (record.judging_files, record.unrecorded) == (len(imported_record().files), ())


def test_what_changed_is_named(run: RunDir, tmp_path: Path) -> None:
    """A file of M42, a package that came."""
    site = tmp_path / "site-packages"
    before = closing.measure_tree(tmp_path, run.path)
    installed = packages.measure_packages([site])
    (tmp_path / "m42.md").write_text("second")
    (site / "torch").mkdir()
    (site / "torch" / "a.py").write_text("")
    record = closing_record(
        run,
        tmp_path,
        tree_before=before,
        packages_before=installed,
        site_packages=[site],
        foreign_code=(),
        judge=imported_record(altered=("site-packages/pluggy/a.py",), changed=("b.py",)),
    )
    assert record.changed_paths == ("m42.md", "site-packages/torch/a.py")
    assert record.changed_packages == ("torch (added)",)


def test_what_was_left_out_before_is_left_out_after(run: RunDir, tmp_path: Path) -> None:
    """And nothing more, whatever has been set meanwhile."""
    before = closing.measure_tree(tmp_path, run.path, ["run.log"])
    for name in ("run.log", "other.log"):
        (tmp_path / name).write_text("")
    record = closing_record(
        run,
        tmp_path,
        tree_before=before,
        packages_before=None,
        site_packages=(),
        foreign_code=(),
        judge=imported_record(altered=("site-packages/pluggy/a.py",), changed=("b.py",)),
    )
    assert record.left_out == ("run.log",)
    assert record.changed_paths == ("other.log",)


def test_a_run_that_never_reached_its_environment_says_nothing_of_it(
    run: RunDir, tmp_path: Path
) -> None:
    """What was not measured before cannot be compared after."""
    before = closing.measure_tree(tmp_path, run.path)
    record = closing_record(
        run,
        tmp_path,
        tree_before=before,
        packages_before=None,
        site_packages=(),
        foreign_code=(),
        judge=imported_record(altered=("site-packages/pluggy/a.py",), changed=("b.py",)),
    )
    assert record.packages_sha256 == ""


def test_the_models_digest_is_that_of_the_shells_own_tools(tmp_path: Path) -> None:
    """Anybody can check it without m43."""
    for name in ("model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors"):
        (tmp_path / name).write_text(name)
    assert shutil.which("sha256sum")
    command = "LC_ALL=C sha256sum *.safetensors | sha256sum"
    answer = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert weights_sha256(tmp_path) == answer.stdout.split()[0]
