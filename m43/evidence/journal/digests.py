"""The digests of the gates: what seals a gate's records into the journal."""

import hashlib
from pathlib import Path

from m43.errors import M43Error
from m43.files import file_sha256
from m43.records.gates import CLOSING
from m43.records.run_dir import RunDir


class GateWithoutRecordError(M43Error):
    """A gate that is to be closed and has not written its records."""


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
