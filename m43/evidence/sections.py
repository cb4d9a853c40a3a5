"""The sections that both documents have: promises, timeline, attempts, environment, files."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from m43.evidence.dossier import Dossier, moment
from m43.evidence.entry import Entry
from m43.evidence.markdown import code, prose, table
from m43.evidence.measurement import Judged, measure
from m43.evidence.verdict import STAGES
from m43.hub_record import DownloadRecord
from m43.records import EarlierAttempt

REHEARSAL = "REHEARSAL \N{EN DASH} not a production run"

NOT_MEASURED = "not measured: the run did not get there"

NOT_JUDGED = "not judged"

NOTED = "## Warnings that were noted"

# Written after the verdict, which the documents are part of: they read the same with and without.
AFTER_THE_VERDICT = "closed"


def watermark(dossier: Dossier) -> str:
    """Give the words that keep a rehearsal from being taken for more; nothing in production."""
    return "" if dossier.kind == "production" else REHEARSAL


def banner(dossier: Dossier) -> str:
    """Write the watermark as the first thing below a document's title."""
    if not watermark(dossier):
        return ""
    return (
        f"> **{REHEARSAL}.** The same contract and the same code, on a small model; "
        "nothing here says anything about Gemma 2B."
    )


def other_contract(dossier: Dossier) -> str:
    """Name, below the verdict, the model of a run that is not the one of the locked decisions."""
    words = dossier.other_contract
    return (
        f"**Another contract**: {code(words.removeprefix('another contract: '))}." if words else ""
    )


def told(dossier: Dossier) -> tuple[Entry, ...]:
    """Give the journal's entries that the documents tell of."""
    return tuple(entry for entry in dossier.entries if entry.event != AFTER_THE_VERDICT)


def judged(dossier: Dossier) -> tuple[Judged, ...]:
    """Hold every promise of the kept contract against the records."""
    promises = dossier.contract.promises if dossier.contract else ()
    return tuple(measure(promise, dossier.records) for promise in promises)


def promise_states(dossier: Dossier) -> dict[str, str]:
    """Give what the journal says of each promise: kept, broken or not judged.

    Where a gate stopped, its first promise fails for that reason alone: nothing was compared.
    """
    words = {"promise_kept": "kept", "promise_broken": "BROKEN", "promise_not_run": NOT_JUDGED}
    stopped = _stopped_gates(dossier)
    return {
        entry.name: NOT_JUDGED if entry.gate in stopped else words[entry.event]
        for entry in dossier.entries
        if entry.event in words
    }


def _stopped_gates(dossier: Dossier) -> set[str]:
    return {entry.gate for entry in dossier.entries if entry.event == "gate_stopped"}


def promise_table(items: Sequence[Judged], states: dict[str, str]) -> str:
    """Write promises with what was measured and the file that each measurement stands in."""
    rows = []
    for number, item in enumerate(items, start=1):
        measured = "<br>".join(
            f"{code(side.expression)} = {code(side.value)} ({prose(side.file)})"
            for side in item.measurements
        )
        state = states.get(item.promise.name, NOT_JUDGED)
        rows.append(
            (
                str(number),
                f"{prose(item.promise.clause)}<br>{code(item.promise.name)}",
                measured or NOT_MEASURED,
                f"**{state}**" if state == "BROKEN" else state,
            )
        )
    return table(("#", "promise", "measured (file)", "state"), rows)


def timeline(dossier: Dossier) -> str:
    """Write when each thing happened; the promises of a gate are counted, not listed."""
    rows: list[tuple[str, ...]] = []
    counts: Counter[tuple[str, str]] = Counter()
    states = promise_states(dossier)
    for entry in told(dossier):
        if entry.event.startswith("promise_"):
            counts[states[entry.name], entry.gate] += 1
            if states[entry.name] != "BROKEN":
                continue
        rows.append((prose(entry.time_utc), _since(dossier, entry), _event(entry)))
    text = table(("time (UTC)", "after", "what (journal.jsonl)"), rows) + _set_back(dossier)
    by_gate = [
        f"{stage}: "
        + ", ".join(
            f"{counts[state, stage]} {state}"
            for state in ("kept", "BROKEN", NOT_JUDGED)
            if counts[state, stage]
        )
        for stage in STAGES
        if any(gate == stage for _, gate in counts)
    ]
    summary = "; ".join(by_gate) or "none judged"
    return f"{text}\n\nPromises by gate (journal.jsonl): {summary}."


def _event(entry: Entry) -> str:
    words = {
        "opened": "the run was opened",
        "gate_opened": f"gate {entry.gate} began",
        "gate_closed": f"gate {entry.gate} ended",
        "gate_stopped": f"gate {entry.gate} stopped: {entry.failure_class}",
        "promise_broken": f"promise broken: {entry.name}",
        "sealed": "the records were sealed (MANIFEST.sha256)",
        "interrupted": f"interrupted: {entry.detail}" if entry.detail else "interrupted",
    }
    return prose(words[entry.event])


def _set_back(dossier: Dossier) -> str:
    """Say where the machine's clock went backwards, if it did."""
    return "".join(
        f"\n\nThe clock was set back before entry {entry.seq} (journal.jsonl): times from there on "
        "cannot be compared with earlier ones. Durations in the records were measured with a clock "
        "that only goes forward."
        for entry in _steps_back(dossier.entries)
    )


def _steps_back(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """List the entries whose time is before that of the entry before them."""
    moments = [(entry, moment(entry.time_utc)) for entry in entries]
    return tuple(
        entry
        for (_, earlier), (entry, later) in pairwise(moments)
        if (seconds_between(earlier, later) or 0.0) < 0
    )


def _since(dossier: Dossier, entry: Entry) -> str:
    if _steps_back(dossier.entries[: entry.seq]):
        return "?"
    seconds = seconds_between(dossier.started, moment(entry.time_utc))
    return "?" if seconds is None else f"{seconds:.1f} s"


def seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    """Give the seconds from one time to another, if both are known and comparable."""
    if start is None or end is None or (start.tzinfo is None) != (end.tzinfo is None):
        return None
    return (end - start).total_seconds()


def gate_seconds(dossier: Dossier, gate: str) -> float | None:
    """Give how long a gate took; None when it did not begin and end, or the clock was set back."""
    if _steps_back([entry for entry in dossier.entries if entry.gate == gate]):
        return None
    times = {entry.event: moment(entry.time_utc) for entry in dossier.entries if entry.gate == gate}
    return seconds_between(
        times.get("gate_opened"), times.get("gate_closed") or times.get("gate_stopped")
    )


def attempts(dossier: Dossier) -> str:
    """Disclose the attempts before this one."""
    if dossier.opening is None:
        return "Not known: opening.json is missing."
    earlier = dossier.opening.earlier_attempts
    if dossier.opening.unlisted_runs:
        names = ", ".join(code(name) for name in dossier.opening.unlisted_runs)
        return (
            f"{_listed(earlier)}\n\nRun folders of which the ledger has no line, because they are "
            f"another machine's or it was begun anew: {names} (opening.json)."
        )
    return _listed(earlier)


def _listed(earlier: Sequence[EarlierAttempt]) -> str:
    if not earlier:
        return "None: when this run was opened, the ledger held no other attempt (opening.json)."
    rows = [(code(item.run), prose(item.kind), prose(item.started_utc)) for item in earlier]
    count = f"{len(earlier)} before this one (opening.json), whatever became of them."
    return f"{count}\n\n{table(('run', 'kind', 'began'), rows)}"


def environment_difference(dossier: Dossier) -> str:
    """Compare the environment and the working tree before and after."""
    closing, opening, venv = dossier.closing, dossier.opening, dossier.venv
    if closing is None:
        return f"Before and after were not compared ({NOT_MEASURED}): closing.json does not exist."
    lines = []
    if venv is None:
        lines.append(f"Packages: {NOT_MEASURED} (venv.json).")
    elif closing.packages_sha256 == venv.packages_sha256 and not closing.changed_packages:
        lines.append("Packages: no difference (venv.json, closing.json).")
    else:
        names = ", ".join(code(name) for name in closing.changed_packages) or "not named"
        lines.append(f"Packages: **changed**: {names} (venv.json, closing.json).")
    same = opening is not None and closing.tree_sha256 == opening.tree_sha256
    if same and not closing.changed_paths:
        count = f"{closing.tree_files} files have the same digest"
        lines.append(f"Working tree: no difference; {count} (opening.json, closing.json).")
    else:
        names = ", ".join(code(name) for name in closing.changed_paths) or "not named"
        lines.append(f"Working tree: **changed**: {names} (opening.json, closing.json).")
    lines += unwatched(dossier)
    return "\n".join(f"- {line}" for line in lines)


def noted(dossier: Dossier) -> str:
    """Show the warnings that were noted, if there are any; they decided nothing."""
    if dossier.noted is None:
        return ""
    lines = [
        *(f"- {prose(text)}" for text in dossier.noted.warnings),
        *(f"- on standard error: {prose(text)}" for text in dossier.noted.stderr),
    ]
    if dossier.noted.left_out:
        lines.append(f"- and {dossier.noted.left_out} more, which were not kept")
    return (
        "What dependencies said while the gates were at work. It ended nothing, and nobody judges "
        "it (noted.json).\n\n" + "\n".join(lines)
    )


def unwatched(dossier: Dossier) -> Iterator[str]:
    """Name what was left out, as the run began, of what is compared and searched."""
    if dossier.opening is None:
        return
    if dossier.opening.left_out:
        names = ", ".join(code(name) for name in dossier.opening.left_out)
        yield (
            f"Working tree, not watched: {names}, where the run itself writes by configuration "
            "(opening.json)."
        )
    if dossier.opening.unsearched:
        names = ", ".join(code(name) for name in dossier.opening.unsearched)
        yield (
            f"Secrets, not searched for: {names}; what is also a word stands in innocent text as "
            "well, and is hidden in addresses only (opening.json)."
        )


def impact_on_m42(dossier: Dossier) -> str:
    """State what the run did to the submission before it."""
    closing, opening = dossier.closing, dossier.opening
    if closing is None or opening is None:
        return (
            "m43 writes into its run folder and the Hugging Face cache only. Whether anything else "
            f"changed was {NOT_MEASURED} (closing.json)."
        )
    if closing.tree_sha256 == opening.tree_sha256 and not closing.changed_paths:
        if opening.left_out:
            return (
                "None that was seen. Every other file of the working tree that was watched has the "
                "same digest before and after (tree_sha256 in opening.json and closing.json); the "
                "environment difference names what was not watched."
            )
        return (
            "None. Every other file of the working tree has the same digest before and after "
            "(tree_sha256 in opening.json and closing.json)."
        )
    return (
        "**Files of the working tree changed while the run was on** (closing.json, named above). "
        "Whether M42 is among them must be looked at before it is submitted."
    )


def evidence_index(dossier: Dossier) -> str:
    """List the files that the document rests on, with their digests."""
    rows = [(code(file.name), code(file.sha256)) for file in dossier.files]
    text = table(("file", "SHA-256"), rows)
    return f"{text}\n\nThe weights below {code('model/')} are listed in MANIFEST.sha256."


def transfer_words(record: DownloadRecord) -> str:
    """Say how the model's files came, and what of that m43 has seen."""
    if not record.bytes_moved:
        return "0 bytes: every file lay in the cache"
    if record.transport == "xet":
        return (
            f"{record.bytes_moved:,} bytes by Xet; hf_xet was told to repeat nothing, and makes "
            "its requests unseen; the rest lay in the cache"
        )
    return (
        f"{record.bytes_moved:,} bytes by plain HTTP, in {record.requests} requests, none of them "
        "made twice; the rest lay in the cache"
    )


def unasked_words(dossier: Dossier) -> str:
    """List the requests that m43 did not make; empty when there were none."""
    records = {"auth.json": dossier.auth, "download.json": dossier.download}
    seen = [
        f"{request.method} {request.address} ({request.status or 'no answer'}; {file})"
        for file, record in records.items()
        if record is not None
        for request in record.unasked
    ]
    return "; ".join(seen)
