"""The recovery: runs that were cut off get the end that they could not write themselves.

It is done by `pytest acceptance -m …`, for every run of the folder, before a new one begins or is
refused, and by `python -m m43 render RUN_DIR` for one. `checklist` and `verify` write nothing and
only say that it is to be done. A run whose process lives is never touched: it holds its journal.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from m43.errors import FailureClass, M43Error
from m43.evidence.contract import read_kept
from m43.evidence.diagnosis import CUT_OFF, is_cut_off
from m43.evidence.documents import report_html, seal_reports, tells_the_end, write
from m43.evidence.journal import (
    Clock,
    Entry,
    Journal,
    chain,
    journal,
    ledger,
    manifest,
    secrets,
    stamp,
    utc_now,
)
from m43.evidence.run import LoadedRun, load_run
from m43.files import FileLock, HeldError, is_held
from m43.harness.process import oom_kills
from m43.records import (
    OpeningRecord,
    RecoveryRecord,
    RunDir,
    Vitals,
    read_record,
    remove_unfinished,
    write_atomically,
    write_record,
)

# Source: random(4): a number that Linux draws anew at every start of the machine.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
NO_BOOT_ID = "not told"


def vitals(boot_id: Path = _BOOT_ID) -> Vitals:
    """Look at the machine and at this process."""
    try:
        text = boot_id.read_text().strip()
    except OSError:
        text = NO_BOOT_ID
    return Vitals(boot_id=text, pid=os.getpid(), oom_kills=oom_kills())


_NOT_RECORDED = "not recorded"
_NO_TESTS = (
    "<p>This page was drawn from the records after the run had been cut off: what pytest had to "
    "say of its tests was lost with its process. The promises above are those of the journal.</p>"
)


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What became of the runs of a folder; each is named by its folder.

    Attributes:
        closed: They were cut off and have their end now.
        running: Their process lives.
        unclosable: Their journal was changed, so that nothing may be added to it.
    """

    closed: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    unclosable: tuple[str, ...] = ()


def close_cut_off(runs: Path, now: Clock = utc_now) -> Recovered:
    """Close every run of a folder that was cut off; the caller holds the ledger."""
    closed, running, unclosable = [], [], []
    for folder in _run_folders(runs):
        run = RunDir(folder)
        if is_closed(run):
            seal_left_reports(run)
            continue
        try:
            close_run(run, now)
            closed.append(folder.name)
        except HeldError:
            running.append(folder.name)
        except chain.BrokenChainError:
            unclosable.append(folder.name)
    recovered = Recovered(
        closed=tuple(closed), running=tuple(running), unclosable=tuple(unclosable)
    )
    _complete_ledger(runs / ledger.FILE, [RunDir(runs / name) for name in recovered.closed])
    return recovered


def _run_folders(runs: Path) -> Sequence[Path]:
    """List the run folders: those with a journal, and empty ones, which never got one."""
    if not runs.is_dir():
        return ()
    folders = (path for path in sorted(runs.iterdir()) if path.is_dir() and not path.is_symlink())
    return [
        path
        for path in folders
        if (path / RunDir.journal.name).is_file() or not any(path.iterdir())
    ]


def is_closed(run: RunDir) -> bool:
    """Tell whether a run's journal has its last line."""
    if not run.journal.is_file():
        return False
    try:
        entries = journal.read(run.journal)
    except chain.CutChainError:
        return False
    except chain.BrokenChainError:
        # Whether it ended well is verify's question; it must not be asked again at each command.
        return _has_failure_analysis_of_now(run)
    return bool(entries) and entries[-1].event == "closed"


def _has_failure_analysis_of_now(run: RunDir) -> bool:
    name, text = write.expected_document(load_run(run))
    path = run.path / name
    return path.is_file() and path.read_bytes() == text.encode()


def close_run(run: RunDir, now: Clock = utc_now) -> None:
    """Give a run that was cut off its end; what cannot be established is called unknown.

    Raises:
        HeldError: when its process lives; nothing is written then.
        BrokenChainError: when its journal was changed; only its document is made true then.
    """
    if not run.journal.exists():
        Journal.create(run.journal, now)
    hold = FileLock.take(run.journal)
    try:
        _close(run, now)
    finally:
        hold.release()


def _close(run: RunDir, now: Clock) -> None:
    try:
        cut_bytes = journal.drop_unfinished(run.journal)
    except chain.BrokenChainError:
        write.write_documents(run)
        raise
    removed = remove_unfinished(run)
    writer = Journal.open(run.journal, now)
    if not _is_sealed_well(run, writer.entries):
        record = RecoveryRecord(
            closed_utc=stamp(now()),
            vitals=vitals(),
            journal_bytes_removed=cut_bytes,
            removed=removed,
        )
        write_record(run.recovery, record)
        _write_end(run, writer)
    loaded = load_run(run)
    verdict = write.write_documents(run, loaded)
    writer.append("closed", detail=loaded.verdict_words(verdict.accepted))
    seal_left_reports(run, loaded.with_entries(writer.entries))


def seal_left_reports(run: RunDir, loaded: LoadedRun | None = None) -> None:
    """Seal the reports of a closed run whose process ended before it could.

    To seal them is the last thing that a run does. A page that was drawn before the journal's last
    entry is drawn again from the records; junit.xml is taken as it lies there.

    Args:
        run: The run folder.
        loaded: The same, where the caller has read it already.
    """
    if not run.reports_seal.exists():
        # The folder of another person may be one that cannot be written to.
        with suppress(OSError):
            if loaded is None and not is_held(run.journal):
                # What its process was writing when it died; a living one still is.
                remove_unfinished(run)
            found = loaded or load_run(run)
            if not tells_the_end(run, found):
                title = f"m43 {found.kind} {run.path.name}"
                write_atomically(run.report, report_html(run, title, _NO_TESTS, found).encode())
            seal_reports(run)


def _is_sealed_well(run: RunDir, entries: Sequence[Entry]) -> bool:
    """Tell whether the run itself had come to its end, and only its last words are missing."""
    return bool(entries) and entries[-1].event == "sealed" and not manifest.check(run)


def _write_end(run: RunDir, writer: Journal) -> None:
    # Written just before a seal that never came: a run that was cut off publishes nothing.
    run.model_card.unlink(missing_ok=True)
    entries = writer.entries
    opened = [entry.gate for entry in entries if entry.event == "gate_opened"]
    if not any(is_cut_off(entry) for entry in entries):
        writer.append(
            "interrupted",
            gate=opened[-1] if opened else "",
            failure_class=FailureClass.INTERRUPTED,
            detail=CUT_OFF,
        )
    told = {entry.name for entry in entries if entry.event.startswith("promise_")}
    # A run that was cut off before it had kept its contract tells of no promise.
    with suppress(M43Error):
        for promise in read_kept(run).promises:
            if promise.name not in told:
                detail = "the run was cut off"
                gate, name = promise.gate, promise.name
                writer.append("promise_not_run", gate=gate, name=name, detail=detail)
    leaks = secrets.search(run.path, ())
    if leaks:
        names = ", ".join(path.name for path in leaks)
        writer.append(
            "interrupted",
            failure_class=FailureClass.HARNESS_ERROR,
            detail=f"a token was found in {names}",
        )
    writer.append("sealed", detail=manifest.seal(run))


def _complete_ledger(path: Path, runs: Sequence[RunDir]) -> None:
    """Enter the attempts whose line a power cut took: an attempt that began is disclosed."""
    ledger.recover(path)
    known = {attempt.run for attempt in ledger.read(path)}
    for run in runs:
        if run.path.name not in known:
            opening = None
            with suppress(M43Error):
                opening = read_record(run.opening, OpeningRecord)
            ledger.append(
                path,
                run=run.path.name,
                kind=opening.kind if opening else _NOT_RECORDED,
                started_utc=opening.started_utc if opening else _NOT_RECORDED,
            )
