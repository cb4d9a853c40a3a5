"""Digests of a run's files: what seals a gate's records into the journal."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from m43.errors import M43Error
from m43.evidence.promise import CLOSING
from m43.run_dir import RunDir

_CHUNK_BYTES = 1 << 20


class GateWithoutRecordError(M43Error):
    """A gate that is to be closed and has not written its records."""


def file_sha256(path: Path) -> str:
    """Give the SHA-256 of a file's bytes, read in pieces because weights are large."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def bytes_sha256(data: bytes) -> str:
    """Give the SHA-256 of bytes that were read already."""
    return hashlib.sha256(data).hexdigest()


def gate_files(run: RunDir, gate: str) -> tuple[Path, ...]:
    """List the records of a gate: what must be there, unchanged, once the gate is closed."""
    files: dict[str, tuple[Path, ...]] = {
        "auth": (run.auth,),
        "venv": (run.venv, run.plan),
        "train-300": (
            *(run.download, run.process("download")),
            *(run.lint, run.train, run.metrics, run.process("train")),
        ),
        "eval": (run.evaluation, run.predictions, run.results, run.process("eval")),
        CLOSING: (run.closing,),
    }
    return files[gate]


def gate_digest(run: RunDir, gate: str) -> str:
    """Give the digest that the journal's `gate_closed` carries.

    It is the SHA-256 of one line per record, as sha256sum prints it, in the order of `gate_files`.

    Raises: GateWithoutRecordError.
    """
    lines = []
    for path in gate_files(run, gate):
        if not path.is_file():
            raise GateWithoutRecordError(
                found="no file",
                expected=f"a record of gate {gate}",
                where=str(path),
                action="the gate did not measure this; it must not be closed",
            )
        lines.append(f"{file_sha256(path)}  {path.name}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def weights_sha256(folder: Path) -> str:
    """Digest a model's weights; empty when there are none.

    The same digest as the training child's, and as a shell's:

        cd FOLDER && LC_ALL=C sha256sum *.safetensors | sha256sum
    """
    digests = {path.name: file_sha256(path) for path in folder.glob("*.safetensors")}
    return weights_digest(digests) if digests else ""


def weights_digest(digests: Mapping[str, str]) -> str:
    """Give the digest of weights of which the SHA-256 of every file is known, by name."""
    names = sorted(digests, key=str.encode)
    lines = "".join(f"{digests[name]}  {name}\n" for name in names)
    return hashlib.sha256(lines.encode()).hexdigest()
