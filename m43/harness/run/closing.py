"""The closing: what is true after the last gate, the working tree and the packages included.

Of the packages a file counts with its name, its size and its time of change, and every RECORD with
its bytes: so an install, an upgrade, a removal and an edited file are noticed, at the cost of
looking at each file once. What Python caches beside the sources is not part of it.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from m43.evidence.journal import ledger
from m43.files import weights_sha256
from m43.records import ClosingRecord, RunDir

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
# Beyond this a file (the weights of an earlier run) counts with its size and time of change:
# to read gigabytes twice would cost more than the gates.
_READ_BYTES = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The files of a working tree and their digests."""

    files: Mapping[str, str] = field(repr=False)
    sha256: str
    left_out: tuple[str, ...] = ()  # from the repository on: what the run itself writes there


def measure_tree(repository: Path, run: Path, left_out: Iterable[str] = ()) -> Tree:
    """Digest every file of the repository but those of this run, of git, of tools and of venvs.

    Args:
        repository: The working tree.
        run: The run folder.
        left_out: Further paths from the repository on, which the run is known to write.
    """
    named = tuple(sorted(left_out))
    passed_over = {run, repository.joinpath(*_LEDGER), *(repository / name for name in named)}
    files = dict(sorted(_tree_files(repository, repository, passed_over)))
    whole = "".join(f"{digest}  {name}\n" for name, digest in files.items())
    sha256 = hashlib.sha256(whole.encode(errors="replace")).hexdigest()
    return Tree(files=files, sha256=sha256, left_out=named)


def tree_changes(before: Tree, after: Tree) -> tuple[str, ...]:
    """Name the paths that were added, removed or changed."""
    names = sorted(before.files.keys() | after.files.keys())
    return tuple(name for name in names if before.files.get(name) != after.files.get(name))


def _tree_files(folder: Path, root: Path, left_out: set[Path]) -> Iterator[tuple[str, str]]:
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        # A folder that cannot be read is a fact like any other, and must be the same afterwards.
        yield folder.relative_to(root).as_posix(), f"unreadable: {type(error).__name__}"
        return
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name in _CACHES or _EDITORS.fullmatch(entry.name) or path in left_out:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _tree_files(path, root, left_out)
        else:
            yield path.relative_to(root).as_posix(), _tree_digest(path, entry)


def _tree_digest(path: Path, entry: "os.DirEntry[str]") -> str:
    try:
        status = entry.stat(follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFLNK:
            # A link is what it points to, not what lies there.
            return f"link:{path.readlink()}"
        if kind != stat.S_IFREG:
            return f"special:{kind:o}"
        if status.st_size > _READ_BYTES:
            return f"large:{status.st_size}:{status.st_mtime_ns}"
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return f"unreadable: {type(error).__name__}"


@dataclass(frozen=True, kw_only=True)
class Packages:
    """The installed files: one digest per name at the top of a site-packages folder."""

    entries: Mapping[str, str] = field(repr=False)
    sha256: str


def measure_packages(site_packages: Iterable[Path]) -> Packages:
    """Digest what lies in the folders; the same folder under two names counts once."""
    folders = sorted({folder.resolve() for folder in site_packages if folder.is_dir()})
    entries: dict[str, str] = {}
    for index, folder in enumerate(folders):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name != "__pycache__":
                # Two folders may hold the same name (lib and lib64): both must count.
                entries[f"{index}/{entry.name}"] = _package_digest(entry)
    whole = "".join(f"{digest}  {name}\n" for name, digest in sorted(entries.items()))
    return Packages(entries=entries, sha256=hashlib.sha256(whole.encode()).hexdigest())


def package_changes(before: Packages, after: Packages) -> tuple[str, ...]:
    """Name what was added, removed or changed."""
    names = sorted(before.entries.keys() | after.entries.keys())
    return tuple(
        f"{name.partition('/')[2]} ({_how(before.entries.get(name), after.entries.get(name))})"
        for name in names
        if before.entries.get(name) != after.entries.get(name)
    )


def _how(before: str | None, after: str | None) -> str:
    if before is None:
        return "added"
    return "removed" if after is None else "changed"


def _package_digest(top: "os.DirEntry[str]") -> str:
    digest = hashlib.sha256()
    for name, entry in _package_files(top, top.name):
        status = entry.stat(follow_symlinks=False)
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="replace"))
        if entry.name == "RECORD":
            digest.update(hashlib.sha256(Path(entry.path).read_bytes()).digest())
    return digest.hexdigest()


def _package_files(
    entry: "os.DirEntry[str]", name: str
) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    if not entry.is_dir(follow_symlinks=False):
        yield name, entry
        return
    if entry.name == "__pycache__":
        return
    for inner in sorted(os.scandir(entry.path), key=lambda inner: inner.name):
        yield from _package_files(inner, f"{name}/{inner.name}")


def closing_record(
    run: RunDir,
    repository: Path,
    *,
    tree_before: Tree,
    packages_before: Packages | None,
    site_packages: Iterable[Path],
    foreign_code: tuple[str, ...],
) -> ClosingRecord:
    """Measure the environment, the tree and the model again.

    Args:
        run: The run folder.
        repository: The working tree.
        tree_before: As it was before the first gate.
        packages_before: As they were at the venv gate; None when the run did not get there.
        site_packages: The folders that the venv gate's probe named.
        foreign_code: What in this process is not as m43's files have it.
    """
    tree_after = measure_tree(repository, run.path, tree_before.left_out)
    packages_after = measure_packages(site_packages)
    known = packages_before is not None
    return ClosingRecord(
        packages_sha256=packages_after.sha256 if known else "",
        tree_sha256=tree_after.sha256,
        tree_files=len(tree_after.files),
        changed_paths=tree_changes(tree_before, tree_after),
        left_out=tree_after.left_out,
        changed_packages=(
            package_changes(packages_before, packages_after) if packages_before is not None else ()
        ),
        model_sha256=weights_sha256(run.model),
        foreign_code=foreign_code,
        documents=tuple(
            sorted(path.name for path in (run.summary, run.failure_analysis) if path.exists())
        ),
    )
