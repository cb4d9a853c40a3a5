"""The lies about a run: what its records would say, and which promises of a contract that breaks.

A lie names what a promise asks of a record, such as `train.process.exit_status`, and a false value.
It is told over the records of a rehearsal that kept every promise, and changes no file.
"""

from collections.abc import Mapping
from pathlib import Path

from m43.errors import M43Error
from m43.evidence.contract import PROMISES, measure, read_contract
from m43.evidence.journal import ledger
from m43.evidence.run.loaded_run import LoadedRun, load_run
from m43.records import RunDir

Lie = Mapping[str, object]


class NoRehearsalError(M43Error):
    """A contract without an accepted rehearsal, so that there is nothing to lie about."""


def untold(folder: Path, lies: Mapping[str, Lie]) -> tuple[str, ...]:
    """Name the promises of a contract's folder that have no lie, and lies that have no promise."""
    names = read_contract(folder / PROMISES).names
    return tuple(name for name in (*names, *lies) if (name in names) != (name in lies))


def records_of(folder: Path) -> Mapping[str, object]:
    """Return the records of the last accepted rehearsal under a folder's contract as it is now.

    Raises: NoRehearsalError.
    """
    digest = read_contract(folder / PROMISES).text_sha256
    runs = folder.parent / ledger.RUNS
    for path in sorted(runs.glob(f"*/{RunDir.opening.name}"), reverse=True):
        loaded_run = load_run(RunDir(path.parent))
        if _is_rehearsal(loaded_run, folder.name, digest):
            return loaded_run.records
    raise NoRehearsalError(
        found="no accepted rehearsal under the promises as they are now",
        expected="one, over whose records lies are told",
        where=str(runs),
        action=f"run `pytest {folder.name} -m rehearsal` first",
    )


def _is_rehearsal(loaded_run: LoadedRun, folder: str, digest: str) -> bool:
    opening = loaded_run.opening
    return (
        opening is not None
        and (opening.contract, opening.contract_sha256) == (folder, digest)
        and loaded_run.kind == "rehearsal"
        and loaded_run.verdict.accepted
    )


def broken_by(folder: Path, records: Mapping[str, object], lie: Lie) -> tuple[str, ...]:
    """Name the promises of a contract's folder that records do not keep once a lie is told."""
    told = {name: _Lied(record, _below(name, lie)) for name, record in records.items()}
    promises = read_contract(folder / PROMISES).promises
    return tuple(each.name for each in promises if measure(each, told).holds is not True)


def _below(name: str, lie: Lie) -> Lie:
    return {path.partition(".")[2]: value for path, value in lie.items() if _head(path) == name}


def _head(path: str) -> str:
    return path.partition(".")[0]


class _Lied:
    """A record of which some fields say something else."""

    def __init__(self, record: object, lie: Lie) -> None:
        self._record, self._lie = record, lie

    def __eq__(self, other: object) -> bool:
        told = (other._record, other._lie) if isinstance(other, _Lied) else (other, {})
        return (self._record, self._lie) == told

    __hash__ = None  # type: ignore[assignment]  # as of what can be anything

    def __getattr__(self, name: str) -> object:
        if name in self._lie:
            return self._lie[name]
        value = getattr(self._record, name)
        below = _below(name, self._lie)
        return _Lied(value, below) if below else value
