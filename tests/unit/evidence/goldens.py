"""The goldens of the two documents: what they say of the good run and of each failed one.

After a change of the words, write them again and read the difference:

    python -m tests.unit.evidence.goldens
"""

import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from m43.errors import FailureClass
from tests.unit.evidence.failed_runs import FAILURES
from tests.unit.evidence.good_run import write_good_run

FOLDER = Path(__file__).with_name("goldens")
COMMAND = "python -m tests.unit.evidence.goldens"

# Digests change with every row, promise and default; what is golden is the words.
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}(?=…)")


def documents() -> Mapping[str, Callable[[Path], str]]:
    """Give, by the name of its golden, how each document is made."""
    return {"m43_summary": _summary} | {
        f"failure_analysis.{failure_class.name.lower()}": _failed(failure_class)
        for failure_class in FAILURES
    }


def golden(name: str) -> Path:
    """Say where a golden lies."""
    return FOLDER / f"{name}.md"


def _summary(folder: Path) -> str:
    return _plain(write_good_run(folder).summary)


def _failed(failure_class: FailureClass) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        run = FAILURES[failure_class].make(folder, failure_class)
        return _plain(run.failure_analysis).replace(str(folder), "FOLDER")

    return write


def _plain(document: Path) -> str:
    return _DIGEST.sub("<digest>", document.read_text(encoding="utf-8"))


def main() -> int:
    """Write every golden again, and none beside them."""
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.md"):
        stale.unlink()
    for name, write in documents().items():
        with tempfile.TemporaryDirectory() as folder:
            golden(name).write_text(write(Path(folder)), encoding="utf-8")
    sys.stdout.write(f"{len(documents())} documents in {FOLDER}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
