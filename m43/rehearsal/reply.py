"""A reply: what the hub answers to one request about a served folder, without touching a socket.

Source: the answers that huggingface_hub 2.4.0 reads (hf_api.py, RepoSibling and BlobLfsInfo).

Source: the statuses, headers and bodies that huggingface_hub 2.4.0 turns into its exceptions
(utils/_http.py, hf_raise_for_status) and its file metadata (file_download.py).
"""

import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

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


ACCOUNT = "rehearsal"
# The name under which the hub also knows its newest commit.
MAIN = "main"
# Where large files lie: behind an address, not behind the token.
STORAGE = "storage/"

_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What of a request matters to the answer."""

    method: str
    target: str
    authorization: str = field(repr=False)
    range: str = ""
    host: str = ""


@dataclass(frozen=True, kw_only=True)
class FileSlice:
    """A stretch of a served file, from `start` to before `end`."""

    file: ServedFile
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A status, headers, and a body that is either text or a stretch of a file."""

    status: int
    headers: dict[str, str]
    body: bytes = field(default=b"", repr=False)
    file: FileSlice | None = None

    @property
    def length(self) -> int:
        """The bytes of the body."""
        return self.file.end - self.file.start if self.file else len(self.body)


def reply_to(request: Request, repository: ServedRepository, token: str) -> Reply:
    """Answer a request as the real hub would.

    Stricter than the real hub in one thing: without a token there is nothing to read at all.
    """
    path = unquote(urlsplit(request.target).path).strip("/")
    if path.startswith(STORAGE):
        return _stored(request, path.removeprefix(STORAGE), repository, token)
    refusal = _refusal(request, path, token)
    if refusal is not None or path == "api/whoami-v2":
        return refusal or _json(_whoami())
    for prefix in (f"api/models/{repository.name}", f"{repository.name}/resolve"):
        # With a slash behind it: m43/toy is not m43/toy-gemma.
        if f"{path}/".startswith(f"{prefix}/"):
            rest = path.removeprefix(prefix).strip("/")
            if prefix.startswith("api/"):
                return _api(request, rest, repository)
            return _resolve(request, rest, repository, token)
    return error_reply(HTTPStatus.NOT_FOUND, "Repository not found", code="RepoNotFound")


def _refusal(request: Request, path: str, token: str) -> Reply | None:
    if not request.authorization:
        if path == "api/whoami-v2":
            return error_reply(HTTPStatus.UNAUTHORIZED, "Invalid username or password.")
        message = (
            "Access to this model is restricted. You must have access to it and be authenticated "
            "to access it. Please log in."
        )
        return error_reply(HTTPStatus.UNAUTHORIZED, message, code="GatedRepo")
    if request.authorization != f"Bearer {token}":
        return error_reply(HTTPStatus.UNAUTHORIZED, "Invalid credentials in Authorization header")
    return None


def _api(request: Request, rest: str, repository: ServedRepository) -> Reply:
    if rest == "auth-check":
        return Reply(status=HTTPStatus.OK, headers={"Content-Type": "text/plain"}, body=b"OK")
    # What a repository holds is public even where its files are gated.
    name, _, revision = rest.partition("/")
    if rest and name != "revision":
        return error_reply(
            HTTPStatus.NOT_FOUND, "Sorry, we can't find the page you are looking for."
        )
    if rest and revision not in (repository.revision, MAIN):
        return _unknown_revision(revision)
    query = parse_qs(urlsplit(request.target).query)
    # huggingface_hub sends True, which httpx writes as "true".
    return _json(_model_info(repository, blobs=query.get("blobs") == ["true"]))


def _resolve(request: Request, rest: str, repository: ServedRepository, token: str) -> Reply:
    revision, _, name = rest.partition("/")
    if revision not in (repository.revision, MAIN):
        return _unknown_revision(revision)
    file = repository.find(name)
    commit = {"X-Repo-Commit": repository.revision}
    if file is None:
        message = "Entry not found"
        return error_reply(HTTPStatus.NOT_FOUND, message, code="EntryNotFound", headers=commit)
    if file.sha256:
        return _elsewhere(request, file, token, commit)
    return _file(request, file, commit)


def _elsewhere(request: Request, file: ServedFile, token: str, headers: dict[str, str]) -> Reply:
    """Send a large file's reader to the storage, with the digest and a signed address.

    The storage has another name than the hub, as the real one has: huggingface_hub stops at a
    redirect to a foreign host when it asks for metadata, and takes no token there.
    """
    name, _, port = request.host.partition(":")
    host = "127.0.0.1" if name == "localhost" else "localhost"
    signature = _signature(file, token)
    location = f"http://{host}:{port}/{STORAGE}{quote(file.name)}?signature={signature}"
    linked = {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": str(file.size_bytes)}
    return Reply(status=HTTPStatus.FOUND, headers=headers | linked | {"Location": location})


def _stored(request: Request, name: str, repository: ServedRepository, token: str) -> Reply:
    """Serve a large file to whoever has the signed address; the storage asks for no token."""
    file = repository.find(name)
    signatures = parse_qs(urlsplit(request.target).query).get("signature", [])
    if file is None or signatures != [_signature(file, token)]:
        return error_reply(HTTPStatus.FORBIDDEN, "Request has no valid signature")
    return _file(request, file, {})


def _signature(file: ServedFile, token: str) -> str:
    return hmac.new(token.encode(), file.sha256.encode(), "sha256").hexdigest()


def _file(request: Request, file: ServedFile, headers: dict[str, str]) -> Reply:
    headers = headers | {
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "ETag": f'"{file.etag}"',
    }
    whole = FileSlice(file=file, start=0, end=file.size_bytes)
    match = _RANGE.match(request.range)
    # A range in a form that is not understood may be ignored: RFC 9110, section 14.2.
    if match is None or request.method == "HEAD":
        return Reply(status=HTTPStatus.OK, headers=headers, file=whole)
    start, last = int(match[1]), int(match[2] or file.size_bytes - 1)
    end = min(last + 1, file.size_bytes)
    if start >= end:
        headers["Content-Range"] = f"bytes */{file.size_bytes}"
        return Reply(status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=headers)
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size_bytes}"
    part = FileSlice(file=file, start=start, end=end)
    return Reply(status=HTTPStatus.PARTIAL_CONTENT, headers=headers, file=part)


def _unknown_revision(revision: str) -> Reply:
    message = f"Invalid rev id: {revision}"
    return error_reply(HTTPStatus.NOT_FOUND, message, code="RevisionNotFound")


def _whoami() -> dict[str, Any]:
    return {
        "type": "user",
        "id": "0" * 24,
        "name": ACCOUNT,
        "fullname": "Rehearsal",
        "isPro": False,
        "orgs": [],
        "auth": {"type": "access_token", "accessToken": {"displayName": "m43", "role": "read"}},
    }


def _model_info(repository: ServedRepository, *, blobs: bool) -> dict[str, Any]:
    return {
        "id": repository.name,
        "modelId": repository.name,
        "author": repository.name.split("/", maxsplit=1)[0],
        "sha": repository.revision,
        "private": False,
        "gated": "manual",
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": ["safetensors", "gemma"],
        "siblings": [_sibling(file, blobs=blobs) for file in repository.files],
    }


def _sibling(file: ServedFile, *, blobs: bool) -> dict[str, Any]:
    sibling: dict[str, Any] = {"rfilename": file.name}
    if not blobs:
        return sibling
    sibling |= {"blobId": file.blob_id, "size": file.size_bytes}
    if file.sha256:
        sibling["lfs"] = {
            "sha256": file.sha256,
            "size": file.size_bytes,
            "pointerSize": file.pointer_bytes,
        }
    return sibling


def _json(value: dict[str, Any]) -> Reply:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    return Reply(status=HTTPStatus.OK, headers=headers, body=json.dumps(value).encode())


def error_reply(
    status: HTTPStatus, message: str, *, code: str = "", headers: dict[str, str] | None = None
) -> Reply:
    """Answer with an error, as the hub tells it: in the body and in the headers."""
    told = {"X-Error-Message": message, "Content-Type": "application/json; charset=utf-8"}
    if code:
        told["X-Error-Code"] = code
    body = json.dumps({"error": message}).encode()
    return Reply(status=status, headers=told | (headers or {}), body=body)
