"""The closing: what is true after the last gate, the working tree and the packages included.

What is installed is looked at by packages, the working tree here.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from m43.evidence.contract import contract_folders
from m43.evidence.journal import ledger
from m43.files import Digests, file_state, weights_sha256
from m43.harness.run.packages import Packages, measure_packages, package_changes
from m43.records import ClosingRecord, ImportedRecord, RunDir

# What tools write while they work; none of it is anybody's submission.
_CACHES = frozenset(
    {
        ".git", "__pycache__", ".pytest_cache", ".hypothesis", ".mypy_cache", ".ruff_cache",
        ".import_linter_cache", ".ipynb_checkpoints", ".DS_Store",
    }
)  # fmt: skip
# What editors write beside a file that is only looked at. Source: Vim, recover.txt: .NAME.swp, and
# further letters where that is taken; GNU Emacs manual, "Interlocking": .#NAME.
_EDITORS = re.compile(r"\..*\.sw[a-p]|\.#.*")
_LEDGER = (ledger.RUNS, ledger.FILE)
# Beyond this a file (the weights of an earlier run) counts with its size, inode and times, the one
# that nobody can put back (ctime) included. To read it costs some seconds for each gigabyte.
_READ_BYTES = 1 << 28


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The files of a working tree and their digests."""

    files: Mapping[str, str] = field(repr=False)
    sha256: str
    left_out: tuple[str, ...] = ()  # from the repository on: what the run itself writes there
    environments: tuple[str, ...] = ()  # folders of it, whose packages are looked at elsewhere
    digests: Digests = field(default_factory=Digests, repr=False, compare=False)

    @property
    def m42(self) -> tuple[str, ...]:
        """The submission before this one, where it lies in the tree: "SHA-256  path"."""
        return tuple(f"{digest}  {name}" for name, digest in self.files.items() if _is_m42(name))


def _is_m42(name: str) -> bool:
    return name.lower().startswith(f"{ledger.RUNS}/m42")


def measure_tree(
    repository: Path, run: Path, left_out: Iterable[str] = (), before: Tree | None = None
) -> Tree:
    """Digest every file of the repository but those of this run, of git, of tools and of venvs.

    Args:
        repository: The working tree.
        run: The run folder.
        left_out: Further paths from the repository on, which the run is known to write.
        before: An earlier look: what it left out is left out again, and nothing beside it; a file
            of which nothing changed since is not read again.
    """
    named = before.left_out if before else tuple(sorted(left_out))
    environments = before.environments if before else _environments(repository)
    passed_over = {run, repository.joinpath(*_LEDGER)}
    passed_over |= {repository / name for name in (*named, *environments)}
    digests = before.digests if before else Digests()
    files = dict(sorted(_tree_files(repository, repository, passed_over, digests)))
    whole = "".join(f"{digest}  {name}\n" for name, digest in files.items())
    sha256 = hashlib.sha256(whole.encode(errors="replace")).hexdigest()
    return Tree(
        files=files, sha256=sha256, left_out=named, environments=environments, digests=digests
    )


def _environments(repository: Path) -> tuple[str, ...]:
    """Name the folders that are virtual environments.

    Only straight in the repository, never it itself, and none of the folders that a run is about:
    a file called pyvenv.cfg is quickly made, and would hide what lies beside it.
    """
    # What a run is about is watched whatever lies there.
    watched = {"m43", *contract_folders(repository), ledger.RUNS}
    return tuple(
        path.name
        for path in sorted(repository.iterdir())
        if path.name not in watched and not path.is_symlink() and (path / "pyvenv.cfg").is_file()
    )


def tree_changes(before: Tree, after: Tree) -> tuple[str, ...]:
    """Name the paths that were added, removed or changed."""
    names = sorted(before.files.keys() | after.files.keys())
    return tuple(name for name in names if before.files.get(name) != after.files.get(name))


def _tree_files(
    folder: Path, root: Path, left_out: set[Path], digests: Digests
) -> Iterator[tuple[str, str]]:
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        # A folder that cannot be read is a fact like any other, and must be the same afterwards.
        yield folder.relative_to(root).as_posix(), f"unreadable: {type(error).__name__}"
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name in _CACHES or _EDITORS.fullmatch(entry.name) or path in left_out:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _tree_files(path, root, left_out, digests)
        else:
            yield path.relative_to(root).as_posix(), _tree_digest(path, entry, digests)


def _tree_digest(path: Path, entry: "os.DirEntry[str]", digests: Digests) -> str:
    try:
        status = entry.stat(follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFLNK:
            # A link is what it points to, not what lies there.
            return f"link:{path.readlink()}"
        if kind != stat.S_IFREG:
            return f"special:{kind:o}"
        if status.st_size > _READ_BYTES:
            return "large:" + ":".join(map(str, file_state(status)))
        return digests.of(path, status)
    except OSError as error:
        return f"unreadable: {type(error).__name__}"


def closing_record(
    run: RunDir,
    repository: Path,
    *,
    tree_before: Tree,
    packages_before: Packages | None,
    site_packages: Iterable[Path],
    foreign_code: tuple[str, ...],
    judge: ImportedRecord,
) -> ClosingRecord:
    """Measure the environment, the tree and the model again.

    Args:
        run: The run folder.
        repository: The working tree.
        tree_before: As it was before the first gate.
        packages_before: As they were at the venv gate; None when the run did not get there.
        site_packages: The folders that the venv gate's probe named.
        foreign_code: What in this process is not as m43's files have it.
        judge: What this process imported beside m43.
    """
    tree_after = measure_tree(repository, run.path, before=tree_before)
    packages_after = measure_packages(site_packages, packages_before)
    known = packages_before is not None
    return ClosingRecord(
        packages_sha256=packages_after.sha256 if known else "",
        tree_sha256=tree_after.sha256,
        tree_files=len(tree_after.files),
        changed_paths=tree_changes(tree_before, tree_after),
        left_out=tree_after.left_out,
        m42=tree_after.m42,
        changed_packages=(
            package_changes(packages_before, packages_after) if packages_before is not None else ()
        ),
        model_sha256=weights_sha256(run.model),
        foreign_code=foreign_code,
        judging_files=len(judge.files),
        altered=(*judge.altered, *judge.changed),
        unrecorded=judge.unrecorded,
        documents=tuple(
            sorted(path.name for path in (run.summary, run.failure_analysis) if path.exists())
        ),
    )
