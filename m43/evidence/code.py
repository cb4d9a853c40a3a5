"""The code of a run: every file that judges it, listed before the first gate."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

# What decides: m43 itself, the contract with its profiles and rows, and what pytest reads first.
# pyproject.toml holds the list of what training needs.
PARTS = ("m43", "acceptance", "conftest.py", "pytest.ini", "pyproject.toml")


def paths(repository: Path) -> tuple[Path, ...]:
    """List the files of a checkout that a run depends on."""
    found = [
        path
        for part in PARTS
        for path in ((repository / part).rglob("*") if "." not in part else [repository / part])
        if path.is_file() and "__pycache__" not in path.parts
    ]
    return tuple(sorted(found))


def digests(repository: Path) -> Mapping[str, str]:
    """Digest the files of a checkout that a run depends on, by path from its folder on."""
    return {
        path.relative_to(repository).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths(repository)
    }


def listing(repository: Path) -> str:
    """Write them as sha256sum does, so that anybody can check a checkout against a run."""
    return "".join(f"{digest}  {name}\n" for name, digest in digests(repository).items())


def parse(text: str) -> Mapping[str, str]:
    """Read a listing back; a line that is none gives an empty digest."""
    listed = {}
    for line in text.removesuffix("\n").split("\n"):
        digest, _, name = line.partition("  ")
        listed[name or line] = digest if name else ""
    return listed
