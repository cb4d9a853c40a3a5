"""The checkout: the code that a commit holds, or the working tree where git does not know it."""

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from m43.evidence import code

_GIT_PATIENCE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """Digests of the code by path, and where they were taken from."""

    place: str
    digests: Mapping[str, str] = field(repr=False)


def checkout_of(repository: Path, commit: str) -> Checkout:
    """Give the code of a commit, or that of the working tree if git cannot tell.

    A commit "with changes" names no code: only the working tree can be what it was.
    """
    committed = _committed(repository, commit) if len(commit) == 40 else None
    if committed is not None:
        return Checkout(place=f"commit {commit[:12]}", digests=committed)
    return Checkout(place="this working tree", digests=code.digests(repository))


def _committed(repository: Path, commit: str) -> Mapping[str, str] | None:
    listed = _git(repository, "ls-tree", "-r", "-z", "--name-only", commit, "--", *code.PARTS)
    if listed is None:
        return None
    names = [name for name in listed.decode(errors="surrogateescape").split("\0") if name]
    wanted = "".join(f"{commit}:{name}\n" for name in names)
    answer = _git(repository, "cat-file", "--batch", given=wanted.encode(errors="surrogateescape"))
    return _parted(names, answer) if answer is not None else None


def _parted(names: list[str], answer: bytes) -> Mapping[str, str] | None:
    """Cut `git cat-file --batch` into files: a line with the size, the bytes, a line feed."""
    digests, place = {}, 0
    for name in names:
        end = answer.find(b"\n", place)
        words = answer[place:end].split()
        # A link of git's ("commit") or a name with a line feed has no bytes to give.
        if len(words) != 3 or words[1] != b"blob":
            return None
        size = int(words[2])
        digests[name] = hashlib.sha256(answer[end + 1 : end + 1 + size]).hexdigest()
        place = end + 1 + size + 1
    return digests


def _git(repository: Path, *words: str, given: bytes = b"") -> bytes | None:
    # Without optional locks: to verify writes nothing, into .git neither.
    # Whose code runs here already is trusted by git too, also where another user checked it out.
    trust = ("-c", f"safe.directory={repository}")
    command = ["git", "--no-optional-locks", *trust, "-C", str(repository), *words]
    try:
        answer = subprocess.run(
            command, input=given, capture_output=True, timeout=_GIT_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None
