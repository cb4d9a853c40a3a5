"""A run folder as one file: the same bytes each time, and a zip of somebody else's is refused."""

import base64
import copy
import json
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from m43 import __main__ as command_line
from m43.__main__ import main
from m43.evidence.run import load_run
from m43.evidence.verify import BundleError, unpacked, write_bundle
from m43.evidence.verify.stated import Stated
from m43.files import file_sha256
from m43.records.run_dir import RunDir
from tests.unit.evidence.good_run import stop_at, write_good_run

Harm = Callable[[zipfile.ZipFile, str], None]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("bundle"))


def bundled(run: RunDir, path: Path, *, with_weights: bool = False) -> Stated:
    """Write a bundle of a run."""
    return write_bundle(run, load_run(run), path, with_weights=with_weights)


def test_the_same_folder_gives_the_same_bytes(good: RunDir, tmp_path: Path) -> None:
    """Whoever made it, where and when: a copy with other times and modes is the same file."""
    twin = RunDir(tmp_path / "later" / good.path.name)
    shutil.copytree(good.path, twin.path, copy_function=shutil.copyfile)
    twin.auth.chmod(0o600)

    one = bundled(good, tmp_path / "one.zip")
    other = bundled(twin, tmp_path / "other.zip")

    assert one.path.read_bytes() == other.path.read_bytes()
    assert one.sha256 in one.statement.read_text()
    with zipfile.ZipFile(one.path) as archive:
        entries = archive.infolist()
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert [entry.filename for entry in entries[1:]] == sorted(archive.namelist()[1:])


@pytest.mark.parametrize("with_weights", [False, True])
def test_a_bundle_verifies_as_its_folder_does(
    good: RunDir,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    with_weights: bool,
) -> None:
    """By the same command, with the verdict first; that weights are left out is said."""
    made = bundled(good, tmp_path / "run.zip", with_weights=with_weights)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    assert main(["verify", str(made.path)]) == 0

    shown = capsys.readouterr().out
    assert shown.startswith(f"{made.path}: ACCEPTED")
    assert ("handed on without its weights" in shown) is not with_weights
    last = shown.splitlines()[-1]
    assert last.endswith("its weights were not there to be held against them") is not with_weights
    assert not list(tmp_path.glob("m43-bundle-*"))


def test_a_run_that_was_not_accepted_is_handed_on_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its verdict in the statement, and the exit status of its folder."""
    run = stop_at(tmp_path, "venv", lambda run: None, failure_class="no venv")
    made = bundled(run, tmp_path / "run.zip")

    assert main(["verify", str(made.path)]) == 3
    assert "NOT ACCEPTED" in capsys.readouterr().out
    assert "NOT ACCEPTED" in made.statement.read_text()


def test_a_lie_in_a_bundle_is_named_by_the_bundle(
    good: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not by the folder that it lay in for a moment."""
    twin = RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))
    twin.train.write_text(twin.train.read_text().replace("0", "1", 1))
    made = bundled(twin, tmp_path / "run.zip")

    assert main(["verify", str(made.path)]) == 1

    shown = capsys.readouterr().out
    assert "NOT SUPPORTED" in shown
    assert "m43-bundle-" not in shown


def test_a_bundle_that_was_changed_is_not_its_statement_s(
    good: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One byte of it, after it was made."""
    made = bundled(good, tmp_path / "run.zip")
    stated = made.statement.read_text()
    with zipfile.ZipFile(made.path, "a") as archive:
        archive.comment = b"later"

    assert main(["verify", str(made.path)]) == 1
    assert f"as in {made.statement.name}" in capsys.readouterr().out
    made.statement.write_text(f'{{"subject": [], "note": "{file_sha256(made.path)}"}}')
    assert main(["verify", str(made.path)]) == 1
    assert "none that can be read" in capsys.readouterr().out
    # The digest alone, made to fit: the size that is stated is another one.
    made.statement.write_text(stated.replace(made.sha256, file_sha256(made.path)))
    assert main(["verify", str(made.path)]) == 1
    assert "found another statement" in capsys.readouterr().out


def test_a_bundle_may_be_called_otherwise(good: RunDir, tmp_path: Path) -> None:
    """With what lies beside it; what is stated of its bytes stays true."""
    made = bundled(good, tmp_path / "run.zip")
    made.path.rename(tmp_path / "entry-7.zip")
    made.statement.rename(tmp_path / "entry-7.zip.intoto.json")

    assert main(["verify", str(tmp_path / "entry-7.zip")]) == 0


def _another_read_me(path: Path, run: str) -> None:
    """Write a zip again as it is, but for what a judge reads first."""
    with zipfile.ZipFile(path) as archive:
        kept = {entry: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in kept.items():
            archive.writestr(entry, f"{run} was ACCEPTED" if entry.filename[0] == "R" else data)


def test_a_bundle_says_to_a_judge_what_m43_says(
    good: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The zip's own README is read before anything is verified, so it is held against m43's."""
    made = bundled(good, tmp_path / "run.zip")
    with zipfile.ZipFile(made.path) as archive:
        words = archive.read("README.txt").decode()
    assert f"python -m m43 verify {good.path.name}.zip" in words
    assert f"{good.path.name}/{good.summary.name}" in words
    made.statement.unlink()
    _another_read_me(made.path, good.path.name)

    assert main(["verify", str(made.path)]) == 1
    shown = capsys.readouterr().out
    assert "run.zip: README.txt: found another text" in shown
    assert "1 claim not supported" in shown


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two pairs of keys, each of its own kind."""
    folder = tmp_path_factory.mktemp("keys")
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "mine")]
    subprocess.run(words, check=True)
    (folder / "mine.signers").write_text(f"me {(folder / 'mine.pub').read_text()}")
    pem = ("genpkey", "-algorithm", "ed25519", "-out", folder / "pem")
    for each in (pem, ("pkey", "-in", folder / "pem", "-pubout", "-out", folder / "pem.pub")):
        subprocess.run(["openssl", *map(str, each)], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    ("key", "public", "other"),
    [("mine", "mine.signers", "pem.pub"), ("pem", "pem.pub", "mine.signers")],
)
def test_a_bundle_is_signed_as_a_whole(
    good: RunDir,
    keys: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    key: str,
    public: str,
    other: str,
) -> None:
    """Of a folder that nobody signed too; a key that is not the signer's does not verify it."""
    made = bundled(good, tmp_path / "run.zip")
    assert main(["seal", "--key", str(keys / key), str(made.path)]) == 0
    assert f"{made.signature}: signed by the key" in capsys.readouterr().out
    table = json.loads(made.signature.read_text())
    assert base64.b64decode(table["payload"]) == made.statement.read_bytes()

    assert main(["verify", "--public-key", str(keys / public), str(made.path)]) == 0
    assert f"signed by the key of {keys / public}" in capsys.readouterr().out
    assert main(["verify", str(made.path)]) == 0
    assert "its signature was not checked" in capsys.readouterr().out
    assert main(["verify", "--public-key", str(keys / other), str(made.path)]) == 1
    assert "expected a signature by" in capsys.readouterr().out
    assert main(["seal", "--key", str(keys / key), str(made.path)]) == 1
    assert "is signed once" in capsys.readouterr().err


def test_what_was_changed_after_it_was_signed_is_named(
    good: RunDir, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The zip and its statement, made to fit each other: the signature is under another one."""
    made = bundled(good, tmp_path / "run.zip")
    assert main(["seal", "--key", str(keys / "pem"), str(made.path)]) == 0
    made.path.unlink()
    made.statement.unlink()
    signature = made.signature.read_bytes()
    made.signature.unlink()
    bundled(good, tmp_path / "run.zip", with_weights=True)
    made.signature.write_bytes(signature)
    capsys.readouterr()

    assert main(["verify", "--public-key", str(keys / "pem.pub"), str(made.path)]) == 1
    assert f"as in {made.signature.name}" in capsys.readouterr().out
    made.signature.write_text("{}")
    assert main(["verify", str(made.path)]) == 1
    assert "none that can be read (KeyError)" in capsys.readouterr().out


def test_a_bundle_that_does_not_hold_is_not_signed(
    good: RunDir, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither for its folder nor for what lies around that."""
    made = bundled(good, tmp_path / "run.zip")
    made.statement.write_text("{}")
    assert main(["seal", "--key", str(keys / "pem"), str(made.path)]) == 1
    assert "nothing was signed" in capsys.readouterr().err
    made.statement.unlink()
    twin = RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))
    twin.manifest.unlink()
    other = bundled(twin, tmp_path / "other.zip")
    assert main(["seal", "--key", str(keys / "pem"), str(other.path)]) == 1
    assert "nothing was signed" in capsys.readouterr().err
    assert not made.signature.exists()
    assert not other.signature.exists()


def _twice(archive: zipfile.ZipFile, name: str) -> None:
    archive.writestr(f"{name}/JOURNAL.jsonl", "")


def _link(archive: zipfile.ZipFile, name: str) -> None:
    entry = zipfile.ZipInfo(f"{name}/link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(entry, "/etc/passwd")


def _compressed(archive: zipfile.ZipFile, name: str) -> None:
    archive.writestr(f"{name}/training_log.txt", "", compress_type=zipfile.ZIP_DEFLATED)


def _many(archive: zipfile.ZipFile, name: str) -> None:
    for number in range(10_001):
        archive.writestr(f"{name}/{number}", "")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda archive, name: archive.writestr("../out", ""), "'../out': found this name"),
        (lambda archive, name: archive.writestr("/out", ""), "'/out': found this name"),
        (lambda archive, name: archive.writestr(f"{name}/../../x", ""), "found this name"),
        (lambda archive, name: archive.writestr(f"{name}\\x", ""), "found this name"),
        (lambda archive, name: archive.writestr(f"{name}/a/b/c", ""), "found this name"),
        (lambda archive, name: archive.writestr("other/x", ""), "expected one, the run folder"),
        (lambda archive, name: archive.writestr(f"{name}/auth.json/x", ""), "file and a folder"),
        (_twice, "a name twice"),
        (_link, "a link or something else"),
        (_compressed, "found 1 compressed file, as other tools write them"),
        (_many, "names, expected 10,000 at most"),
    ],
)
def test_what_no_run_folder_holds_is_refused_unread(
    good: RunDir, tmp_path: Path, harm: Harm, words: str
) -> None:
    """By the list of names alone, in one sentence, with nothing unpacked."""
    made = bundled(good, tmp_path / "run.zip")
    with zipfile.ZipFile(made.path, "a") as archive:
        harm(archive, good.path.name)

    with pytest.raises(BundleError) as error, unpacked(made.path):
        pass
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("largest", "words"), [(1000, "bytes, expected"), (250_000, "weights, exp")]
)
def test_more_than_a_run_can_hold_is_refused_unread(
    good: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int, words: str
) -> None:
    """A bomb tells how large it will be: one file, or all of them together."""
    made = bundled(good, tmp_path / "run.zip")
    monkeypatch.setattr("m43.evidence.verify.bundle.MOST_BYTES", largest)
    with zipfile.ZipFile(made.path) as archive:
        sizes = [entry.file_size for entry in archive.infolist()]
    assert sum(sizes) > 250_000 > max(sizes) > 1000

    with pytest.raises(BundleError) as error, unpacked(made.path):
        pass
    assert words in str(error.value)


@pytest.mark.parametrize("where", ["before", "behind"])
def test_a_zip_with_something_around_it_is_refused(
    good: RunDir, tmp_path: Path, where: str
) -> None:
    """As a program that unpacks itself has it, or what somebody hid."""
    made = bundled(good, tmp_path / "run.zip")
    data = made.path.read_bytes()
    made.path.write_bytes(b"#!/bin/sh\n" + data if where == "before" else data + b"more")

    with pytest.raises(BundleError, match="bytes before the zip or behind"), unpacked(made.path):
        pass


def test_entries_that_share_their_bytes_are_refused(good: RunDir, tmp_path: Path) -> None:
    """A list may name the same megabyte a thousand times."""
    made = bundled(good, tmp_path / "run.zip")
    with zipfile.ZipFile(made.path, "a") as archive:
        archive.writestr(f"{good.path.name}/model/a.safetensors", bytes(1 << 20))
        (entry,) = (each for each in archive.infolist() if each.filename.endswith("a.safetensors"))
        for number in range(3):
            copied = copy.copy(entry)
            copied.filename = f"{good.path.name}/model/{number}.safetensors"
            archive.filelist.append(copied)

    with pytest.raises(BundleError, match="no more than the"), unpacked(made.path):
        pass


@pytest.mark.parametrize("cut", [0, 100, -50])
def test_half_a_file_is_no_zip(good: RunDir, tmp_path: Path, cut: int) -> None:
    """As a download that broke off leaves it."""
    made = bundled(good, tmp_path / "run.zip")
    made.path.write_bytes(made.path.read_bytes()[:cut])

    with pytest.raises(BundleError, match="expected a zip file"), unpacked(made.path):
        pass


def test_a_byte_that_changed_on_the_way_is_noticed(good: RunDir, tmp_path: Path) -> None:
    """By the check sum of its entry."""
    made = bundled(good, tmp_path / "run.zip")
    data = bytearray(made.path.read_bytes())
    data[data.index(b'"kind"')] ^= 1
    made.path.write_bytes(data)

    with pytest.raises(BundleError, match="Bad CRC-32"), unpacked(made.path):
        pass


def test_an_encrypted_entry_is_refused(good: RunDir, tmp_path: Path) -> None:
    """Its flag is set in both headers, as packers do."""
    made = bundled(good, tmp_path / "run.zip")
    data = bytearray(made.path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    made.path.write_bytes(data)

    with pytest.raises(BundleError, match="an encrypted file"), unpacked(made.path):
        pass


def test_what_cannot_be_handed_over_is_not(
    good: RunDir,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A run that goes on, a token in the folder, a file that is there already."""
    monkeypatch.setattr(command_line, "RUNS", tmp_path)
    monkeypatch.chdir(tmp_path)
    twin = RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))
    lines = twin.journal.read_text().splitlines(keepends=True)
    twin.journal.write_text("".join(lines[:-1]))
    assert main(["bundle", str(twin.path)]) == 1
    assert "a run that is not closed" in capsys.readouterr().err

    twin.journal.write_text("".join(lines))
    monkeypatch.setenv("HF_TOKEN", "a-word-Nobody7guesses")
    twin.train_log.write_text("it said: a-word-Nobody7guesses")
    assert main(["bundle", str(twin.path)]) == 1
    assert "revoke that token" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.zip*"))

    monkeypatch.delenv("HF_TOKEN")
    assert main(["bundle", str(twin.path), "--out", str(tmp_path / "none" / "x.zip")]) == 1
    assert "found no such folder" in capsys.readouterr().err
    assert main(["bundle", str(twin.path), "--out", str(tmp_path)]) == 1
    assert "expected the name of a file" in capsys.readouterr().err
    assert main(["bundle", str(twin.path)]) == 0
    assert f"{tmp_path / twin.path.name}.zip: " in capsys.readouterr().out
    assert main(["bundle", str(twin.path)]) == 1
    assert "nothing is overwritten" in capsys.readouterr().err


def test_weights_that_are_not_there_are_not_handed_over(
    good: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever asks for them is told."""
    twin = RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))
    for weights in twin.path.rglob("*.safetensors"):
        weights.unlink()
    assert main(["bundle", str(twin.path), "--with-weights"]) == 1
    assert "found no weights" in capsys.readouterr().err


def test_a_zip_of_a_folder_that_is_no_run_is_told_as_that(tmp_path: Path) -> None:
    """By the zip's own name."""
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("photos/a.txt", "a")

    with pytest.raises(BundleError) as error, unpacked(tmp_path / "other.zip"):
        pass
    assert str(error.value).startswith("other.zip: found a folder photos without journal.jsonl")


def test_what_goes_wrong_while_a_bundle_is_looked_at_is_not_the_bundles(
    good: RunDir, tmp_path: Path
) -> None:
    """An end of input of whoever looks does not make it no zip."""
    made = bundled(good, tmp_path / "run.zip")
    with pytest.raises(EOFError, match="somebody else's"), unpacked(made.path):
        raise EOFError("somebody else's")
