"""The search for secrets in files: the last look before a run folder is sealed."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from m43.evidence.redaction import holds_secret, redact

__all__ = ["redact", "search"]

# Read in pieces, because weights are large; the pieces overlap by more than any secret is long.
_PIECE_BYTES = 1 << 24
_OVERLAP_BYTES = 1 << 14


def search(folder: Path, secrets: Iterable[str]) -> tuple[Path, ...]:
    """List the files below a folder that hold a secret, or something shaped like a hub token."""
    values = tuple(secrets)
    paths = sorted(folder.rglob("*"))
    return tuple(path for path in paths if path.is_file() and _holds_secret(path, values))


def _holds_secret(path: Path, secrets: Sequence[str]) -> bool:
    kept = b""
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            if holds_secret(kept + piece, secrets):
                return True
            kept = piece[-_OVERLAP_BYTES:]
    return False
