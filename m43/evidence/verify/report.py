"""The check of report.html and junit.xml: their seal, and every word of the page that follows.

The page is written again from the records, and must be the same. In it stands what pytest-html
said of the tests, which is in no record: names and outcomes are held against the journal; the
seconds and the words of a test are believed, as far as they are text and stand where they belong.
"""

from collections.abc import Iterator

from m43.errors import Problem
from m43.evidence.documents import (
    Tests,
    escaped,
    is_drawn_to_the_end,
    page_html,
    read_tests,
    seal_lines,
)
from m43.evidence.run import LoadedRun
from m43.records import RunDir


def audit_reports(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold the reports against their seal, and the page against the records."""
    yield from _audit_seal(run, loaded_run)
    if not run.report.is_file():
        return
    found = run.report.read_bytes()
    text = found.decode(errors="replace")
    if not run.reports_seal.is_file() and not is_drawn_to_the_end(text, loaded_run):
        # A run that was killed over its reports. One that is not closed is told of as that.
        if any(entry.event == "closed" for entry in loaded_run.entries):
            action = "`python -m m43 render RUN_DIR` draws it again and seals it"
            where = run.report.name
            yield Problem(found=_EARLIER, expected="one of its end", where=where, action=action)
        return
    tests = read_tests(text.partition(_TESTS)[2].partition("</section>")[0])
    titles = _titles(loaded_run)
    title = next((each for each in titles if f"<title>{escaped(each)}<" in text), titles[0])
    expected = page_html(run, loaded_run, title, tests)
    if found != expected.encode():
        yield _page_problem(text, expected)
    yield from _audit_tests(loaded_run, tests)


_EARLIER = "a page that was not drawn at the end of the run, and has no seal"
_TESTS = '<section id="tests" '


def _titles(loaded_run: LoadedRun) -> tuple[str, ...]:
    """Give the titles that a page may have: as pytest-html writes it, and as recovery does."""
    title = f"m43 {loaded_run.kind} {loaded_run.name}"
    return (title, f"{title} ({_REHEARSAL})") if loaded_run.kind != "production" else (title,)


# As the plugin has it in the title.
_REHEARSAL = "REHEARSAL \N{EN DASH} not production"
_SHOWN = 60


def _page_problem(found: str, expected: str) -> Problem:
    pairs = enumerate(zip(found, expected, strict=False))
    place = next((n for n, (a, b) in pairs if a != b), min(len(found), len(expected)))
    # A little of what comes before, so that a person can look for it.
    start = max(0, place - _SHOWN // 2)
    return Problem(
        found=repr(found[start : place + _SHOWN]),
        expected=repr(expected[start : place + _SHOWN]),
        where=f"report.html, character {place + 1}",
        action=(
            "do not rely on the page: it does not say what the records say; another version of m43 "
            "may word it otherwise (the run's commit stands in opening.json)"
        ),
    )


_OUTCOMES = {"promise_kept": "passed", "promise_broken": "failed", "promise_not_run": "not run"}


def _audit_tests(loaded_run: LoadedRun, tests: Tests) -> Iterator[Problem]:
    """Hold what the page says of a test against what the journal says of its promise."""
    told = {
        entry.name: _OUTCOMES.get(entry.event, "") for entry in loaded_run.entries if entry.name
    }
    for outcome, name, *_ in tests.rows:
        expected = told.get(name, "")
        if not expected or not outcome.lower().startswith(expected):
            where = "report.html, the tests as pytest saw them"
            promised = f"{expected or 'no such test'}, as in journal.jsonl"
            yield _problem(f"{name} {outcome}", promised, where)


def _audit_seal(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold the reports against their seal; a run that was interrupted may have none."""
    events = {entry.event for entry in loaded_run.entries}
    where = run.reports_seal.name
    if not run.reports_seal.is_file():
        if "closed" in events and "interrupted" not in events:
            yield _problem("no file", "the digests of report.html and junit.xml", where)
        return
    # Only \n ends a line, for sha256sum as well: str.splitlines knows other ends.
    sealed = run.reports_seal.read_text(encoding="utf-8", errors="replace").split("\n")
    present = seal_lines(run).split("\n")
    for line in (*sealed, *present):
        if (line in sealed) != (line in present):
            found = f"{'no such file' if line in sealed else 'a file'}: {line}"
            yield _problem(found, "the reports as they were sealed", where)
    if sealed != present and set(sealed) == set(present):
        yield _problem("the same lines otherwise", "the reports as they were sealed", where)


def _problem(found: str, expected: str, where: str) -> Problem:
    action = "do not rely on the reports: they are not as the run left them"
    return Problem(found=found, expected=expected, where=where, action=action)
