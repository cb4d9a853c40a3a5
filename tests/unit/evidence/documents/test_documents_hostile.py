"""A run whose model says the worst: every document and page of it shows that as text."""

import json
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from m43 import typed_json
from m43.evidence.documents import write
from m43.evidence.documents.report import report_html
from m43.evidence.documents.scores import every_row
from m43.records.evaluation_record import Prediction
from m43.records.run_dir import RunDir, read_lines, write_record
from m43.rows import scoring
from m43.text import visible
from tests.unit.evidence.documents.written import as_html
from tests.unit.evidence.good_records import closing_record, predictions
from tests.unit.evidence.good_run import write_good_run
from tests.unit.fuzzing import hostile

CORPUS = Path(__file__).parents[2] / "corpus" / "outputs"
OUTPUTS = tuple(
    path.read_bytes().decode("utf-8", "surrogatepass") for path in sorted(CORPUS.iterdir())
)
LONG = "<b>&\u202e\x1b[31m|`" * 10_000
texts = st.sampled_from(OUTPUTS) | st.text(st.characters(exclude_categories=[]), max_size=40)


class Shape(HTMLParser):
    """The tags of a page with their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the tag and the names of its attributes."""
        self.found.add(f"{tag} {sorted(name for name, _ in attrs)}")

    def handle_data(self, data: str) -> None:
        """Keep what a person reads."""
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        """Keep that there was one."""
        self.found.add(f"comment {data}")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("hostile"))


@pytest.fixture
def run(good: RunDir, tmp_path: Path) -> RunDir:
    """A copy of it, to be changed."""
    return RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))


def said(row: Prediction, text: str) -> Prediction:
    """Put a text wherever a row can hold one."""
    return replace(
        row,
        **dict.fromkeys(("section", "category", "difficulty", "prompt", "expected"), text),
        **dict.fromkeys(("base_output", "tuned_output", "base_answer", "tuned_answer"), text),
    )


def speak(run: RunDir, said_by_rows: Iterable[str]) -> None:
    """Let the rows say these texts, and count their scores again."""
    rows = [said(*each) for each in zip(predictions(), said_by_rows, strict=False)]
    rows += predictions()[len(rows) :]
    run.predictions.write_text("".join(map(typed_json.dump_line, rows)), encoding="utf-8")
    write_record(run.results, scoring.tally(tuple(rows)))


def fragments(run: RunDir) -> set[str]:
    """Give the kinds of things that a Markdown parser finds in the run's document."""
    text = (run.summary if run.summary.exists() else run.failure_analysis).read_text("utf-8")
    assert visible(text) == text
    found = MarkdownIt("commonmark").enable("table").parse(text)
    every = [*found, *(part for token in found for part in token.children or ())]
    # Line breaks inside a cell are the document's own.
    assert {part.content for part in every if part.type == "html_inline"} <= {"<br>"}
    return {f"{token.type} {token.attrs.get('href') or token.attrs.get('src')}" for token in every}


def test_what_a_model_says_changes_no_document(run: RunDir) -> None:
    """The summary and the failure analysis have the same parts as those of a polite model."""
    polite_summary, polite_page = fragments(run), Shape(report_html(run, "m43", "")).found

    speak(run, (*OUTPUTS, LONG))
    verdict = write.write_documents(run)

    assert fragments(run) <= polite_summary, verdict
    # An output may be empty, and is then called so.
    assert Shape(report_html(run, "m43", "")).found <= polite_page | {"em []"}
    assert (run.path / "loss_curve.svg").exists()
    ET.parse(run.loss_curve)

    write_record(run.closing, closing_record(changed_paths=OUTPUTS))
    write.write_documents(run)

    assert run.failure_analysis.exists()
    assert not any(part.startswith(("link", "image", "html_block")) for part in fragments(run))


@hostile(60)
@given(st.lists(texts, min_size=1, max_size=4))
def test_any_rows_are_a_page_of_the_same_tags(outputs: list[str]) -> None:
    """And a person reads there what was said, with marks for what cannot be shown."""
    rows = [said(*each) for each in zip(predictions(), outputs, strict=False)]

    page, polite = Shape(as_html(*every_row(rows))), Shape(as_html(*every_row(predictions())))

    # An empty output is called so, and one that is more than its answer gets a note.
    assert page.found <= polite.found | {"em []", "p ['class']"}
    for text in outputs:
        if text:
            assert visible(text) in page.text or visible(text) in "".join(page.text)


@hostile(60)
@given(texts)
def test_a_row_comes_back_from_its_line_as_it_was_said(tmp_path: Path, text: str) -> None:
    """One line of JSON for each, of plain characters, whatever is in it."""
    row = said(predictions()[0], text)
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(typed_json.dump_line(row).encode())

    line = path.read_bytes().decode()

    assert list(read_lines(path, Prediction)) == [row]
    assert json.loads(line)["tuned_output"] == text
    assert len(line.splitlines()) == 1
    assert visible(line) == line


def test_a_folder_of_a_hostile_name_is_not_put_into_commands(run: RunDir, tmp_path: Path) -> None:
    """People copy them into a shell."""
    there = RunDir(run.path.rename(tmp_path / "x; touch owned #`\n```"))

    write.write_documents(there)

    text = (there.summary if there.summary.exists() else there.failure_analysis).read_text("utf-8")
    (commands,) = [
        token.content for token in MarkdownIt().parse(text) if token.type == "fence"
    ] or [""]
    assert "owned" not in commands
