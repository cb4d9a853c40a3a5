"""`report.html`: the whole page of a run, readable without JavaScript, verdict first.

This page and junit.xml are written by pytest's plugins when the run is closed already, so neither
the manifest nor the journal can hold their digests. So `verify` writes the page again. What pytest
says of its tests is in no record: of that, names and outcomes are held against the journal; the
seconds, and the words of a test that failed, are pytest's own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

from m43.evidence.diagnosis import diagnose_loaded
from m43.evidence.documents.charts import card_pictures, pictures
from m43.evidence.documents.failure import analysis
from m43.evidence.documents.html import fragment, page
from m43.evidence.documents.nodes import (
    Bullets,
    Details,
    Fields,
    Figure,
    Node,
    Pairs,
    Section,
    Table,
    Text,
    Words,
    code,
    mark,
    rich,
    strong,
)
from m43.evidence.documents.performance import card, memory, speed
from m43.evidence.documents.promises import (
    banner,
    gate_table,
    other_contract,
    promises_by_gate,
    time_spent,
)
from m43.evidence.documents.provenance import (
    files,
    how_to_check,
    provenance,
    way_words,
    weights_words,
)
from m43.evidence.documents.scores import evaluation, every_row
from m43.evidence.run import (
    LoadedRun,
    card_use,
    find_stop,
    gate_states,
    history,
    load_run,
    performance,
    total_s,
)
from m43.files import file_sha256
from m43.records import RunDir, write_atomically
from m43.text import duration_words, size_words

_WHAT_THIS_IS = (
    "This page is the record of one training run. What the run had to do was written down before "
    "as promises, in four stages called gates; a program held each promise against what was "
    "measured. Nothing here was typed by a person, and every number names its file."
)


def report_html(run: RunDir, title: str, tests: str, loaded: LoadedRun | None = None) -> str:
    """Write the page of a run as it stands.

    Args:
        run: The run folder.
        title: Of the page.
        tests: What pytest says of its tests, as HTML; only its text is taken.
        loaded: The run folder, where the caller has read it already.
    """
    return page_html(run, loaded or load_run(run), title, read_tests(tests))


def page_html(run: RunDir, loaded_run: LoadedRun, title: str, tests: "Tests") -> str:
    """Write the page from what is known already."""
    verdict = loaded_run.verdict
    # The analysis of a failure has sections of its own.
    told = () if verdict.accepted else analysis(loaded_run, verdict)
    parts = [part for part in _parts(run, loaded_run, tests) if part.children]
    header = _header(loaded_run, verdict.accepted)
    return page(title, header, (*told, *parts), _drawn_to(loaded_run))


def tells_the_end(run: RunDir, loaded: LoadedRun) -> bool:
    """Tell whether the page that lies there was drawn from the journal as it is now."""
    if not run.report.is_file():
        return False
    text = run.report.read_text(encoding="utf-8", errors="replace")
    return is_drawn_to_the_end(text, loaded)


def is_drawn_to_the_end(text: str, loaded_run: LoadedRun) -> bool:
    """Tell whether a page names the journal's last entry."""
    return fragment((_drawn_to(loaded_run),)) in text


def _drawn_to(loaded_run: LoadedRun) -> Text:
    if not loaded_run.entries:
        return Text("Drawn before the journal had a first entry.", "note")
    last = loaded_run.entries[-1]
    words = (f"Drawn after entry {last.seq} of journal.jsonl, ", code(last.sha256), ".")
    return Text(words, "note")


def _header(loaded_run: LoadedRun, accepted: bool) -> list[Node]:
    watermark = history.watermark(loaded_run)
    words, good, sentence = _accepted(loaded_run) if accepted else _refused(loaded_run)
    reasons = [Text(sentence), *other_contract(loaded_run)]
    return [
        *([banner(watermark, another=bool(loaded_run.contract_differences))] if watermark else []),
        Section(mark(words, good), reasons, "verdict"),
        *_differences(loaded_run),
        Section("", (Pairs(tuple(_figures(loaded_run))),), "figures"),
        *_identity(loaded_run),
        Text(_WHAT_THIS_IS, "note"),
    ]


def _identity(loaded_run: LoadedRun) -> list[Node]:
    """Say what was trained and who served it, where both are seen first."""
    auth, train = loaded_run.auth, loaded_run.train
    if auth is None:
        return []
    model = f", {train.architecture}, {train.parameters:,} parameters" if train else ""
    weights = f" (weights, by the hub's word: {weights_words(auth)})" if auth.files else ""
    words = f"The model: {auth.repo}{model}{weights}.", f"The hub: {way_words(auth)}."
    return [Text(line, "note") for line in words]


Verdict = tuple[str, bool | None, Words]


def _accepted(loaded_run: LoadedRun) -> Verdict:
    train, results = loaded_run.train, loaded_run.results
    count = len(loaded_run.contract.promises) if loaded_run.contract else 0
    sentence: Words = f"All {count} promises were kept."
    if train and results and loaded_run.auth:
        overall = results.overall
        sentence = (
            f"All {count} promises were kept: ",
            code(loaded_run.auth.repo),
            f" was trained in JAX for {train.optimizer_steps} steps on {_device(train.device)}, "
            f"then answered all {overall.rows} questions: {overall.base_correct} right before "
            f"training, {overall.tuned_correct} after.",
        )
    return loaded_run.verdict_words(True), True, sentence


def _device(device: str) -> str:
    """Name a device as a person does; the records write platform:kind."""
    platform, _, kind = device.partition(":")
    return "this machine's CPU" if platform == "cpu" else f"one {kind}"


def _refused(loaded_run: LoadedRun) -> Verdict:
    stop, diagnosis = find_stop(loaded_run.entries), diagnose_loaded(loaded_run)
    silent = stop.how == "no closing record"
    failure = "no closing record yet" if silent else str(diagnosis.failure_class)
    sentence = (strong(failure), f", {diagnosis.place}. ", rich(diagnosis.sentence))
    return loaded_run.verdict_words(False), None if silent else False, sentence


def _differences(loaded_run: LoadedRun) -> list[Node]:
    lines = loaded_run.opening.profile_differences if loaded_run.opening else ()
    if not lines:
        return []
    title = f"{len(lines)} differences from the locked decisions"
    return [Details(title, (Bullets([code(line) for line in lines]),))]


def _figures(loaded_run: LoadedRun) -> Iterator[tuple[str, Words]]:
    """Give the figures that are known, whatever became of the run."""
    promises = loaded_run.contract.promises if loaded_run.contract else ()
    states = history.promise_states(loaded_run)
    kept = sum(states.get(promise.name) == "kept" for promise in promises)
    if promises:
        yield "promises kept", f"{kept} of {len(promises)}"
    metrics, promised = loaded_run.metrics, loaded_run.profile
    if metrics and promised:
        yield "training steps", f"{len(metrics)} of {promised.contract.optimizer_steps}"
        first, last = metrics[0].loss_nats, metrics[-1].loss_nats
        yield "loss, first and last step", f"{first:.3g} \u2192 {last:.3g}"
    if loaded_run.results:
        overall = loaded_run.results.overall
        change = f"{overall.base_correct} \u2192 {overall.tuned_correct} of {overall.rows}"
        yield "right answers", change
    use = card_use(loaded_run, "train")
    if use is not None:
        drew = "not told" if use.energy_j is None else f"{use.energy_j / 3600:.2f} Wh"
        yield "the card drew in training", drew
    seconds = total_s(loaded_run)
    if seconds is not None:
        yield "the whole run took", duration_words(seconds)
    peaks = [
        child.process.peak_bytes
        for child in (loaded_run.train_child, loaded_run.eval_child)
        if child.process
    ]
    if peaks:
        yield "peak host memory", size_words(max(peaks))


def _parts(run: RunDir, loaded_run: LoadedRun, tests: "Tests") -> Iterator[Section]:
    metrics, answered = loaded_run.metrics, loaded_run.evaluation
    curves = [Figure(each) for each in pictures({"each step": metrics})] if metrics else []
    # In two columns the card's stand under the loss and the learning rate.
    curves[2:2] = [Figure(each) for each in card_pictures(loaded_run.card)]
    yield Section("The four gates", (gate_table(gate_states(loaded_run)),), "gates")
    yield Section("Curves of the training", curves, "curves")
    yield Section("Where the time went", time_spent(loaded_run), "time")
    yield Section("Speed", _speed(loaded_run), "speed")
    yield Section("Memory", memory(loaded_run), "memory")
    yield Section("The card", card(loaded_run), "card")
    scored = evaluation(Fields(answered)) if answered else []
    yield Section("Evaluation", scored, "evaluation")
    rows = every_row(answered.predictions) if answered else []
    yield Section("Every row", rows, "rows")
    yield Section("Promises", promises_by_gate(loaded_run), "promises")
    yield Section("Environment and provenance", provenance(loaded_run), "provenance")
    yield Section("The files of this run", (files(_names(run, loaded_run)),), "files")
    yield Section("How to check this", how_to_check(loaded_run), "verify")
    yield Section("The tests, as pytest saw them", _test_nodes(tests), "tests")


def _speed(loaded_run: LoadedRun) -> list[Node]:
    plan, train = loaded_run.plan, loaded_run.train
    found = performance(plan, train) if plan and train else None
    return speed(Fields(loaded_run)) if found else []


def _names(run: RunDir, loaded_run: LoadedRun) -> frozenset[str]:
    """Name the files that are there, and those that are written right after this page."""
    there = {path.name for path in run.path.iterdir() if path.is_file()}
    sealed = any(entry.event == "sealed" for entry in loaded_run.entries)
    later = {RunDir.report.name, RunDir.junit.name}
    later |= {RunDir.reports_seal.name} if sealed else set()
    # A signature comes after all of them, if it comes.
    return frozenset((there | later) - {RunDir.signature.name})


@dataclass(frozen=True, kw_only=True)
class Tests:
    """What pytest-html says of the tests, as text."""

    lines: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = field(repr=False)  # outcome, name, seconds, words


class _TestsReader(HTMLParser):
    """Takes the text out of paragraphs and of the rows of a table's body."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.rows: list[list[str]] = []
        self._into: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Begin a paragraph, a row or a cell."""
        if tag == "p":
            self._into = self.lines
            self._into.append("")
        elif tag == "tr":
            self.rows.append([])
        elif self.rows and (tag == "td" or dict(attrs).get("scope") == "row"):
            self._into = self.rows[-1]
            self._into.append("")

    def handle_endtag(self, tag: str) -> None:
        """End a paragraph or a cell."""
        if tag in ("p", "td", "th"):
            self._into = None

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        if self._into is not None:
            self._into[-1] += data


_COLUMNS = ("outcome", "test", "time", "said")


def read_tests(markup: str) -> Tests:
    """Read what pytest-html says of the tests, or what a page of m43 shows of that."""
    reader = _TestsReader()
    reader.feed(markup)
    reader.close()
    rows = (tuple(row) for row in reader.rows if len(row) == len(_COLUMNS))
    return Tests(lines=tuple(reader.lines), rows=tuple(rows))


def _test_nodes(tests: Tests) -> list[Node]:
    lines: list[Node] = [Text(line) for line in tests.lines]
    if not tests.rows:
        return lines
    rows = [(*told, code(said) if said else "") for *told, said in tests.rows]
    title = "Every test with its outcome and what it said"
    return [*lines, Details(title, (Table(_COLUMNS, rows, names=1),))]


def seal_reports(run: RunDir) -> None:
    """Write the digests of the reports that are there, as sha256sum prints them."""
    write_atomically(run.reports_seal, seal_lines(run).encode())


def seal_lines(run: RunDir) -> str:
    """Give the digests of the reports that are there."""
    reports = (path for path in (run.report, run.junit) if path.is_file())
    return "".join(f"{file_sha256(path)}  {path.name}\n" for path in reports)
