"""The digests of the gates: what seals a gate's records into the journal."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise

from m43.errors import M43Error
from m43.evidence.journal.chain import Entry
from m43.files import file_sha256
from m43.records import STAGES, RunDir

BEFORE_TRAINING = "before training"


class GateWithoutRecordError(M43Error):
    """A gate that is to be closed and has not written its records."""


def witness_line(run: RunDir, moment: str, entry: Entry) -> str:
    """Give a line about a run that is fit to be posted where others put a date on it.

    The journal's digest stands for every entry up to this one and, through the gates that it
    closed, for their records; the opening's for the contract, the rows and the code.
    """
    opening = file_sha256(run.opening)
    return f"m43 {run.path.name}, {moment}: journal {entry.sha256}, opening {opening}"


def witness_lines(run: RunDir, entries: Sequence[Entry]) -> tuple[str, ...]:
    """Give the two lines of a run: one from before training, one from its end."""
    training = [
        witness_line(run, BEFORE_TRAINING, earlier)
        for earlier, later in pairwise(entries)
        if (later.event, later.gate) == ("gate_opened", "train-300")
    ]
    ends = [witness_line(run, "at its end", each) for each in entries if each.event == "sealed"]
    return (*training, *ends)


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
