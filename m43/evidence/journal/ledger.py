"""The ledger of attempts: `submission_runs/attempts.jsonl`, one sealed line per attempt."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from m43 import typed_json
from m43.errors import problem
from m43.evidence.journal import chain
from m43.evidence.journal.journal import append_line, drop_cut
from m43.files import read_whole, sync
from m43.records import EarlierAttempt, OpeningRecord

# Where the runs of a checkout lie, and the name of the ledger among them.
RUNS, FILE = "submission_runs", "attempts.jsonl"
# A line takes some 300; nobody makes a hundred thousand attempts.
_MOST_BYTES = 1 << 25


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A line of the ledger."""

    seq: int
    run: str
    kind: str
    started_utc: str
    previous_sha256: str
    sha256: str

    @property
    def earlier(self) -> EarlierAttempt:
        """The same as a later report discloses it."""
        return EarlierAttempt(run=self.run, kind=self.kind, started_utc=self.started_utc)


def read(path: Path) -> tuple[Attempt, ...]:
    """Read the ledger and check its chain; before the first attempt there is none.

    Raises: BrokenChainError, CutChainError.
    """
    try:
        data = read_whole(path, _MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        action = "do not rely on it: no m43 wrote this, or nobody may read it"
        unread = problem(str(error), "the lines of a ledger", str(path), action)
        raise chain.BrokenChainError((unread,)) from None
    return chain.parse(Attempt, data, str(path))


def recover(path: Path) -> int:
    """Take away the line that a power cut left unfinished, and tell how long it was.

    Whoever was writing it had made the run folder already, which tells of the attempt.

    Raises: BrokenChainError.
    """
    return drop_cut(path, read)


def append(path: Path, *, run: str, kind: str, started_utc: str) -> Attempt:
    """Add an attempt and return when it is on the disk.

    Raises: BrokenChainError, CutChainError, because nothing may follow a doubtful line.
    """
    attempts = read(path)
    draft = Attempt(
        seq=len(attempts) + 1,
        run=run,
        kind=kind,
        started_utc=started_utc,
        previous_sha256=attempts[-1].sha256 if attempts else chain.FIRST_PREVIOUS,
        sha256="",
    )
    attempt = replace(draft, sha256=chain.seal(typed_json.to_plain(draft)))
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        sync(path.parent)
    append_line(path, chain.line(attempt), sync=True)
    return attempt


def lines_of(opening: OpeningRecord) -> tuple[Attempt, ...]:
    """Rebuild the ledger as it stood when a run was opened, its own line last."""
    own = EarlierAttempt(run=opening.run, kind=opening.kind, started_utc=opening.started_utc)
    previous, lines = chain.FIRST_PREVIOUS, []
    for number, attempt in enumerate((*opening.earlier_attempts, own), start=1):
        draft = Attempt(
            seq=number,
            run=attempt.run,
            kind=attempt.kind,
            started_utc=attempt.started_utc,
            previous_sha256=previous,
            sha256="",
        )
        line = replace(draft, sha256=chain.seal(typed_json.to_plain(draft)))
        lines.append(line)
        previous = line.sha256
    return tuple(lines)
