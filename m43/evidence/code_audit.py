"""The audit of the code: whether a run was judged by what its commit, or this checkout, holds."""

from collections.abc import Iterator
from pathlib import Path

from m43.errors import Problem
from m43.evidence import code
from m43.evidence.checkout import checkout_of
from m43.evidence.digests import file_sha256
from m43.evidence.dossier import Dossier
from m43.run_dir import RunDir

_SHOWN = 5


def audit_code(run: RunDir, dossier: Dossier, repository: Path) -> Iterator[Problem]:
    """Hold the list of the code that judged the run against the code of its commit.

    A gate that was changed for the run, in a file of m43 or in a conftest, shows here.
    """
    if dossier.opening is None:
        return
    where = run.code.name
    if not run.code.is_file():
        action = "do not rely on this folder: it does not say which code judged the run"
        yield _problem("no file", "the digest of every file that judged it", where, action)
        return
    digest = file_sha256(run.code)
    if digest != dossier.opening.code_sha256:
        expected = f"{dossier.opening.code_sha256}, as in opening.json"
        action = "do not rely on this folder: it was changed after the run"
        yield _problem(f"SHA-256 {digest}", expected, where, action)
    listed = code.parse(run.code.read_text(encoding="utf-8", errors="replace"))
    known = checkout_of(repository, dossier.opening.commit)
    names = sorted(listed.keys() | known.digests.keys())
    other = [name for name in names if listed.get(name) != known.digests.get(name)]
    if other:
        more = f" and {len(other) - _SHOWN} more" if len(other) > _SHOWN else ""
        yield _problem(
            f"{len(other)} files of other code: {', '.join(other[:_SHOWN])}{more}",
            f"the code of {known.place}",
            where,
            f"verify with a clone that has the run's commit ({dossier.opening.commit}); where "
            "even that differs, the run was judged by code that was changed for it",
        )


def _problem(found: str, expected: str, where: str, action: str) -> Problem:
    return Problem(found=found, expected=expected, where=where, action=action)
