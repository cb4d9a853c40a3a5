"""The goldens of the documents and the page: what they say of the good run and of failed ones.

After a change of the words, write them again and read the difference:

    python -m tests.unit.evidence.documents.goldens
"""

import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from m43.errors import FailureClass
from m43.evidence.documents.report import report_html
from m43.records.run_dir import RunDir
from tests.unit.evidence.failed_runs import FAILURES
from tests.unit.evidence.good_run import write_good_run
from tests.unit.evidence.page_outline import outline

FOLDER = Path(__file__).with_name("goldens")
COMMAND = "python -m tests.unit.evidence.documents.goldens"

# A page of 200 kB each: one that a child's end explains, and one of a gate before any child.
PAGES = (FailureClass.HUNG, FailureClass.NO_TOKEN)

# Digests change with every row, promise and default; what is golden is the words.
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}(?=…)")


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A golden: the run it is of, by its failure class or None for the good one, and its text."""

    of: FailureClass | None
    read: Callable[[RunDir], str]


def documents() -> Mapping[str, Golden]:
    """Return each golden by the name of its file."""
    pages = {name(failure_class): failure_class for failure_class in (None, *PAGES)}
    analyses = {name(failure_class): failure_class for failure_class in FAILURES}
    return (
        {
            "m43_summary.md": Golden(of=None, read=_summary),
            "model_card.md": Golden(of=None, read=_model_card),
        }
        | {
            f"failure_analysis.{key}.md": Golden(of=of, read=_analysis)
            for key, of in analyses.items()
        }
        | {f"report.{key}.txt": Golden(of=of, read=_page) for key, of in pages.items()}
    )


def name(failure_class: FailureClass | None) -> str:
    """Return what a run is called in the names of its goldens."""
    return failure_class.name.lower() if failure_class else "good"


def make(folder: Path, failure_class: FailureClass | None) -> RunDir:
    """Write the run of a class, or the good one."""
    if failure_class is None:
        return write_good_run(folder)
    return FAILURES[failure_class].make(folder, failure_class)


def golden(file: str) -> Path:
    """Say where a golden lies."""
    return FOLDER / file


def _summary(run: RunDir) -> str:
    return _plain(run.summary.read_text(encoding="utf-8"), run)


def _model_card(run: RunDir) -> str:
    return _plain(run.model_card.read_text(encoding="utf-8"), run)


def _analysis(run: RunDir) -> str:
    return _plain(run.failure_analysis.read_text(encoding="utf-8"), run)


def _page(run: RunDir) -> str:
    page = report_html(run, "m43", "<p>what pytest says of its tests</p>")
    return _plain(outline(page), run)


def _plain(text: str, run: RunDir) -> str:
    # In Markdown, the underscores of a temporary folder's name are escaped.
    folder = str(run.path.parent)
    for spelling in (folder, folder.replace("_", r"\_")):
        text = text.replace(spelling, "FOLDER")
    return _DIGEST.sub("<digest>", text)


def main() -> int:
    """Write every golden again, and none beside them."""
    FOLDER.mkdir(exist_ok=True)
    made = documents()
    for file, each in made.items():
        with tempfile.TemporaryDirectory() as folder:
            text = each.read(make(Path(folder), each.of))
        golden(file).write_text(text, encoding="utf-8")
    for stale in FOLDER.iterdir():
        if stale.name not in made:
            stale.unlink()
    sys.stdout.write(f"{len(made)} documents in {FOLDER}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
