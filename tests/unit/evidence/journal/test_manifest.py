"""The manifest names every finished file, and sha256sum agrees with it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from m43.evidence.documents import write
from m43.evidence.journal import manifest
from m43.evidence.journal.digests import GateWithoutRecordError, gate_digest
from m43.files import file_sha256
from m43.records.run_dir import RunDir
from tests.unit.evidence.good_run import write_good_run


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes; without the picture, which takes longer than all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "loss_curve_svg", lambda metrics, mark: "<svg/>")
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


def test_what_a_dead_writer_left_by_half_is_no_evidence(run: RunDir) -> None:
    """A run that is killed over its report, behind the seal, is still the run that was sealed."""
    (run.path / ".report.html.ab12cd_3").write_text("<html")
    (run.path / ".junit.xml.partial").write_text("<")
    assert manifest.check(run) == ()
    (run.path / ".hidden").write_text("not m43's way of naming")
    assert [problem.where.rsplit("/", 1)[-1] for problem in manifest.check(run)] == [".hidden"]


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


def told(run: RunDir) -> list[tuple[str, str, str]]:
    """Check, and give found, expected and the name inside the folder of each problem."""
    problems = manifest.check(run)
    action = "do not rely on this folder: it is not as it was sealed"
    assert {item.action for item in problems} <= {action}
    return [
        (item.found, item.expected, Path(item.where).relative_to(run.path).as_posix())
        for item in problems
    ]


def test_each_problem_says_what_was_found_and_what_was_sealed(run: RunDir) -> None:
    """In full: a person compares the digests."""
    digest = file_sha256(run.auth)
    run.auth.write_text("{}")
    changed = file_sha256(run.auth)
    run.closing.unlink()
    (run.path / "new").write_text("x")
    assert told(run) == [
        ("no file", "the file that was sealed", "closing.json"),
        ("a file that was not sealed", "nothing beside the sealed files", "new"),
        (f"SHA-256 {changed[:12]}…", f"{digest[:12]}… as sealed", "auth.json"),
    ]


def test_a_file_that_became_a_link_is_named_and_not_followed(run: RunDir) -> None:
    """What a link leads to may be right today; the files behind it are still looked at."""
    elsewhere = run.path.parent / "auth.json"
    run.auth.rename(elsewhere)
    run.auth.symlink_to(elsewhere)
    run.venv.write_text("{}")
    found = told(run)
    assert found[0] == ("a link", "the file that was sealed", "auth.json")
    assert [name for _, _, name in found] == ["auth.json", "venv.json"]


def test_every_line_of_a_manifest_that_is_none_is_named(run: RunDir) -> None:
    """Not a digest, or a file a second time; the good lines are still checked."""
    lines = run.manifest.read_text().splitlines()
    run.manifest.write_text("\n".join(["x" * 99, *lines, lines[0]]) + "\n")
    name = lines[0].split("  ")[1]
    assert told(run) == [
        (repr("x" * 80), "a digest, two spaces, a name", "MANIFEST.sha256:1"),
        (f"{name} again", "each file once", f"MANIFEST.sha256:{len(lines) + 2}"),
    ]


@pytest.mark.parametrize("data", [None, b"\xff"])
def test_a_manifest_that_cannot_be_read_seals_nothing(run: RunDir, data: bytes | None) -> None:
    """Then every file is one that was not sealed."""
    run.manifest.unlink()
    if data is not None:
        run.manifest.write_bytes(data)
    name = "FileNotFoundError" if data is None else "UnicodeDecodeError"
    found = told(run)
    assert found[0] == (name, "a readable manifest", "MANIFEST.sha256")
    assert len(found) == 1 + len(manifest.sealed_names(run))
    assert manifest.read(run) == {}


def test_the_manifest_is_read_as_what_it_was_written_as(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are UTF-8 whatever the machine's own code is."""
    encodings: list[str | None] = []
    read = Path.read_text

    def spy(path: Path, encoding: str | None = None) -> str:
        encodings.append(encoding)
        return read(path, encoding=encoding)

    monkeypatch.setattr(Path, "read_text", spy)
    manifest.read(run)
    assert encodings == ["utf-8"]


def test_an_empty_manifest_says_that_it_is_empty(run: RunDir) -> None:
    """It must not pass because there is nothing to compare."""
    run.manifest.write_text("")
    assert ("no files", "every file of the run", "MANIFEST.sha256") in told(run)


def test_the_manifest_is_written_in_the_order_of_names(run: RunDir) -> None:
    """With the digest of each, and its own is given back."""
    digest = manifest.seal(run)
    lines = run.manifest.read_text().splitlines()
    listed = {line[66:]: line[:64] for line in lines}
    assert digest == file_sha256(run.manifest)
    assert list(listed) == sorted(listed) == list(manifest.sealed_names(run))
    assert listed == {name: file_sha256(run.path / name) for name in listed}
    assert manifest.read(run) == listed


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("model/model-00001-of-00002.safetensors", True),
        ("adapter/adapter_model.safetensors", True),
        ("model/config.json", False),
        ("other/model.safetensors", False),
    ],
)
def test_only_weights_may_be_missed_when_that_is_said(name: str, *, is_one: bool) -> None:
    """Whatever is small is not handed on without."""
    assert manifest.is_weights(name) is is_one


@pytest.mark.parametrize("name", ["a\nb", "a\\b"])
def test_the_refusal_of_a_name_says_where_and_what(run: RunDir, name: str) -> None:
    """The folder, the name, and that m43 did not make it."""
    (run.path / name).write_text("x")
    with pytest.raises(manifest.UnlistableFileError) as caught:
        manifest.seal(run)
    (problem,) = caught.value.problems
    assert problem.found == f"a file called {name!r}"
    assert problem.expected == "names without line feeds and backslashes"
    assert problem.where == str(run.path)
    assert problem.action == "find out what wrote it; m43 does not"


def test_the_refusal_of_a_link_says_why(run: RunDir) -> None:
    """Also of one that leads nowhere."""
    (run.path / "link").symlink_to("nowhere")
    with pytest.raises(manifest.UnlistableFileError) as caught:
        manifest.seal(run)
    (problem,) = caught.value.problems
    assert problem.found == "the link link"
    assert problem.expected == "files only, because what a link leads to may change"
    assert (problem.where, problem.action) == (
        str(run.path),
        "find out what made it; m43 does not",
    )


def test_a_folder_handed_on_without_weights_misses_only_them(run: RunDir) -> None:
    """And only when that is said; which they are, is told."""
    assert manifest.missing_weights(run) == ()
    (run.model / "model.safetensors").unlink()
    assert manifest.missing_weights(run) == ("model/model.safetensors",)
    missed = ("no file", "the file that was sealed", "model/model.safetensors")
    assert told(run) == [missed]
    assert manifest.check(run, without_weights=True) == ()

    (run.model / "config.json").unlink()
    (problem,) = manifest.check(run, without_weights=True)
    assert problem.where.endswith("model/config.json")
    assert manifest.missing_weights(run) == ("model/model.safetensors",)
