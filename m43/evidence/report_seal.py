"""The seal of the reports: report.html and junit.xml, which are finished after everything else.

They are written by pytest's plugins when the run is closed already, so neither the manifest nor
the journal can hold their digests.
"""

from collections.abc import Iterator

from m43.errors import Problem
from m43.evidence.digests import file_sha256
from m43.evidence.dossier import Dossier
from m43.run_dir import RunDir, write_atomically


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
