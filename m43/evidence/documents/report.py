"""`report.html`: the whole page of a run, readable without JavaScript, verdict first.

This page and junit.xml are written by pytest's plugins when the run is closed already, so neither
the manifest nor the journal can hold their digests.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from m43.errors import Problem
from m43.evidence.diagnosis.catalogue import next_actions
from m43.evidence.diagnosis.diagnosis import child_name, child_of, diagnose_dossier
from m43.evidence.documents.charts import curves_html
from m43.evidence.documents.failure import LOGS, gate_checks
from m43.evidence.documents.html import escaped, linked, listed, mark, rich, section, table
from m43.evidence.documents.performance import memory_html, speed_html
from m43.evidence.documents.promises import gates_html, html_promise_table, promises_html, time_html
from m43.evidence.documents.provenance import files_html, provenance_html, verify_html
from m43.evidence.documents.scores import rows_html, scores_html
from m43.evidence.run import history
from m43.evidence.run.acceptance import verdict_of
from m43.evidence.run.history import clock_words, total_s
from m43.evidence.run.loaded_run import Dossier, read_dossier
from m43.evidence.run.run_end import Stop, find_stop
from m43.files import file_sha256
from m43.records.run_dir import RunDir, write_atomically

_WHAT_THIS_IS = (
    "This page is the record of one training run. What the run had to do was written down before "
    "as promises, in four stages called gates; a program held each promise against what was "
    "measured. Nothing here was typed by a person, and every number names its file."
)


def verdict_html(dossier: Dossier, accepted: bool) -> str:
    """Write the top of the page."""
    watermark = history.watermark(dossier)
    band = (
        f'<p class="rehearsal"><strong>{escaped(watermark)}.</strong> The same contract and the '
        "same code, on a small model; nothing here says anything about Gemma 2B.</p>"
        if watermark
        else ""
    )
    words, tone, sentence = _accepted(dossier) if accepted else _refused(dossier)
    sign = "\u2713" if accepted else "\u2717"
    return (
        f'{band}<div class="verdict {tone}"><h1><span aria-hidden="true">{sign}</span> '
        f'<span>{escaped(words)}</span></h1><p class="reason">{sentence}</p>'
        f"{_other_contract(dossier)}</div>"
        f"{_differences(dossier)}{listed(_figures(dossier), 'figures')}"
        f'<p class="note">{escaped(_WHAT_THIS_IS)}</p>'
    )


def _accepted(dossier: Dossier) -> tuple[str, str, str]:
    train, results = dossier.train, dossier.results
    words = dossier.verdict_words(True)
    count = len(dossier.contract.promises) if dossier.contract else 0
    sentence = f"All {count} promises were kept."
    if train and results and dossier.auth:
        overall = results.overall
        sentence = (
            f"All {count} promises were kept: <code>{escaped(dossier.auth.repo)}</code> was "
            f"trained in JAX for {train.optimizer_steps} steps on "
            f"{escaped(_device(train.device))}, then answered all {overall.rows} questions: "
            f"{overall.base_correct} right before training, {overall.tuned_correct} after."
        )
    return words, "good", sentence


def _device(device: str) -> str:
    """Name a device as a person does; the records write platform:kind."""
    platform, _, kind = device.partition(":")
    return "this machine's CPU" if platform == "cpu" else f"one {kind}"


def _refused(dossier: Dossier) -> tuple[str, str, str]:
    stop, diagnosis = find_stop(dossier.entries), diagnose_dossier(dossier)
    silent = stop.how == "no closing record"
    failure = "no closing record yet" if silent else str(diagnosis.failure_class)
    sentence = (
        f"<strong>{escaped(failure)}</strong>, {escaped(diagnosis.place)}. "
        f"{rich(diagnosis.sentence)}"
    )
    return dossier.verdict_words(False), "open" if silent else "bad", sentence


def _other_contract(dossier: Dossier) -> str:
    words = dossier.other_contract
    return f'<p class="reason"><strong>{escaped(words)}</strong></p>' if words else ""


def _differences(dossier: Dossier) -> str:
    lines = dossier.opening.profile_differences if dossier.opening else ()
    if not lines:
        return ""
    items = "".join(f"<li><code>{escaped(line)}</code></li>" for line in lines)
    return (
        f"<details><summary>{len(lines)} differences from the locked decisions</summary>"
        f"<ul>{items}</ul></details>"
    )


def _figures(dossier: Dossier) -> Iterator[tuple[str, str]]:
    """Give the figures that are known, whatever became of the run."""
    promises = dossier.contract.promises if dossier.contract else ()
    states = history.promise_states(dossier)
    kept = sum(states.get(promise.name) == "kept" for promise in promises)
    if promises:
        yield "promises kept", f"{kept} of {len(promises)}"
    metrics, promised = dossier.metrics, dossier.profile
    if metrics and promised:
        yield "training steps", f"{len(metrics)} of {promised.contract.optimizer_steps}"
        first, last = metrics[0].loss_nats, metrics[-1].loss_nats
        yield "loss, first and last step", f"{first:.3g} \u2192 {last:.3g}"
    if dossier.results:
        overall = dossier.results.overall
        change = f"{overall.base_correct} \u2192 {overall.tuned_correct} of {overall.rows}"
        yield "right answers", change
    seconds = total_s(dossier)
    if seconds is not None:
        yield "the whole run took", clock_words(seconds)
    peaks = [
        child.process.peak_bytes
        for child in (dossier.train_child, dossier.eval_child)
        if child.process
    ]
    if peaks:
        yield "peak host memory", f"{max(peaks) / 1e9:.2f} GB"


_STANDINGS = (
    "established: a record says so. supported: the records point to it. hypothesis: plausible, not "
    "tested. unknown: nothing recorded tells."
)


def failure_html(dossier: Dossier) -> str:
    """Write the sections that a person needs who has to act."""
    stop, diagnosis = find_stop(dossier.entries), diagnose_dossier(dossier)
    actions = next_actions(dossier, stop, diagnosis.failure_class)
    items = "".join(f"<li>{linked(rich(action))}</li>" for action in actions)
    claims = table(
        ("standing", "claim", "evidence"),
        (
            (
                f'<span class="standing">{escaped(claim.standing)}</span>',
                escaped(claim.text),
                "<br/>".join(
                    f'<code class="evidence">{escaped(name)}</code>' for name in claim.evidence
                )
                or "none",
            )
            for claim in diagnosis.claims
        ),
    )
    compared = "".join(_compared(dossier, stop))
    excerpt = "".join(_excerpt(dossier, stop))
    return "".join(
        (
            section(
                "actions",
                "What a person can do now",
                f'<p class="note">m43 did none of these: nothing was retried, nothing was '
                f"installed or repaired, nothing was put in place of what was missing.</p>"
                f'<ol class="actions">{items}</ol>',
            ),
            section(
                "why",
                "Why, as far as it is known",
                f'{claims}<p class="note">{escaped(_STANDINGS)}</p>',
            ),
            section("compared", "Expected against observed", compared) if compared else "",
            section("excerpt", "What was printed", excerpt) if excerpt else "",
        )
    )


def _compared(dossier: Dossier, stop: Stop) -> Iterator[str]:
    checks = gate_checks(dossier, stop.gate)
    # What fails stands first, and what holds is there as well.
    ordered = sorted(checks, key=lambda check: check.holds)
    if ordered:
        rows = [
            (
                escaped(check.name),
                mark("holds" if check.holds else "does not hold", check.holds),
                f"<code>{escaped(check.expected)}</code>",
                f"<code>{escaped(check.found)}</code>",
                "" if check.holds else escaped(check.action),
            )
            for check in ordered
        ]
        head = ("check", "state", "expected", "observed", "to do")
        yield table(head, rows, f"Checks of gate {stop.gate} ({stop.gate}.json)")
    if stop.problems:
        reasons = [
            (
                f"<code>{escaped(item.where)}</code>",
                f"<code>{escaped(item.expected)}</code>",
                f"<code>{escaped(item.found)}</code>",
                escaped(item.action),
            )
            for item in stop.problems
        ]
        parts = ("where", "expected", "observed", "to do")
        yield table(parts, reasons, "Why the gate stopped (journal.jsonl)")
    states = history.promise_states(dossier)
    broken = [item for item in history.judged(dossier) if states.get(item.promise.name) == "BROKEN"]
    if broken:
        yield f"<h3>Broken promises</h3>{html_promise_table(broken, states)}"


def _excerpt(dossier: Dossier, stop: Stop) -> Iterator[str]:
    """Show what was printed; it was redacted when it was written."""
    child, name = child_of(dossier, stop.gate), child_name(dossier, stop.gate)
    if child and child.error:
        yield "<h3>What the child reported</h3>" + _block(child.error.problems)
    if child and child.stacks:
        title = f"Where its threads stood when m43 ended it ({name}.stacks.txt)"
        yield f"<h3>{escaped(title)}</h3>{_block(child.stacks)}"
    if child and child.log_tail:
        name = LOGS[name]
        title = f"The last {len(child.log_tail)} lines of {name}"
        yield f"<h3>{escaped(title)}</h3>{_block(child.log_tail)}"
    if stop.gate == "venv" and dossier.venv and dossier.venv.probe.import_error:
        lines = tuple(dossier.venv.probe.import_error.splitlines())
        yield f"<h3>What importing JAX said (venv.json)</h3>{_block(lines)}"
    for entry in dossier.entries if stop.how == "broken" else ():
        if entry.event == "promise_broken" and entry.detail:
            title = f"What {entry.name} said (journal.jsonl, entry {entry.seq})"
            said = _block(tuple(entry.detail.splitlines()))
            yield f"<details><summary>{escaped(title)}</summary>{said}</details>"


def _block(lines: tuple[str, ...]) -> str:
    text = "\n".join(lines)
    return f'<pre class="block">{escaped(text)}</pre>'


_STYLE = Path(__file__).with_name("report.css")
_SCRIPT = Path(__file__).with_name("report.js")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A section of the page, as the list of contents names it."""

    anchor: str
    title: str
    body: str


def report_html(run: RunDir, title: str, tests: str, loaded: Dossier | None = None) -> str:
    """Write the page of a run as it stands.

    Args:
        run: The run folder.
        title: Of the page.
        tests: What pytest says of its tests, as HTML.
        loaded: The run folder, where the caller has read it already.
    """
    dossier = loaded or read_dossier(run)
    accepted = verdict_of(dossier).accepted
    parts = [part for part in _parts(run, dossier, tests) if part.body]
    # The analysis of a failure has anchors of its own.
    analysis = "" if accepted else failure_html(dossier)
    links = "" if accepted else '<li><a href="#actions">What to do now</a></li>'
    links += "".join(f'<li><a href="#{part.anchor}">{part.title}</a></li>' for part in parts)
    return page_html(
        title,
        f"<header>{verdict_html(dossier, accepted)}"
        f'<nav aria-label="Contents"><ul>{links}</ul></nav></header>'
        f"<main>{analysis}"
        + "".join(section(part.anchor, part.title, part.body) for part in parts)
        + f'</main><footer class="note">{_drawn_to(dossier)}</footer>',
    )


def tells_the_end(run: RunDir, loaded: Dossier) -> bool:
    """Tell whether the page that lies there was drawn from the journal as it is now."""
    if not run.report.is_file():
        return False
    page = run.report.read_text(encoding="utf-8", errors="replace")
    return _drawn_to(loaded) in page


def _drawn_to(dossier: Dossier) -> str:
    if not dossier.entries:
        return "Drawn before the journal had a first entry."
    last = dossier.entries[-1]
    return f"Drawn after entry {last.seq} of journal.jsonl, <code>{escaped(last.sha256)}</code>."


def _parts(run: RunDir, dossier: Dossier, tests: str) -> Iterator[Part]:
    yield Part(anchor="gates", title="The four gates", body=gates_html(dossier))
    yield Part(anchor="curves", title="Curves of the training", body=curves_html(dossier.metrics))
    yield Part(anchor="time", title="Where the time went", body=time_html(dossier))
    yield Part(anchor="speed", title="Speed", body=speed_html(dossier))
    yield Part(anchor="memory", title="Memory", body=memory_html(dossier))
    results, evaluation = dossier.results, dossier.evaluation
    scores = scores_html(results) if results else ""
    yield Part(anchor="evaluation", title="Evaluation", body=scores)
    rows = rows_html(evaluation.predictions) if evaluation else ""
    yield Part(anchor="rows", title="Every row", body=rows)
    yield Part(anchor="promises", title="Promises", body=promises_html(dossier))
    title = "Environment and provenance"
    yield Part(anchor="provenance", title=title, body=provenance_html(dossier))
    yield Part(anchor="files", title="The files of this run", body=files_html(_names(run, dossier)))
    yield Part(anchor="verify", title="How to check this", body=verify_html(dossier))
    yield Part(anchor="tests", title="The tests, as pytest saw them", body=tests)


def _names(run: RunDir, dossier: Dossier) -> frozenset[str]:
    """Name the files that are there, and those that are written right after this page."""
    there = {path.name for path in run.path.iterdir()}
    sealed = any(entry.event == "sealed" for entry in dossier.entries)
    return frozenset(
        there | {"report.html", "junit.xml"} | ({"reports.sha256"} if sealed else set())
    )


def page_html(title: str, body: str) -> str:
    """Write a page that loads nothing and runs nothing but what it holds.

    The policy names style and script by their digests, so that markup which slipped through the
    escaping could neither run nor call anywhere. `data:` is for the empty icon alone, without which
    a browser asks the server for one.
    """
    style, script = _STYLE.read_text(encoding="utf-8"), _SCRIPT.read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; style-src '{_source(style)}'; script-src '{_source(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        '<meta name="color-scheme" content="light dark"/>'
        '<meta name="referrer" content="no-referrer"/>'
        f'<link rel="icon" href="data:,"/><title>{escaped(title)}</title>'
        f"<style>{style}</style></head>\n<body>{body}<script>{script}</script></body></html>\n"
    )


def _source(text: str) -> str:
    """Name an inline source as a content security policy does."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def seal_reports(run: RunDir) -> None:
    """Write the digests of the reports that are there, as sha256sum prints them."""
    write_atomically(run.reports_seal, _lines(run).encode())


def audit_reports(run: RunDir, dossier: Dossier) -> Iterator[Problem]:
    """Hold the reports against their seal; a run that was interrupted may have none."""
    events = {entry.event for entry in dossier.entries}
    where = run.reports_seal.name
    if not run.reports_seal.is_file():
        if "closed" in events and "interrupted" not in events:
            yield _problem("no file", "the digests of report.html and junit.xml", where)
        return
    # Only \n ends a line, for sha256sum as well: str.splitlines knows other ends.
    sealed = run.reports_seal.read_text(encoding="utf-8", errors="replace").split("\n")
    present = _lines(run).split("\n")
    for line in (*sealed, *present):
        if (line in sealed) != (line in present):
            found = f"{'no such file' if line in sealed else 'a file'}: {line}"
            yield _problem(found, "the reports as they were sealed", where)
    if sealed != present and set(sealed) == set(present):
        yield _problem("the same lines otherwise", "the reports as they were sealed", where)


def _lines(run: RunDir) -> str:
    reports = (path for path in (run.report, run.junit) if path.is_file())
    return "".join(f"{file_sha256(path)}  {path.name}\n" for path in reports)


def _problem(found: str, expected: str, where: str) -> Problem:
    action = "do not rely on the reports: they are not as the run left them"
    return Problem(found=found, expected=expected, where=where, action=action)
