"""What the page asks Python for: the verification of one folder, as the JSON that it shows.

It decides nothing: verdict, claims and words are those of `m43 verify`, on any machine.
"""

import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from m43.errors import M43Error
from m43.evidence.documents import POSSIBLE, UNSIGNED, page_html, read_tests
from m43.evidence.journal import journal, witness_lines
from m43.evidence.run import load_run
from m43.evidence.verify import Claim, Findings, examine, unpacked
from m43.harness.commands.run_folder import verdict_words
from m43.records import RunDir, require_run
from m43.text import visible

_AROUND = "Around the run folder, the zip holds m43's own words."


class Checker:
    """Verifies one folder after the other; a bundle stays unpacked until the next is asked for.

    Args:
        repository: of m43's code.
        watch: told the words of each claim before it is checked.
    """

    def __init__(self, repository: str, watch: Callable[[str], None]) -> None:
        self._repository = Path(repository)
        self._watch = watch
        self._bundle = ExitStack()
        self._folder = Path()

    def check(self, path: str, *, without_weights: bool) -> str:
        """Verify a run folder, or a bundle of one.

        Args:
            path: of the run folder, or of the zip.
            without_weights: no weights were handed on; of a bundle its own list says so.

        Returns: JSON; every text in it has lost what steers instead of saying.
        """
        self._bundle.close()
        place = Path(path)
        try:
            bundle = self._bundle.enter_context(unpacked(place)) if place.is_file() else None
            folder = bundle.stated.run.path if bundle else place
            require_run(folder, folder.parent)
        except M43Error as error:
            return json.dumps(
                {
                    "state": "none",
                    "head": "Nothing was verified",
                    "words": visible("; ".join(error.lines).replace(f"{place.parent}/", "")),
                    "signed": [],
                }
            )
        self._folder = folder
        without = without_weights if bundle is None else not bundle.stated.weights
        found = examine(folder, self._repository, without_weights=without, watch=self._watch)
        if bundle and bundle.problems:
            around = Claim(words=_AROUND, problems=bundle.problems)
            found = replace(found, claims=(around, *found.claims))
        told = _told(folder, found) | {"weights": not without}
        return json.dumps(_seen(told, f"{folder.parent}/"))

    def report(self) -> str:
        """Write the report from the records, without its script: a sandboxed frame runs none.

        Empty where the records cannot be computed with; the claims say which.
        """
        return _report(RunDir(self._folder))


def _told(folder: Path, found: Findings) -> dict[str, Any]:
    supported = not found.problems
    return {
        "state": _state(found),
        "head": found.verdict if supported else "NOT VERIFIED",
        "words": _below(verdict_words(found, supported=supported)),
        "contract": [*found.contract],
        "claims": [
            {"words": claim.words, "problems": [asdict(each) for each in claim.problems]}
            for claim in found.claims
        ],
        "signed": _signed(RunDir(folder), found),
        "unsigned": UNSIGNED,
        "possible": [[each.could, each.reveals] for each in POSSIBLE],
    }


def _below(words: str) -> str:
    """Write the words as they stand below the head, which says the first of them already."""
    rest = words.removeprefix("NOT VERIFIED, ")
    return f"{rest[0].upper()}{rest[1:]}"


def _signed(run: RunDir, found: Findings) -> list[str]:
    """Say whose word the folder is, as far as can be told without a key, and the witness lines."""
    # What cannot be read whole is not opened for them either.
    if not found.verdict:
        return []
    words = "Its signature was not checked here." if run.signature.exists() else "Not signed."
    # Of a folder that was not verified no line is worth a date, and its journal may be no journal.
    lines = () if found.problems else witness_lines(run, journal.read(run.journal))
    return [words, *(f"witness  {line}" for line in lines)]


def _state(found: Findings) -> str:
    if found.problems:
        return "unsupported"
    return "accepted" if found.accepted else "refused"


def _seen(value: Any, above: str) -> Any:
    """Write texts without what steers them, and paths from the folder on: above it is a mount."""
    match value:
        case str():
            return visible(value.replace(above, ""))
        case dict():
            return {key: _seen(each, above) for key, each in value.items()}
        case list():
            return [_seen(each, above) for each in value]
    return value


def _report(run: RunDir) -> str:
    loaded_run = load_run(run)
    written = b""
    if run.report.is_file() and run.report.stat().st_size < _MOST_BYTES:
        written = run.report.read_bytes()
    _, _, tests = written.decode(errors="replace").partition('<section id="tests" ')
    title = f"m43 {loaded_run.kind} {loaded_run.name}"
    try:
        page = page_html(run, loaded_run, title, read_tests(tests.partition("</section>")[0]))
    except (ArithmeticError, LookupError, OSError, ValueError):
        return ""
    # A link within it leads into the frame's own document; one to a file of the folder is none.
    page = page.replace("<head>", '<head><base href="about:srcdoc"/>', 1)
    page = re.sub(r'(<a[^>]*) href="(?!#)[^"]*"', r"\1", page)
    return page.rpartition("<script>")[0] + "</body></html>"


_MOST_BYTES = 1 << 24
