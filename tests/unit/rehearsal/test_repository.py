"""The served repository: sizes and digests as git, Git LFS and SHA-256 give them."""

import hashlib
from pathlib import Path

import pytest

from m43.rehearsal.reply import LARGE_BYTES, NothingToServeError, ServedRepository, git_blob_id
from tests.unit.rehearsal.conftest import REPO, REVISION, WEIGHT_BYTES, WEIGHTS


def test_a_small_file_is_pinned_by_its_git_blob(repository: ServedRepository) -> None:
    """Its blob id is what git would call it, and there is no SHA-256."""
    file = repository.find("config.json")
    assert file is not None
    content = b'{"model_type": "gemma"}\n'
    expected = hashlib.sha1(b"blob 24\0" + content).hexdigest()
    assert (file.blob_id, file.etag, file.sha256) == (expected, expected, "")


def test_weights_are_pinned_by_sha256(repository: ServedRepository) -> None:
    """Weights are large files by their name, however small a toy's are."""
    file = repository.find(WEIGHTS)
    assert file is not None
    assert file.etag == file.sha256 == hashlib.sha256(WEIGHT_BYTES).hexdigest()
    assert file.size_bytes == len(WEIGHT_BYTES)


def test_a_big_file_of_any_name_is_large(tmp_path: Path) -> None:
    """Above 10 MiB the hub keeps no file in git, and Gemma's tokenizer.json is above."""
    (tmp_path / "small.json").write_bytes(bytes(LARGE_BYTES))
    (tmp_path / "tokenizer.json").write_bytes(bytes(LARGE_BYTES + 1))
    served = ServedRepository.from_folder(tmp_path, name=REPO, revision=REVISION)
    assert [bool(file.sha256) for file in served.files] == [False, True]


def test_git_agrees_with_the_blob_id() -> None:
    """The empty blob has a name that everybody who reads git's sources has seen."""
    assert git_blob_id(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert git_blob_id(b"what is up, doc?") == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"


def test_links_are_followed(folder: Path, tmp_path: Path) -> None:
    """A snapshot in a Hugging Face cache is made of links, and can be served."""
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / WEIGHTS).symlink_to(folder / WEIGHTS)
    served = ServedRepository.from_folder(snapshot, name=REPO, revision=REVISION)
    assert [file.size_bytes for file in served.files] == [len(WEIGHT_BYTES)]


@pytest.mark.parametrize("exists", [True, False])
def test_an_empty_or_absent_folder_is_refused(tmp_path: Path, exists: bool) -> None:
    """A hub with nothing to serve would look like a hub without access."""
    folder = tmp_path / "nothing"
    if exists:
        folder.mkdir()
    with pytest.raises(NothingToServeError, match="give the folder"):
        ServedRepository.from_folder(folder, name=REPO, revision=REVISION)
