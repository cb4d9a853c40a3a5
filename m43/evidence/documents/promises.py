"""Promises, gates, attempts and time in the documents: asked, measured, and how it ended.

One file: the tables that summary, analysis and report share.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from m43.evidence.contract import Judged
from m43.evidence.documents.nodes import (
    BREAK,
    Bar,
    Bullets,
    Details,
    Node,
    Section,
    Span,
    Table,
    Text,
    Words,
    code,
    joined,
    mark,
    strong,
)
from m43.evidence.journal import Entry
from m43.evidence.run import (
    NOT_JUDGED,
    NOT_MEASURED,
    PURPOSES,
    GateState,
    LoadedRun,
    history,
    moment,
    promise_states,
    seconds_between,
    steps_back,
    stretches,
    told_entries,
    total_s,
)
from m43.records import STAGES, DownloadRecord, EarlierAttempt, ImportedRecord, RunDir
from m43.text import counted, duration_words

GATES_HEAD = ("gate", "what it asks", "answer", "promises kept", "took (journal.jsonl)")
TIMELINE_HEAD = ("time (UTC)", "after", "what (journal.jsonl)")
UNHARMED = (
    "None. Every other file of the working tree has the same digest before and after (tree_sha256 "
    "in opening.json and closing.json)."
)
_GOOD: Mapping[str, bool | None] = {"kept": True, "BROKEN": False}


def banner(watermark: str, *, another: bool = False) -> Node:
    """Say of a rehearsal, before anything else, that it is one."""
    what = "The same code" if another else "The same contract and the same code"
    text = f" {what}, on a small model; nothing here says anything about Gemma 2B."
    return Text((strong(f"{watermark}."), text) if watermark else "", "banner")


def other_contract(loaded_run: LoadedRun) -> list[Node]:
    """List, below the verdict, in what a run's contract is not the M43 contract."""
    lines = loaded_run.contract_differences
    if not lines:
        return []
    head = (strong("Another contract"), f": {loaded_run.other_contract}:")
    return [Text(head), Bullets([code(line) for line in lines])]


def gate_table(gates: Sequence[GateState]) -> Table:
    """Show every gate: what it asks, and how it ended."""
    longest = max((gate.seconds or 0.0 for gate in gates), default=0.0)
    rows = [
        (
            gate.title,
            gate.question,
            mark("yes" if gate.good else gate.state, gate.good),
            f"{gate.kept} of {gate.promised}",
            _took(gate.seconds, longest),
        )
        for gate in gates
    ]
    return Table(GATES_HEAD, rows)


def _took(seconds: float | None, longest: float) -> Words:
    if seconds is None:
        return "?"
    return (Span(duration_words(seconds), "number"), Bar(seconds / longest if longest else 0.0))


def promise_table(
    items: Sequence[Judged], states: Mapping[str, str], *, asserted: bool = False
) -> Table:
    """Show promises with what was measured, where that stands and, on demand, what is asserted."""
    rows = []
    for number, item in enumerate(items, start=1):
        state = states.get(item.promise.name, NOT_JUDGED)
        row: list[Words] = [
            str(number),
            (item.promise.clause, BREAK, code(item.promise.name)),
            _measured(item),
            mark(state, _GOOD.get(state)),
        ]
        rows.append([*row, joined(map(code, item.expected), BREAK)] if asserted else row)
    head = ("#", "promise", "measured (file)", "state")
    return Table((*head, "asserted") if asserted else head, rows, names=1)


def _measured(item: Judged) -> Words:
    sides = [
        (code(side.expression), " = ", code(side.value), f" ({side.file})")
        for side in item.measurements
    ]
    return joined(sides, BREAK) if sides else NOT_MEASURED


def promises_by_gate(loaded_run: LoadedRun) -> list[Node]:
    """Show the promises gate by gate."""
    items, states = loaded_run.judged, history.promise_states(loaded_run)
    found: list[Node] = []
    for gate in STAGES:
        mine = [item for item in items if item.promise.gate == gate]
        if mine:
            found.append(Section(gate, (promise_table(mine, states, asserted=True),)))
    return found or [Text("The run folder does not say what was promised.")]


def timeline(loaded_run: LoadedRun) -> list[Node]:
    """Show when each thing happened; the promises of a gate are counted, not listed."""
    rows: list[tuple[Words, ...]] = []
    counts: Counter[tuple[str, str]] = Counter()
    states = promise_states(loaded_run)
    for entry in told_entries(loaded_run):
        if entry.event.startswith("promise_"):
            counts[states[entry.name], entry.gate] += 1
            # A journal may say two things of one promise: each is a line only where it is broken.
            if states[entry.name] != "BROKEN" or entry.event != "promise_broken":
                continue
        rows.append((entry.time_utc, _since(loaded_run, entry), _event(entry)))
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
    return [
        Table(TIMELINE_HEAD, rows),
        *_set_back(loaded_run),
        Text(f"Promises by gate (journal.jsonl): {summary}."),
    ]


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
    return words[entry.event]


def _set_back(loaded_run: LoadedRun) -> Iterator[Node]:
    """Say where the machine's clock went backwards, if it did."""
    for entry in steps_back(loaded_run.entries):
        yield Text(
            f"The clock was set back before entry {entry.seq} (journal.jsonl): times from there on "
            "cannot be compared with earlier ones. Durations in the records were measured with a "
            "clock that only goes forward."
        )


def _since(loaded_run: LoadedRun, entry: Entry) -> str:
    if steps_back(loaded_run.entries[: entry.seq]):
        return "?"
    seconds = seconds_between(loaded_run.started, moment(entry.time_utc))
    return "?" if seconds is None else duration_words(seconds)


def attempts(loaded_run: LoadedRun) -> list[Node]:
    """Disclose the attempts before this one."""
    if loaded_run.opening is None:
        return [Text("Not known: opening.json is missing.")]
    found = _listed(loaded_run.opening.earlier_attempts)
    if loaded_run.opening.unlisted_runs:
        words = (
            "Run folders of which the ledger has no line, because they are another machine's or it "
            "was begun anew: ",
            _names(loaded_run.opening.unlisted_runs),
            " (opening.json).",
        )
        found.append(Text(words))
    return found


def _listed(earlier: Sequence[EarlierAttempt]) -> list[Node]:
    if not earlier:
        none = "None: when this run was opened, the ledger held no other attempt (opening.json)."
        return [Text(none)]
    rows = [(code(item.run), item.kind, item.started_utc) for item in earlier]
    count = f"{len(earlier)} before this one (opening.json), whatever became of them."
    return [Text(count), Table(("run", "kind", "began"), rows)]


def _names(names: Sequence[str]) -> Words:
    return joined(map(code, names), ", ") if names else "not named"


def environment_difference(loaded_run: LoadedRun) -> list[Node]:
    """Compare the environment and the working tree before and after."""
    closing, opening, venv = loaded_run.closing, loaded_run.opening, loaded_run.venv
    lines: list[Words] = []
    if venv is not None and venv.newer:
        newer = "Newer than what m43 was tested with, so that more hangs on the numerics check: "
        lines.append((newer, _names(venv.newer), " (venv.json)."))
    if closing is None:
        text = f"Before and after were not compared ({NOT_MEASURED}): closing.json does not exist."
        return [Bullets([*lines, text])] if lines else [Text(text)]
    if venv is None:
        lines.append(f"Packages: {NOT_MEASURED} (venv.json).")
    elif closing.packages_sha256 == venv.packages_sha256 and not closing.changed_packages:
        lines.append("Packages: no difference (venv.json, closing.json).")
    else:
        names = _names(closing.changed_packages)
        lines.append(("Packages: ", strong("changed"), ": ", names, " (venv.json, closing.json)."))
    same = opening is not None and closing.tree_sha256 == opening.tree_sha256
    files = " (opening.json, closing.json)."
    if same and not closing.changed_paths:
        count = f"{closing.tree_files} files have the same digest"
        lines.append(f"Working tree: no difference; {count}{files}")
    else:
        names = _names(closing.changed_paths)
        lines.append(("Working tree: ", strong("changed"), ": ", names, files))
    return [Bullets([*lines, *_code_that_ran(loaded_run), *_unwatched(loaded_run)])]


def _code_that_ran(loaded_run: LoadedRun) -> Iterator[Words]:
    """State what the children ran, and what they were kept from running."""
    children: tuple[tuple[str, str, ImportedRecord | None], ...] = (
        ("training", RunDir.train_imported.name, getattr(loaded_run.train, "imported", None)),
        ("evaluation", RunDir.eval_imported.name, getattr(loaded_run.evaluation, "imported", None)),
    )
    for child, name, ran in children:
        if ran is None:
            continue
        if wrong := (*ran.altered, *ran.unrecorded, *ran.changed, *ran.startup):
            other = strong("other than was digested")
            yield (f"Code of the {child}: ", other, ": ", _names(wrong), f" ({name}).")
            continue
        compiled = (
            "every module was compiled for this run"
            if ran.bytecode == "compiled for this run"
            else "compiled files were taken as they lay there, which no digest covers"
        )
        yield (
            f"Code of the {child}: {counted(len(ran.files), 'file')}, each as it was digested "
            f"before, packages as their wheels brought them; {compiled} ({name})."
        )
    if loaded_run.train and (names := loaded_run.train.imported.passed_over):
        what = "Start-up files of the environment, not run: "
        yield (what, _names(names), f" ({RunDir.train_imported.name}).")


def _unwatched(loaded_run: LoadedRun) -> Iterator[Words]:
    """Name what was left out, as the run began, of what is compared and searched."""
    if loaded_run.opening is None:
        return
    if names := loaded_run.opening.left_out:
        why = ", where the run itself writes by configuration (opening.json)."
        yield ("Working tree, not watched: ", _names(names), why)
    if names := loaded_run.opening.environments:
        why = "; of these only the packages that ran are compared (opening.json)."
        yield ("Working tree, taken for virtual environments: ", _names(names), why)
    if names := loaded_run.opening.unsearched:
        why = (
            "; what is also a word stands in innocent text as well, and is hidden in addresses "
            "only (opening.json)."
        )
        yield ("Secrets, not searched for: ", _names(names), why)


def noted(loaded_run: LoadedRun) -> list[Node]:
    """Show the warnings that were noted, if there are any; they decided nothing."""
    if loaded_run.noted is None:
        return []
    lines = [
        *loaded_run.noted.warnings,
        *(f"on standard error: {x}" for x in loaded_run.noted.stderr),
    ]
    if loaded_run.noted.left_out:
        lines.append(f"and {loaded_run.noted.left_out} more, which were not kept")
    text = (
        "What dependencies said while the gates were at work. It ended nothing, and nobody judges "
        "it (noted.json)."
    )
    return [Section("Warnings that were noted", (Text(text), Bullets(lines)))]


def impact_on_m42(loaded_run: LoadedRun) -> list[Node]:
    """State what the run did to the submission before it."""
    closing, opening = loaded_run.closing, loaded_run.opening
    if closing is None or opening is None:
        text: Words = (
            "m43 writes into its run folder and the Hugging Face cache only. Whether anything else "
            f"changed was {NOT_MEASURED} (closing.json)."
        )
    elif closing.tree_sha256 != opening.tree_sha256 or closing.changed_paths:
        text = (
            strong("Files of the working tree changed while the run was on"),
            " (closing.json, named above). Whether M42 is among them must be looked at before it "
            "is submitted.",
        )
    elif opening.left_out:
        text = (
            "None that was seen. Every other file of the working tree that was watched has the "
            "same digest before and after (tree_sha256 in opening.json and closing.json); the "
            "environment difference names what was not watched."
        )
    else:
        text = UNHARMED
    return [Text(text), *_m42(loaded_run)]


M42_HEAD = ("file of M42", "SHA-256 before (opening.json)", "after (closing.json)")
_NO_M42 = "No file lay in submission_runs/m42*: if M42 lies elsewhere, it was not looked at."


def _m42(loaded_run: LoadedRun) -> Iterator[Node]:
    """Show what lay where M42 is expected, before and after."""
    opening, closing = loaded_run.opening, loaded_run.closing
    if opening is None:
        return
    lines = (*opening.m42, *(closing.m42 if closing else ()))
    names = sorted({line.partition("  ")[2] for line in lines})
    before, after = (
        {name: digest for digest, _, name in (line.partition("  ") for line in record.m42)}
        if record is not None
        else dict.fromkeys(names, NOT_MEASURED)
        for record in (opening, closing)
    )
    rows = [
        (code(name), *(code(each.get(name, "no file")) for each in (before, after)))
        for name in names
    ]
    if not rows:
        yield Text(_NO_M42)
        return
    table = Table(M42_HEAD, rows)
    yield Details(f"Each of {counted(len(rows), 'file')}", (table,)) if len(rows) > _FEW else table


_FEW = 10


def evidence_index(rows: Sequence[Sequence[Words]]) -> list[Node]:
    """List the files that the document rests on, with their digests."""
    words = ("The weights below ", code("model/"), " are listed in MANIFEST.sha256.")
    return [Table(("file", "SHA-256"), rows), Text(words)]


def evidence_rows(loaded_run: LoadedRun) -> list[Sequence[Words]]:
    """Name the files and their digests."""
    return [(code(file.name), code(file.sha256)) for file in loaded_run.files]


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


def unasked_words(loaded_run: LoadedRun) -> str:
    """List the requests that m43 did not make; empty when there were none."""
    records = {RunDir.auth.name: loaded_run.auth, RunDir.download.name: loaded_run.download}
    seen = [
        f"{request.method} {request.address} ({request.status or 'no answer'}; {file})"
        for file, record in records.items()
        if record is not None
        for request in record.unasked
    ]
    return "; ".join(seen)


def time_spent(loaded_run: LoadedRun) -> list[Node]:
    """Show every stretch of the run with its share of the whole; nothing before the first."""
    parts = stretches(loaded_run)
    if not parts:
        return []
    whole = max(total_s(loaded_run) or 0.0, sum(part.duration_s for part in parts))
    sums = {name: sum(it.duration_s for it in parts if it.purpose == name) for name in PURPOSES}
    purposes = [(name, *_share(sums[name], whole)) for name in PURPOSES if sums[name]]
    details = [
        (part.name, part.gate, *_share(part.duration_s, whole), code(part.file)) for part in parts
    ]
    head = ("part", "gate", "time", "share of the run", "file")
    title = f"Each of the {len(parts)} parts, with its file"
    return [
        Text(f"From the first entry of the journal to the last: {duration_words(whole)}."),
        Table(("what for", "time", "share of the run"), purposes),
        Details(title, (Table(head, details),)),
    ]


def _share(seconds: float, whole: float) -> tuple[Words, Words]:
    share = seconds / whole if whole else 0.0
    number = Span(f"{100 * share:.1f} %", "number")
    return Span(duration_words(seconds), "number"), (Bar(share), number)
