"""`report.html`: the whole page of a run, readable without JavaScript, verdict first."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from m43.evidence.documents import verdict_of
from m43.evidence.dossier import Dossier, read_dossier
from m43.evidence.hypertext import escaped, section
from m43.evidence.report_curves import curves_html
from m43.evidence.report_failure import failure_html
from m43.evidence.report_gates import gates_html
from m43.evidence.report_performance import memory_html, speed_html
from m43.evidence.report_promises import promises_html
from m43.evidence.report_provenance import files_html, provenance_html, verify_html
from m43.evidence.report_rows import rows_html
from m43.evidence.report_scores import scores_html
from m43.evidence.report_time import time_html
from m43.evidence.report_verdict import verdict_html
from m43.run_dir import RunDir

_STYLE = Path(__file__).with_name("report.css")
_SCRIPT = Path(__file__).with_name("report.js")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A section of the page, as the list of contents names it."""

    anchor: str
    title: str
    body: str


def report_html(run: RunDir, title: str, tests: str) -> str:
    """Write the page of a run as it stands; `tests` is what pytest says of its tests, as HTML."""
    dossier = read_dossier(run)
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


def tells_the_end(run: RunDir) -> bool:
    """Tell whether the page that lies there was drawn from the journal as it is now."""
    if not run.report.is_file():
        return False
    page = run.report.read_text(encoding="utf-8", errors="replace")
    return _drawn_to(read_dossier(run)) in page


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
