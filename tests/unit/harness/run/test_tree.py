"""The working tree before and after a run."""

import os
from pathlib import Path

import pytest

from m43.harness.run import closing


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a small repository with a run in it."""
    for name in ("m43/a.py", "submission_runs/m42/summary.md", "submission_runs/run/auth.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("first")
    (tmp_path / "link").symlink_to("m43/a.py")
    return tmp_path


def measure(root: Path) -> closing.Tree:
    """Measure it as the run called "run" does."""
    return closing.measure_tree(root, root / "submission_runs" / "run")


@pytest.mark.parametrize(
    "name",
    ["m43/a.py", "submission_runs/m42/summary.md", "new.txt", "m43/.hidden", "a.swp", ".a.swq",
     ".swp", "#a#", "DS_Store"],
)  # fmt: skip
def test_a_file_that_is_written_is_named(root: Path, name: str) -> None:
    """Also in another run's folder, above all in that of M42."""
    before = measure(root)
    (root / name).write_text("other")
    after = measure(root)
    assert closing.tree_changes(before, after) == (name,)
    assert after.sha256 != before.sha256


def test_a_file_that_goes_away_is_named(root: Path) -> None:
    """A removal is a change."""
    before = measure(root)
    (root / "m43" / "a.py").unlink()
    assert closing.tree_changes(before, measure(root)) == ("m43/a.py",)


def test_a_link_is_what_it_points_to(root: Path) -> None:
    """A link that is turned is a change, and links are not followed out of the tree."""
    before = measure(root)
    (root / "link").unlink()
    (root / "link").symlink_to("/etc")
    assert closing.tree_changes(before, measure(root)) == ("link",)


@pytest.mark.parametrize(
    "name",
    ["submission_runs/run/venv.json", "submission_runs/attempts.jsonl", ".git/index",
     "m43/__pycache__/a.pyc", ".pytest_cache/v", ".mypy_cache/x", ".ruff_cache/x",
     ".hypothesis/x", ".import_linter_cache/x", ".DS_Store", "m43/.DS_Store",
     "m43/.ipynb_checkpoints/a.ipynb", ".a.py.swp", "m43/.a.py.swo", ".a.swa", "m43/.#a.py"],
)  # fmt: skip
def test_what_the_run_and_the_tools_write_does_not_count(root: Path, name: str) -> None:
    """The run's own folder and ledger, git's, and the caches of tools."""
    before = measure(root)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("new")
    assert measure(root) == before


def test_a_virtual_environment_does_not_count_and_is_named(root: Path) -> None:
    """Environments have a digest of their own."""
    before = measure(root)
    _make_environment(root / "my-env")
    after = measure(root)
    assert after.environments == ("my-env",)
    assert (after.files, after.sha256) == (before.files, before.sha256)


@pytest.mark.parametrize("folder", [".", "m43", "acceptance", "submission_runs", "m43/deep"])
def test_a_file_that_makes_an_environment_of_the_submission_hides_nothing(
    root: Path, folder: str
) -> None:
    """The repository itself, and what a run is about, are watched with a pyvenv.cfg as without."""
    _make_environment(root / folder)
    before = measure(root)
    (root / folder / "lib" / "x.py").write_text("other")
    assert before.environments == ()
    assert closing.tree_changes(before, measure(root)) == (
        (Path(folder) / "lib" / "x.py").as_posix(),
    )


def test_an_environment_that_is_made_during_the_run_hides_nothing(root: Path) -> None:
    """What was watched at the opening is watched at the closing."""
    (root / "notes").mkdir()
    (root / "notes" / "a.txt").write_text("first")
    before = measure(root)
    _make_environment(root / "notes")
    after = closing.measure_tree(root, root / "submission_runs" / "run", before=before)
    assert closing.tree_changes(before, after) == ("notes/lib/x.py", "notes/pyvenv.cfg")


def _make_environment(folder: Path) -> None:
    (folder / "lib").mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text("")
    (folder / "lib" / "x.py").write_text("")


def test_a_file_written_again_with_the_same_bytes_is_no_change(root: Path) -> None:
    """What counts is what the file says."""
    before = measure(root)
    (root / "m43" / "a.py").write_text("first")
    assert measure(root) == before


def test_an_edit_whose_time_is_put_back_is_named(root: Path) -> None:
    """Weights of 17 MiB are read; larger files tell by a time that nobody can put back."""
    for size, name in ((17 << 20, "model.safetensors"), (closing._READ_BYTES + 1, "large.bin")):
        path = root / "submission_runs" / "m42" / name
        with path.open("wb") as file:
            file.truncate(size)
    before = measure(root)
    for path in (root / "submission_runs" / "m42").glob("*.[sb]*"):
        status = path.stat()
        with path.open("r+b") as file:
            file.write(b"other")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert path.stat().st_mtime_ns == status.st_mtime_ns
    after = closing.measure_tree(root, root / "submission_runs" / "run", before=before)
    assert closing.tree_changes(before, after) == (
        "submission_runs/m42/large.bin",
        "submission_runs/m42/model.safetensors",
    )


def test_what_the_run_writes_by_configuration_is_left_out_and_named(root: Path) -> None:
    """A folder and a file; what lies beside them, or begins like them, is watched."""
    before = closing.measure_tree(root, root / "submission_runs" / "run", ["run.log", ".hf/hub"])
    assert before.left_out == (".hf/hub", "run.log")
    (root / ".hf" / "hub" / "models--a").mkdir(parents=True)
    (root / ".hf" / "hub" / "models--a" / "blob").write_text("")
    (root / "run.log").write_text("")
    after = closing.measure_tree(root, root / "submission_runs" / "run", before=before)
    assert after == before
    for name in (".hf/token", ".hf/hub2", "run.log2", "m43/run.log"):
        (root / name).write_text("")
    again = closing.measure_tree(root, root / "submission_runs" / "run", before=before)
    assert closing.tree_changes(before, again) == (
        ".hf/hub2",
        ".hf/token",
        "m43/run.log",
        "run.log2",
    )


def test_the_git_file_of_a_submodule_is_no_part_of_the_tree(root: Path) -> None:
    """Git writes it anew; what lies beside it is watched."""
    before = measure(root)
    (root / "module").mkdir()
    (root / "module" / ".git").write_text("gitdir: ../.git/modules/module")
    assert measure(root) == before
