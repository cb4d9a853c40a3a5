"""A served repository: a folder as the hub describes it, at one commit, every file with its digest.

Source: the answers that huggingface_hub 2.4.0 reads (hf_api.py, RepoSibling and BlobLfsInfo).
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from m43.errors import FailureClass, M43Error

# What the hub keeps outside git: weights by their name, and whatever is above 10 MiB.
LARGE_SUFFIXES = (".safetensors", ".bin", ".gguf", ".model")
LARGE_BYTES = 10 * 2**20


class NothingToServeError(M43Error):
    """A folder that cannot stand for a model repository."""

    failure_class = FailureClass.MODEL_INVALID


@dataclass(frozen=True, kw_only=True)
class ServedFile:
    """One file of the repository; `sha256` is empty where git itself keeps the content."""

    name: str
    path: Path
    size_bytes: int
    blob_id: str
    sha256: str
    pointer_bytes: int

    @property
    def etag(self) -> str:
        """What pins the content: SHA-256 of a large file, git's blob id of a small one."""
        return self.sha256 or self.blob_id


@dataclass(frozen=True, kw_only=True)
class ServedRepository:
    """A model repository with exactly one commit."""

    name: str
    revision: str
    files: tuple[ServedFile, ...] = field(repr=False)

    @classmethod
    def from_folder(cls, folder: Path, *, name: str, revision: str) -> "ServedRepository":
        """Describe every file below a folder; links, as in a Hugging Face cache, are followed.

        Raises: NothingToServeError, when the folder is missing or empty.
        """
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        if not paths:
            raise NothingToServeError(
                found="no files" if folder.is_dir() else "no folder",
                expected="a Hugging Face model folder with config.json and safetensors",
                where=str(folder),
                action="give the folder that holds the model's files",
            )
        files = tuple(_served_file(path, path.relative_to(folder).as_posix()) for path in paths)
        return cls(name=name, revision=revision, files=files)

    def without(self, file_name: str) -> "ServedRepository":
        """Give the repository as it would be had one file never been uploaded."""
        kept = tuple(file for file in self.files if file.name != file_name)
        return ServedRepository(name=self.name, revision=self.revision, files=kept)

    def find(self, file_name: str) -> ServedFile | None:
        """Look a file up by its name in the repository; nothing else on disk can be reached."""
        return next((file for file in self.files if file.name == file_name), None)


def _served_file(path: Path, name: str) -> ServedFile:
    size = path.stat().st_size
    if size <= LARGE_BYTES and not name.endswith(LARGE_SUFFIXES):
        blob_id = git_blob_id(path.read_bytes())
        return ServedFile(
            name=name, path=path, size_bytes=size, blob_id=blob_id, sha256="", pointer_bytes=0
        )
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    pointer = _pointer(sha256, size)
    return ServedFile(
        name=name,
        path=path,
        size_bytes=size,
        blob_id=git_blob_id(pointer),
        sha256=sha256,
        pointer_bytes=len(pointer),
    )


def git_blob_id(content: bytes) -> str:
    """Compute the name that git gives to a file's content.

    Example:
        >>> git_blob_id(b"")
        'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'

    Source: git hash-object.
    """
    # Not a safeguard but a name: git identifies blobs by SHA-1.
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def _pointer(sha256: str, size_bytes: int) -> bytes:
    # Source: the Git LFS specification, pointer files.
    version = "https://git-lfs.github.com/spec/v1"
    return f"version {version}\noid sha256:{sha256}\nsize {size_bytes}\n".encode()
