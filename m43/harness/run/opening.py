"""The opening: what is true before the first gate, the earlier runs and their ledger included."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib import metadata
from pathlib import Path

from m43.errors import M43Error, Problem, ProblemsError
from m43.evidence.contract import (
    M43,
    ContractText,
    called,
    contract_path,
    home,
    is_installed,
    profile_path,
    promise_differences,
    read_contract,
    rows_differences,
)
from m43.evidence.journal import ledger, stamp
from m43.evidence.run import contract_differences
from m43.evidence.verify import code, git, missing_lines, own_conftest
from m43.files import file_sha256
from m43.harness.run.closing import Tree
from m43.records import (
    SELF_VENV,
    TIME_IN_NAME,
    OpeningRecord,
    Profile,
    RunDir,
    RunTable,
    profile_check,
    read_record,
)


class ShortenedLedgerError(ProblemsError):
    """A ledger that no longer tells of an attempt which a run of the same folder disclosed."""


def require_whole_ledger(runs: Path) -> None:
    """Refuse a ledger from which a line was taken that a run of the folder remembers.

    Raises: ShortenedLedgerError, BrokenChainError, CutChainError.
    """
    kept = ledger.read(runs / ledger.FILE)
    problems: list[Problem] = []
    for run in _runs(runs):
        try:
            opening = read_record(run.opening, OpeningRecord)
        except M43Error:
            # A run that was cut off before its opening discloses nothing.
            continue
        problems += missing_lines(opening, kept)
    if problems:
        raise ShortenedLedgerError(tuple(dict.fromkeys(problems)))


def unlisted(runs: Path) -> tuple[str, ...]:
    """Name the run folders of which the ledger has no line: of another machine, or taken out.

    Raises: BrokenChainError, CutChainError.
    """
    known = {attempt.run for attempt in ledger.read(runs / ledger.FILE)}
    return tuple(run.path.name for run in _runs(runs) if run.path.name not in known)


def _runs(runs: Path) -> Iterator[RunDir]:
    for path in sorted(runs.glob(f"*/{RunDir.opening.name}")):
        yield RunDir(path.parent)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run that has been asked for and not been begun: where, by what, against what."""

    repository: Path
    profile_path: Path
    profile: Profile  # with the run's name resolved
    contract: ContractText = field(repr=False)
    command: tuple[str, ...] = field(repr=False)
    started: datetime
    plugins: tuple[str, ...] = field(default=(), repr=False)  # of pytest, beside its own
    contract_folder: str = M43

    @property
    def folder(self) -> Path:
        """The run folder."""
        return runs_folder(self.repository) / self.profile.run.name

    @property
    def ledger(self) -> Path:
        """The ledger of attempts."""
        return runs_folder(self.repository) / ledger.FILE


def runs_folder(repository: Path) -> Path:
    """Say where the runs lie."""
    return repository / ledger.RUNS


def named(profile: Profile, name: str, now: datetime) -> Profile:
    """Give the profile with the run's name resolved: the one asked for, or its own."""
    text = (name or profile.run.name).replace(TIME_IN_NAME, now.strftime("%Y%m%dT%H%M%SZ"))
    return replace(profile, run=RunTable(name=text))


def opening_record(
    plan: Plan,
    tree: Tree,
    code_sha256: str,
    commit: Callable[[Path], str],
    unsearched: tuple[str, ...] = (),
) -> OpeningRecord:
    """Write down what is true now; the attempt already stands in the ledger."""
    profile, repository, m43 = plan.profile, plan.repository, home(plan.repository)
    attempts = ledger.read(plan.ledger)
    mine = [attempt for attempt in attempts if attempt.run == profile.run.name]
    record = OpeningRecord(
        run=profile.run.name,
        kind=profile.kind,
        started_utc=stamp(plan.started),
        m43_version=version(),
        commit=commit(repository),
        profile=shown(plan.profile_path, repository),
        profile_sha256=profile_check.digest(plan.profile_path),
        profile_differences=profile_differences(plan.profile_path, profile, repository),
        contract=plan.contract_folder,
        contract_name="",
        promise_differences=promise_differences(plan.contract, read_contract(contract_path(m43))),
        contract_sha256=plan.contract.text_sha256,
        promises=plan.contract.names,
        train_rows_sha256=_rows_sha256(profile.data.train),
        eval_rows_sha256=_rows_sha256(profile.data.evaluation),
        code_sha256=code_sha256,
        plugins=plan.plugins,
        tree_sha256=tree.sha256,
        tree_files=len(tree.files),
        attempts_of_this_run=len(mine),
        earlier_attempts=tuple(attempt.earlier for attempt in attempts[:-1]),
        ledger_sha256=attempts[-1].sha256,
        unlisted_runs=unlisted(plan.ledger.parent),
        command=plan.command,
        left_out=tree.left_out,
        environments=tree.environments,
        unsearched=unsearched,
        m42=tree.m42,
    )
    if is_installed():
        record = _of_tree(record, repository)
    m43_name = profile_check.load(profile_path(m43, profile.kind)).contract.name
    name = called(profile.contract.name, m43_name, contract_differences(record))
    return replace(record, contract_name=name)


def _of_tree(record: OpeningRecord, tree: Path) -> OpeningRecord:
    """Tell an installed m43, which has no commit, from the tree that it runs in."""
    rows = (record.train_rows_sha256, record.eval_rows_sha256)
    return replace(
        record,
        commit="none",
        tree_commit=record.commit,
        tree_conftest_sha256=own_conftest(code.digests(tree), code.digests(home(tree))),
        # In a checkout they are listed as code is; of a tree nothing but this tells them apart.
        profile_differences=(*record.profile_differences, *rows_differences(rows, tree)),
    )


def profile_differences(path: Path, profile: Profile, repository: Path) -> tuple[str, ...]:
    """List where a profile leaves the locked decisions: the bundled profile of its kind.

    Args:
        path: Of the profile, as it was written.
        profile: The same with its hub, which may be one that the environment names.
        repository: Of the run.
    """
    mine = _relative(replace(profile_check.load(path), hub=profile.hub), repository)
    m43 = home(repository)
    theirs = _relative(profile_check.load(profile_path(m43, profile.kind)), m43)
    return profile_check.differences(mine, theirs)


def _relative(profile: Profile, repository: Path) -> Profile:
    """Write paths inside the repository as the same words wherever the repository lies."""
    data, venv = profile.data, profile.venv
    if venv.path != SELF_VENV:
        venv = replace(venv, path=shown(Path(venv.path), repository))
    return replace(
        profile,
        data=replace(
            data,
            train=Path(shown(data.train, repository)),
            evaluation=Path(shown(data.evaluation, repository)),
        ),
        venv=venv,
    )


def shown(path: Path, repository: Path) -> str:
    """Give a path as a report shows it: from the repository on, if it lies there."""
    # Not resolved: .venv-gpu may be a link that leads elsewhere, and is known by its name.
    absolute = path if path.is_absolute() else Path.cwd() / path
    return str(absolute.relative_to(repository) if absolute.is_relative_to(repository) else path)


def _rows_sha256(path: Path) -> str:
    # A file that is missing is a fact; the gate that needs it says so in its own words.
    return file_sha256(path) if path.is_file() else "absent"


def version() -> str:
    """Give m43's version as it is installed."""
    try:
        return metadata.version("m43")
    except metadata.PackageNotFoundError:
        return "not installed"


def git_commit(repository: Path) -> str:
    """Name the commit that is checked out, with "+changes" when files differ from it."""
    head = _git(repository, "rev-parse", "--show-toplevel", "HEAD")
    if head is None or len(head) < 2 or Path(head[0]) != repository:
        return "none"
    # Runs are no part of what is run, and this one's own folder is there already; so is what
    # pytest has compiled by now.
    where = ("--", ".", f":(exclude){ledger.RUNS}", ":(exclude,glob)**/__pycache__/**")
    asked = ("--untracked-files=all", "--ignore-submodules=none", "--no-renames")
    status = _git(repository, "status", "--porcelain", *asked, *where)
    # Git believes its index about files that it was told to assume unchanged, and is silent about
    # what is ignored: m43's own files are compared here, and what Python could import is listed.
    # In the tree of an installed m43 none of them lie, and Python is not told to look there.
    if is_installed():
        return head[1] + ("+changes" if status or status is None else "")
    other = code.checkout_of(repository, head[1]).digests != code.digests(repository)
    strays = _git(repository, "ls-files", "--others", "--directory", *where)
    importable = any(_is_importable(repository, name) for name in strays or ())
    changed = status or status is None or other or importable
    return head[1] + ("+changes" if changed else "")


_MODULES = (".py", ".pyc", ".so", ".pth")


def _is_importable(repository: Path, name: str) -> bool:
    """Tell whether Python could find a module in what git does not know, a file or a folder."""
    if not name.endswith("/"):
        return name.endswith(_MODULES)
    # What has another name (.venv, __pycache__) is no package.
    parts, files = Path(name).parts, (repository / name).rglob("*")
    named = all(part.isidentifier() and part != "__pycache__" for part in parts)
    return named and any(path.suffix in _MODULES for path in files)


def git_files(repository: Path, path: str) -> tuple[str, ...]:
    """List what git knows at a path; nothing outside a checkout."""
    return tuple(_git(repository, "ls-files", "--", path) or ())


def _git(repository: Path, *words: str) -> list[str] | None:
    answer = git(repository, *words)
    return None if answer is None else answer.decode(errors="replace").splitlines()


def own_command() -> tuple[str, ...]:
    """Give the command line of this process, without the interpreter's own path in it."""
    program, *words = sys.argv
    return (Path(program).name if Path(program).name != "__main__.py" else "pytest", *words)
