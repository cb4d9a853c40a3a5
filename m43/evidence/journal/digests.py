"""The digests of the gates: what seals a gate's records into the journal."""

import hashlib

from m43.errors import M43Error
from m43.files import file_sha256
from m43.records import STAGES, RunDir


class GateWithoutRecordError(M43Error):
    """A gate that is to be closed and has not written its records."""


def gate_digest(run: RunDir, gate: str) -> str:
    """Give the digest that the journal's `gate_closed` carries.

    It is the SHA-256 of one line per record, as sha256sum prints it, in the order of
    `RunDir.records`.

    Raises: GateWithoutRecordError.
    """
    lines = []
    records = run.records(gate)
    if not records:
        raise GateWithoutRecordError(
            found=f"a gate called {gate!r}",
            expected=f"one of {', '.join(STAGES)}",
            where=run.journal.name,
            action="do not rely on this folder: m43 has no such gate",
        )
    for path in records:
        if not path.is_file():
            raise GateWithoutRecordError(
                found="no file",
                expected=f"a record of gate {gate}",
                where=str(path),
                action="the gate did not measure this; it must not be closed",
            )
        lines.append(f"{file_sha256(path)}  {path.name}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()
