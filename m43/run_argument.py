"""The run that a person names on the command line."""

from pathlib import Path

from m43.errors import M43Error
from m43.run_dir import RunDir


class NotARunError(M43Error):
    """A folder that holds no run."""


def require_run(path: Path | None, runs: Path) -> RunDir:
    """Give the run of a folder, or refuse the folder and name those that there are.

    Args:
        path: What was asked for; None for nothing.
        runs: Where runs lie.

    Raises: NotARunError.
    """
    if path is not None and (path / "journal.jsonl").is_file():
        return RunDir(path)
    # Those near the place that was meant come first: a slip of one letter is the usual cause.
    near = () if path is None else (path, path.absolute().parent)
    found = [
        each.parent for place in (*near, runs) for each in sorted(place.glob("*/journal.jsonl"))
    ]
    known = list(dict.fromkeys(_from_here(each) for each in found))
    raise NotARunError(
        found=_not_a_run(path),
        expected="a run folder, with its journal.jsonl",
        where=str(path or "RUN_DIR"),
        action=f"give one of: {', '.join(known)}" if known else "no run was made here yet",
    )


def _not_a_run(path: Path | None) -> str:
    if path is None:
        return "nothing"
    return "another folder" if path.is_dir() else "no such folder"


def _from_here(path: Path) -> str:
    here, absolute = Path.cwd(), path.absolute()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)
