"""The search for secrets in files: the last look before a run folder is sealed."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from m43.evidence.redaction import holds_secret, redact

__all__ = ["lines_with_secret", "redact", "search"]

# Read in pieces, because weights are large; the pieces overlap by more than any secret is long.
_PIECE_BYTES = 1 << 24
_OVERLAP_BYTES = 1 << 14


def search(folder: Path, secrets: Iterable[str]) -> tuple[Path, ...]:
    """List the files below a folder that hold a secret, or something shaped like a hub token."""
    values = tuple(secrets)
    paths = sorted(folder.rglob("*"))
    return tuple(path for path in paths if path.is_file() and _holds_secret(path, values))


def lines_with_secret(path: Path, secrets: Iterable[str]) -> tuple[int, ...]:
    """Number the lines of a file that hold a secret; 0 stands for one that a line end breaks."""
    values = tuple(secrets)
    if not _holds_secret(path, values):
        return ()
    with path.open("rb") as file:
        found = tuple(number for number, line in enumerate(file, 1) if holds_secret(line, values))
    return found or (0,)


def _holds_secret(path: Path, secrets: Sequence[str]) -> bool:
    kept = b""
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            if holds_secret(kept + piece, secrets):
                return True
            kept = piece[-_OVERLAP_BYTES:]
    return False
