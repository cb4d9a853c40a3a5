"""The run folder: where each fact of a run lies, written once and read back."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from m43 import typed_json
from m43.errors import FailureClass, M43Error, Problem
from m43.records import run_records
from m43.records.evaluation_record import Prediction
from m43.records.profile import Profile
from m43.records.run_records import MalformedRecordError

T = TypeVar("T")

# What mkstemp makes in `write_atomically`, what is renamed when it is whole, and scratch folders.
_UNFINISHED = re.compile(r"\.[\w.-]+[.-]([a-z0-9_]{8}|partial)")


class RunExistsError(M43Error):
    """A second attempt under the name of an earlier one."""

    failure_class = FailureClass.HARNESS_ERROR


class RunDir:
    """A run folder. Everything after its creation takes this one argument."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path) -> "RunDir":
        """Make a new, empty run folder.

        Raises: RunExistsError, because one folder holds one attempt.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
        except FileExistsError:
            raise RunExistsError(
                found="an earlier attempt",
                expected="no folder of this name: one attempt per run folder, never a second",
                where=str(path),
                action="read its failure_analysis.md or m43_summary.md; "
                "to try again, name a new run with --m43-run NAME",
            ) from None
        return cls(path)

    # One name for each fact, here and nowhere else.
    @property
    def profile(self) -> Path:
        """The resolved profile."""
        return self.path / "contract.lock.json"

    @property
    def contract_text(self) -> Path:
        """The contract's file, copied before the first gate; read as text, never run."""
        return self.path / "contract.txt"

    @property
    def code(self) -> Path:
        """The digest of every file that judges the run, as sha256sum prints it."""
        return self.path / "code.sha256"

    @property
    def opening(self) -> Path:
        return self.path / "opening.json"

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def auth(self) -> Path:
        return self.path / "auth.json"

    @property
    def venv(self) -> Path:
        return self.path / "venv.json"

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def download(self) -> Path:
        return self.path / "download.json"

    @property
    def lint(self) -> Path:
        return self.path / "lint.json"

    @property
    def train(self) -> Path:
        return self.path / "train.json"

    @property
    def metrics(self) -> Path:
        return self.path / "training_metrics.jsonl"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    @property
    def evaluation(self) -> Path:
        return self.path / "eval.json"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions.jsonl"

    @property
    def results(self) -> Path:
        return self.path / "evaluation_results.json"

    @property
    def vitals(self) -> Path:
        return self.path / "vitals.json"

    @property
    def recovery(self) -> Path:
        return self.path / "recovery.json"

    @property
    def noted(self) -> Path:
        return self.path / "noted.json"

    @property
    def reserve(self) -> Path:
        """Room on the disk for the last words of a run that filled it; gone when it is sealed."""
        return self.path / ".reserve"

    @property
    def base_model(self) -> Path:
        """Links to the pinned files, which children read; gone when the run is sealed."""
        return self.path / ".base_model"

    @property
    def closing(self) -> Path:
        return self.path / "closing.json"

    @property
    def manifest(self) -> Path:
        return self.path / "MANIFEST.sha256"

    @property
    def summary(self) -> Path:
        return self.path / "m43_summary.md"

    @property
    def failure_analysis(self) -> Path:
        return self.path / "failure_analysis.md"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def junit(self) -> Path:
        return self.path / "junit.xml"

    @property
    def attestation(self) -> Path:
        """The result of the run as an in-toto statement."""
        return self.path / "attestation.intoto.json"

    @property
    def provenance(self) -> Path:
        """How the trained model came to be, as an in-toto statement."""
        return self.path / "provenance.intoto.json"

    @property
    def signature(self) -> Path:
        """A person's signature under the finished folder, as a DSSE envelope."""
        return self.path / "seal.dsse.json"

    @property
    def reports_seal(self) -> Path:
        """The digests of the two reports, as sha256sum prints them."""
        return self.path / "reports.sha256"

    @property
    def loss_curve(self) -> Path:
        return self.path / "loss_curve.svg"

    @property
    def env_snapshot(self) -> Path:
        return self.path / "env_snapshot.txt"

    @property
    def gpu_snapshot(self) -> Path:
        return self.path / "gpu_snapshot.txt"

    def process(self, child: str) -> Path:
        """How a child ("download", "train" or "eval") ended."""
        return self.path / f"{child}.process.json"

    def error(self, child: str) -> Path:
        """Why a child stopped by itself."""
        return self.path / f"{child}.error.json"

    def heartbeat(self, child: str) -> Path:
        """Where a child is now."""
        return self.path / f"{child}.heartbeat.json"

    def stacks(self, child: str) -> Path:
        """Where every thread of a child stood when m43 ended it."""
        return self.path / f"{child}.stacks.txt"

    def log(self, child: str) -> Path:
        """Everything a child printed."""
        names = {"train": "training_log.txt", "eval": "evaluation_log.txt"}
        return self.path / names.get(child, f"{child}_log.txt")

    def read_profile(self) -> Profile:
        """Read the locked profile back."""
        return read_record(self.profile, Profile)

    def read_metrics(self) -> tuple[run_records.StepMetrics, ...]:
        """Read every step's line."""
        return tuple(read_lines(self.metrics, run_records.StepMetrics))

    def read_predictions(self) -> tuple[Prediction, ...]:
        """Read every evaluated row."""
        return tuple(read_lines(self.predictions, Prediction))


def read_record(path: Path, cls: type[T]) -> T:
    """Read one JSON record.

    Raises: MalformedRecordError, when it is missing, unreadable or not of its type.
    """
    value, problems = typed_json.parse(cls, _text(path), str(path))
    if value is None:
        raise MalformedRecordError(problems)
    return value


def read_lines(path: Path, cls: type[T]) -> Iterator[T]:
    """Read a file of JSON Lines, each a record.

    Raises: MalformedRecordError, with every bad line at once.
    """
    values: list[T | None] = []
    problems: list[Problem] = []
    # Only \n ends a line: a model's output may hold the other separators of str.splitlines.
    lines = _text(path).split("\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, start=1):
        value, found = typed_json.parse(cls, line, f"{path}:{number}")
        problems.extend(found)
        values.append(value)
    if problems:
        raise MalformedRecordError(problems)
    return (value for value in values if value is not None)


def write_record(path: Path, value: object) -> None:
    """Write one JSON record, whole or not at all."""
    write_atomically(path, typed_json.dump(value).encode())


def write_last_record(run: RunDir, path: Path, value: object) -> None:
    """Write a record that explains how a child ended, on a full disk at the reserve's cost."""
    try:
        write_record(path, value)
    except OSError as error:
        if not is_disk_full(error):
            raise
        run.reserve.unlink(missing_ok=True)
        write_record(path, value)


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error says that the disk, or this person's share of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_not_writable(error: BaseException) -> bool:
    """Tell whether an error says that a place may not be written to."""
    codes = (errno.EROFS, errno.EACCES, errno.EPERM)
    return isinstance(error, OSError) and error.errno in codes


def unfinished(folder: Path) -> tuple[Path, ...]:
    """List what was being written under another name when its writer died."""
    names = folder.iterdir() if folder.is_dir() else ()
    return tuple(sorted(path for path in names if _UNFINISHED.fullmatch(path.name)))


def remove_unfinished(run: RunDir) -> tuple[str, ...]:
    """Remove what dead writers left by half, the reserve and the links; name the first."""
    left = unfinished(run.path)
    for path in (*left, run.reserve, run.base_model):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return tuple(path.name for path in left)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that under its name there is never half of it, also after a power cut."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files only their owner can read; evidence is for everybody.
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(
            found=f"{type(error).__name__}: {error}",
            expected="a readable file",
            where=str(path),
            action="look at the run folder: the run did not get as far, or the file was taken away",
        )
        raise MalformedRecordError((problem,)) from error


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
