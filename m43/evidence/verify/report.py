"""The check of what people read: every word of it that follows from the records.

The closing document, the loss curve and the page are written again from the records, and must be
the same. In the page and in junit.xml stands what pytest said of the tests, which is in no record:
names and outcomes are held against the journal, and junit's seconds against its times; the words of
a test are believed, as far as they are text and stand where they belong.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from m43.errors import Problem, problem
from m43.evidence.contract import M43, PROMISES
from m43.evidence.documents import (
    Tests,
    escaped,
    expected_card,
    expected_document,
    expected_loss_curve,
    is_drawn_to_the_end,
    page_html,
    read_tests,
    seal_lines,
)
from m43.evidence.run import LoadedRun, moment, seconds_between
from m43.files import read_whole
from m43.records import STAGES, RunDir


def audit_reports(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold the reports against their seal, and the page against the records."""
    yield from _audit_seal(run, loaded_run)
    yield from audit_junit(run, loaded_run)
    if not run.report.is_file():
        return
    found = run.report.read_bytes()
    text = found.decode(errors="replace")
    if not run.reports_seal.is_file() and not is_drawn_to_the_end(text, loaded_run):
        # A run that was killed over its reports. One that is not closed is told of as that.
        if any(entry.event == "closed" for entry in loaded_run.entries):
            action = "where it was made, `python -m m43 render RUN_DIR` draws it again and seals it"
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


_JUNIT_BYTES = 1 << 23
_CHILDREN = {"failure": "failed", "error": "failed", "skipped": "not run"}
# Between the clock of the tests and that of the journal lies what pytest itself does.
_TICK_S, _APART_S = 0.05, 1800.0


def audit_junit(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold junit.xml against the journal: names, outcomes, counts, seconds."""
    where = run.junit.name
    if not run.junit.is_file():
        return
    try:
        data = read_whole(run.junit, _JUNIT_BYTES)
        # pytest declares no entities; a parser would unfold them without end.
        root = ElementTree.fromstring(b"<none/>" if b"<!" in data else data)
    except (OSError, ElementTree.ParseError) as error:
        yield _problem(f"{type(error).__name__}: {error}", "JUnit's record of the tests", where)
        return
    suites = root.findall("testsuite")
    if root.tag != "testsuites" or len(suites) != 1:
        yield _problem(f"<{root.tag}> with {len(suites)} suites", "one suite of pytest", where)
        return
    suite = suites[0]
    cases = suite.findall("testcase")
    for child in suite:
        if child.tag != "testcase":
            yield _problem(f"<{child.tag}> beside the tests", "tests alone", where)
    for child in (child for case in cases for child in case if child.tag not in _CHILDREN):
        yield _problem(f"<{child.tag}> in a test", f"{', '.join(_CHILDREN)} at most", where)
    yield from _audit_cases(loaded_run, cases, where)
    outcomes = Counter(_outcome(case) for case in cases)
    counts = {
        "tests": len(cases),
        "skipped": outcomes["not run"],
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": sum(case.find("error") is not None for case in cases),
    }
    for name, count in counts.items():
        if suite.get(name) != str(count):
            yield _problem(f"{name} {suite.get(name)!r}", f"{count}, counted", where)
    yield from _audit_times(loaded_run, suite, where)


def _outcome(case: ElementTree.Element) -> str:
    told = [_CHILDREN[child.tag] for child in case if child.tag in _CHILDREN]
    return told[0] if told else "passed"


def _audit_cases(
    loaded_run: LoadedRun, cases: Sequence[ElementTree.Element], where: str
) -> Iterator[Problem]:
    told = {
        entry.name: _OUTCOMES[entry.event]
        for entry in loaded_run.entries
        if entry.event in _OUTCOMES
    }
    promised = loaded_run.contract.names if loaded_run.contract is not None else ()
    names = [case.get("name", "") for case in cases]
    events = {entry.event for entry in loaded_run.entries}
    wanted = [name for name in promised if name in names]
    folder = loaded_run.opening.contract if loaded_run.opening else M43
    own = f"{folder}.{PROMISES.removesuffix('.py')}"
    if names != wanted or (len(names) < len(promised) and "interrupted" not in events):
        yield _problem(f"{len(names)} tests", f"the {len(promised)} of the contract, once", where)
    for case, name in zip(cases, names, strict=True):
        outcome, expected = _outcome(case), told.get(name, "no such test")
        if outcome != expected or case.get("classname") != own:
            found = f"{case.get('classname')}, {name} {outcome}"
            yield _problem(found, f"{own}, {expected}, as in journal.jsonl", where)


def _audit_times(
    loaded_run: LoadedRun, suite: ElementTree.Element, where: str
) -> Iterator[Problem]:
    spent: dict[str, float] = dict.fromkeys(STAGES, 0.0)
    promises = loaded_run.contract.promises if loaded_run.contract is not None else ()
    gates = {promise.name: promise.gate for promise in promises}
    for case in suite.findall("testcase"):
        gate = gates.get(case.get("name", ""), STAGES[0])
        spent[gate] += _seconds(case.get("time"))
    whole_s = _seconds(suite.get("time"))
    if not sum(spent.values()) <= whole_s + _TICK_S:
        found = f"tests of {sum(spent.values()):.3f} s in {whole_s:.3f} s"
        yield _problem(found, "tests that fit into their suite", where)
    for gate, spent_s in spent.items():
        times = {e.event: moment(e.time_utc) for e in loaded_run.entries if e.gate == gate}
        least_s = seconds_between(times.get("gate_opened"), times.get("gate_closed"))
        if least_s is not None and not least_s - _TICK_S <= spent_s <= least_s + _APART_S:
            found = f"{spent_s:.3f} s for the tests of {gate}"
            yield _problem(found, f"{least_s:.3f} s and a little, as in journal.jsonl", where)
    apart_s = seconds_between(loaded_run.started, moment(suite.get("timestamp", "")))
    if loaded_run.started is not None and (apart_s is None or abs(apart_s) > _APART_S):
        found = f"the time {suite.get('timestamp')!r}"
        yield _problem(found, f"about {loaded_run.started.isoformat()}", where)


def _seconds(text: str | None) -> float:
    """Read seconds; what is none fits nowhere."""
    try:
        value = float(text or "")
    except ValueError:
        return math.inf
    return value if 0 <= value < math.inf else math.inf


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


def audit_document(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Require exactly one closing document, the same as rendering writes."""
    name, text = expected_document(loaded_run)
    for path in (run.summary, run.failure_analysis):
        if path.name != name and path.exists():
            yield problem("a document", f"{name} alone", path.name, _RENDER)
        if path.name == name:
            yield from _text_problem(path, text, "the closing document", path.name, _RENDER)


def audit_model_card(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Require the card of an accepted run as its records make it, and none of another run."""
    path, where = run.model_card, RunDir.model_card.name
    expected = expected_card(loaded_run) if loaded_run.verdict.accepted else None
    if expected is not None:
        yield from _text_problem(path, expected, "the card of an accepted run", where, _CARD)
    elif path.exists():
        yield problem("a card", "none: the run was not accepted", where, _CARD)


_CARD = (
    "do not publish the model with it, nor rely on it: it was written before the seal and does not "
    "follow from the records; another version of m43 may word it otherwise (the run's commit "
    "stands in opening.json)"
)


def _text_problem(
    path: Path, expected: str, what: str, where: str, action: str
) -> Iterator[Problem]:
    if not path.is_file():
        yield problem("no document", what, where, action)
        return
    found = path.read_bytes()
    if found == expected.encode():
        return
    lines = found.decode(errors="replace").splitlines()
    wanted = expected.splitlines()
    pairs = enumerate(zip(lines, wanted, strict=False), start=1)
    number = next((n for n, (a, b) in pairs if a != b), min(len(lines), len(wanted)) + 1)
    line = lines[number - 1] if number <= len(lines) else "the end"
    truth = wanted[number - 1] if number <= len(wanted) else "the end"
    yield problem(repr(line[:120]), repr(truth[:120]), f"{where}:{number}", action)


def audit_loss_curve(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Draw the curve again."""
    path = run.loss_curve
    if not loaded_run.metrics or all(entry.event != "sealed" for entry in loaded_run.entries):
        return
    if not path.is_file():
        yield problem("no picture", "the loss curve", path.name, _RENDER)
    elif path.read_bytes() != expected_loss_curve(loaded_run).encode():
        yield problem("another picture", "the curve of the steps", path.name, _RENDER)


_RENDER = (
    "look at the difference first: another version of m43 may word it otherwise (the run's commit "
    "stands in opening.json); where the run was made, `python -m m43 render RUN_DIR` writes it "
    "from the records"
)
