"""Promises, gates, attempts and time in the documents: asked, measured, and how it ended."""

from collections import Counter
from collections.abc import Iterator, Sequence

from m43.evidence.contract.measurement import Judged
from m43.evidence.documents.html import bar, escaped, mark
from m43.evidence.documents.html import table as html_table
from m43.evidence.documents.markdown import code, prose
from m43.evidence.documents.markdown import table as markdown_table
from m43.evidence.journal.chain import Entry
from m43.evidence.run import history
from m43.evidence.run.history import (
    NOT_JUDGED,
    NOT_MEASURED,
    PURPOSES,
    REHEARSAL,
    clock_words,
    promise_states,
    seconds_between,
    steps_back,
    stretches,
    told_entries,
    total_s,
    watermark,
)
from m43.evidence.run.loaded_run import Dossier, moment
from m43.evidence.run.run_end import GateState, gate_states
from m43.records.gates import STAGES
from m43.records.hub_record import DownloadRecord
from m43.records.run_records import EarlierAttempt

NOTED = "## Warnings that were noted"


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
    return markdown_table(("#", "promise", "measured (file)", "state"), rows)


def timeline(dossier: Dossier) -> str:
    """Write when each thing happened; the promises of a gate are counted, not listed."""
    rows: list[tuple[str, ...]] = []
    counts: Counter[tuple[str, str]] = Counter()
    states = promise_states(dossier)
    for entry in told_entries(dossier):
        if entry.event.startswith("promise_"):
            counts[states[entry.name], entry.gate] += 1
            if states[entry.name] != "BROKEN":
                continue
        rows.append((prose(entry.time_utc), _since(dossier, entry), _event(entry)))
    text = markdown_table(("time (UTC)", "after", "what (journal.jsonl)"), rows) + _set_back(
        dossier
    )
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
        for entry in steps_back(dossier.entries)
    )


def _since(dossier: Dossier, entry: Entry) -> str:
    if steps_back(dossier.entries[: entry.seq]):
        return "?"
    seconds = seconds_between(dossier.started, moment(entry.time_utc))
    return "?" if seconds is None else f"{seconds:.1f} s"


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
    return f"{count}\n\n{markdown_table(('run', 'kind', 'began'), rows)}"


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
    text = markdown_table(("file", "SHA-256"), rows)
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


_HEAD = ("promise", "state", "measured (file)", "expected")
_GOOD: dict[str, bool | None] = {"kept": True, "BROKEN": False}


def promises_html(dossier: Dossier) -> str:
    """Write the promises gate by gate."""
    items, states = history.judged(dossier), history.promise_states(dossier)
    parts = []
    for gate in STAGES:
        mine = [item for item in items if item.promise.gate == gate]
        if mine:
            parts.append(f"<h3>{escaped(gate)}</h3>{html_promise_table(mine, states)}")
    return "".join(parts) or "<p>The run folder does not say what was promised.</p>"


def html_promise_table(items: Sequence[Judged], states: dict[str, str]) -> str:
    """Write promises, the clause first, because it is what a person reads."""
    rows = []
    for item in items:
        state = states.get(item.promise.name, history.NOT_JUDGED)
        expected = "<br/>".join(f"<code>{escaped(text)}</code>" for text in item.expected)
        rows.append(
            (
                escaped(item.promise.clause),
                mark(state, _GOOD.get(state)),
                _measured(item),
                f'<span class="note">{expected}</span>',
            )
        )
    return f'<div class="promises">{html_table(_HEAD, rows)}</div>'


def _measured(item: Judged) -> str:
    sides = [
        f"<strong>{escaped(side.value)}</strong> <code>{escaped(side.expression)}</code> "
        f'<span class="file">{escaped(side.file)}</span>'
        for side in item.measurements
    ]
    return "<br/>".join(sides) or escaped(history.NOT_MEASURED)


def gates_html(dossier: Dossier) -> str:
    """Write the gates in their order."""
    gates = gate_states(dossier)
    longest = max((gate.seconds or 0.0 for gate in gates), default=0.0)
    return f'<ol class="gates">{"".join(_gate(gate, longest) for gate in gates)}</ol>'


def _gate(gate: GateState, longest: float) -> str:
    tone = {True: "good", False: "bad", None: "open"}[gate.good]
    took = "" if gate.seconds is None else clock_words(gate.seconds)
    drawn = bar(gate.seconds / longest) if gate.seconds is not None and longest else ""
    count = f"{gate.kept} of {gate.promised} promises kept"
    return (
        f'<li class="{tone}"><h3>{escaped(gate.title)}</h3><p>{mark(gate.state, gate.good)}</p>'
        f'<p class="question">{escaped(gate.question)}</p>'
        f'<p class="took"><span class="number">{took}</span> {drawn}</p>'
        f'<p class="count">{count}</p></li>'
    )


def time_html(dossier: Dossier) -> str:
    """Write every stretch of the run with its share of the whole; nothing before the first."""
    parts = stretches(dossier)
    if not parts:
        return ""
    whole = max(total_s(dossier) or 0.0, sum(part.duration_s for part in parts))
    sums = {name: sum(it.duration_s for it in parts if it.purpose == name) for name in PURPOSES}
    purposes = [(escaped(name), *_share(sums[name], whole)) for name in PURPOSES if sums[name]]
    details = [
        (
            escaped(part.name),
            escaped(part.gate),
            *_share(part.duration_s, whole),
            f"<code>{escaped(part.file)}</code>",
        )
        for part in parts
    ]
    return (
        f"<p>From the first entry of the journal to the last: {clock_words(whole)}.</p>"
        + html_table(("what for", "time", "share of the run"), purposes)
        + f"<details><summary>Each of the {len(parts)} parts, with its file</summary>"
        + html_table(("part", "gate", "time", "share of the run", "file"), details)
        + "</details>"
    )


def _share(seconds: float, whole: float) -> tuple[str, str]:
    share = seconds / whole if whole else 0.0
    return (
        f'<span class="number">{clock_words(seconds)}</span>',
        f'{bar(share)}<span class="number">{100 * share:.1f} %</span>',
    )
