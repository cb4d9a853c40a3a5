"""The goldens of the documents and the page: what they say of the good run and of failed ones.

After a change of the words, write them again and read the difference:

    python -m tests.unit.evidence.goldens
"""

import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from m43.errors import FailureClass
from m43.evidence.report import report_html
from m43.run_dir import RunDir
from tests.unit.evidence.failed_runs import FAILURES
from tests.unit.evidence.good_run import write_good_run
from tests.unit.evidence.page_outline import outline

FOLDER = Path(__file__).with_name("goldens")
COMMAND = "python -m tests.unit.evidence.goldens"

# A page of 200 kB each: one that a child's end explains, and one of a gate before any child.
PAGES = (FailureClass.HUNG, FailureClass.NO_TOKEN)

# Digests change with every row, promise and default; what is golden is the words.
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}(?=…)")


def documents() -> Mapping[str, Callable[[Path], str]]:
    """Give, by the name of its golden, how each document is made."""
    return (
        {"m43_summary.md": _summary, "report.good.txt": _page(write_good_run)}
        | {
            f"failure_analysis.{failure_class.name.lower()}.md": _failed(failure_class)
            for failure_class in FAILURES
        }
        | {
            f"report.{failure_class.name.lower()}.txt": _page(_made(failure_class))
            for failure_class in PAGES
        }
    )


def golden(name: str) -> Path:
    """Say where a golden lies."""
    return FOLDER / name


def _summary(folder: Path) -> str:
    return _plain(write_good_run(folder).summary.read_text(encoding="utf-8"), folder)


def _made(failure_class: FailureClass) -> Callable[[Path], RunDir]:
    return lambda folder: FAILURES[failure_class].make(folder, failure_class)


def _failed(failure_class: FailureClass) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        run = _made(failure_class)(folder)
        return _plain(run.failure_analysis.read_text(encoding="utf-8"), folder)

    return write


def _page(make: Callable[[Path], RunDir]) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        page = report_html(make(folder), "m43", "<p>what pytest says of its tests</p>")
        return _plain(outline(page), folder)

    return write


def _plain(text: str, folder: Path) -> str:
    return _DIGEST.sub("<digest>", text.replace(str(folder), "FOLDER"))


def main() -> int:
    """Write every golden again, and none beside them."""
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.iterdir():
        stale.unlink()
    for name, write in documents().items():
        with tempfile.TemporaryDirectory() as folder:
            golden(name).write_text(write(Path(folder)), encoding="utf-8")
    sys.stdout.write(f"{len(documents())} documents in {FOLDER}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
