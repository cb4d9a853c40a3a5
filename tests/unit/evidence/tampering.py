"""What somebody may do to a run folder who wants it to say something else."""

import json
from collections.abc import Callable
from pathlib import Path

from m43.evidence.documents import write
from m43.evidence.documents.report import seal_reports
from m43.evidence.journal import chain, manifest
from m43.evidence.journal.digests import gate_digest
from m43.evidence.run.loaded_run import load_run
from m43.evidence.verify.claims import verify
from m43.records.run_dir import RunDir
from tests.unit.evidence.good_records import REPOSITORY
from tests.unit.evidence.good_run import write_report

Change = Callable[[RunDir], None]


def found(run: RunDir, repository: Path = REPOSITORY) -> str:
    """Verify and give all problems as text."""
    return "\n".join(str(problem) for problem in verify(run.path, repository))


def reseal(run: RunDir) -> None:
    """Forge: make manifest, journal, documents and seals again over what the files now say."""
    run.model_card.unlink(missing_ok=True)
    write.write_model_card(run, load_run(run))
    rechain(run, [json.loads(line) for line in run.journal.read_text().splitlines()])
    write.write_documents(run)
    write_report(run)
    seal_reports(run)


def rechain(run: RunDir, entries: list[dict[str, object]]) -> None:
    """Write a journal of the entries, numbered and sealed as if they had always been these."""
    previous, lines = chain.FIRST_PREVIOUS, []
    for number, entry in enumerate(entries, start=1):
        entry["seq"] = number
        if entry["event"] == "gate_closed":
            entry["detail"] = gate_digest(run, str(entry["gate"]))
        if entry["event"] == "sealed":
            entry["detail"] = manifest.seal(run)
        entry["previous_sha256"] = previous
        entry["sha256"] = previous = chain.seal(entry)
        lines.append(chain.canonical(entry) + "\n")
    run.journal.write_text("".join(lines))


def edit(name: str, old: str, new: str) -> Change:
    """Change a file's text, and make sure that it does change."""

    def change(run: RunDir) -> None:
        path = run.path / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def drop_line(name: str) -> Change:
    """Take the second line of a file out."""

    def change(run: RunDir) -> None:
        path = run.path / name
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[:1] + lines[2:]), encoding="utf-8")

    return change


def remove(name: str) -> Change:
    """Take a file away."""
    return lambda run: (run.path / name).unlink()


def forge(record: str, old: str, new: str) -> Change:
    """Change a record and seal everything again, as somebody would who knows how."""

    def change(run: RunDir) -> None:
        edit(record, old, new)(run)
        reseal(run)

    return change
