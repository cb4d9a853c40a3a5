"""The manifest names every finished file, and sha256sum agrees with it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from m43.evidence import manifest
from m43.evidence.digests import GateWithoutRecordError, gate_digest
from m43.run_dir import RunDir
from tests.unit.evidence.good_run import write_good_run


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("manifest"))


@pytest.fixture
def run(good: RunDir, tmp_path: Path) -> RunDir:
    """A copy of it, to be changed."""
    return RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))


def test_sha256sum_accepts_the_manifest_of_a_good_run(good: RunDir) -> None:
    """The format is that of coreutils, so anybody can check without m43."""
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "MANIFEST.sha256"],
        cwd=good.path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "model/model.safetensors: OK" in done.stdout
    assert manifest.check(good) == ()


def test_what_changes_after_the_seal_is_left_out(good: RunDir) -> None:
    """Journal, documents and reports are not sealed; everything else is."""
    names = manifest.sealed_names(good)

    later = {"MANIFEST.sha256", "journal.jsonl", "report.html", "m43_summary.md"}
    assert not later & set(names)
    assert {"opening.json", "contract.txt", "predictions.jsonl", "training_log.txt"} <= set(names)


def test_a_missing_a_changed_and_an_extra_file_are_all_named(run: RunDir) -> None:
    """All that is wrong is told at once, each by its name."""
    run.auth.unlink()
    run.venv.write_text("{}")
    (run.path / "model" / "extra.bin").write_bytes(b"x")

    problems = {Path(item.where).name: item.found for item in manifest.check(run)}

    assert problems["auth.json"] == "no file"
    assert problems["venv.json"].startswith("SHA-256")
    assert problems["extra.bin"] == "a file that was not sealed"
    assert len(problems) == 3


@pytest.mark.parametrize("text", ["", "not a digest  auth.json\n", "0" * 64 + " auth.json\n"])
def test_a_manifest_that_lists_nothing_is_refused(run: RunDir, text: str) -> None:
    """An empty or malformed manifest does not pass by having nothing to check."""
    run.manifest.write_text(text)

    assert any("MANIFEST.sha256" in item.where for item in manifest.check(run))


def test_a_name_that_the_manifest_cannot_hold_is_refused(run: RunDir) -> None:
    """A line feed in a name could forge a line."""
    (run.path / "a\nb").write_text("x")

    with pytest.raises(manifest.UnlistableFileError):
        manifest.seal(run)


def test_a_link_is_refused(run: RunDir) -> None:
    """A link's target is no part of the folder and may change afterwards."""
    (run.path / "link").symlink_to("auth.json")

    with pytest.raises(manifest.UnlistableFileError):
        manifest.seal(run)
    assert any("link" in item.where for item in manifest.check(run))


def test_a_gate_without_its_record_cannot_be_closed(run: RunDir) -> None:
    """The digest of a gate's records needs all of them."""
    run.process("train").unlink()

    with pytest.raises(GateWithoutRecordError, match=r"train\.process\.json"):
        gate_digest(run, "train-300")
