"""The run folder: the table of its files, where each fact lies, written once and read back.

One file: the table, and what reads and writes by it.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

from m43 import typed_json
from m43.errors import FailureClass, M43Error, Problem
from m43.files import give_room, is_disk_full, sync
from m43.records import run_records
from m43.records.evaluation_record import Prediction
from m43.records.profile import Profile
from m43.records.run_records import MalformedRecordError
from m43.text import is_folder_name

T = TypeVar("T")

# What mkstemp makes in `write_atomically`, what is renamed when it is whole, and scratch folders.
_UNFINISHED = re.compile(r"\.[\w.-]+[.-]([a-z0-9_]{8}|partial)")


class RunExistsError(M43Error):
    """A second attempt under the name of an earlier one."""

    failure_class = FailureClass.HARNESS_ERROR


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """A row of the table of files: of a run its path, of the class `RunDir` the row itself.

    Attributes:
        name: Of the file, or of the folder.
        what: What it is, as the report's index says it.
        gate: Whose record it is; the digest in the journal's `gate_closed` covers it.
        sealed: Whether the manifest covers it; what changes after the seal has it False.
    """

    name: str
    what: str
    gate: str = ""
    sealed: bool = True

    @overload
    def __get__(self, run: None, owner: type["RunDir"]) -> "RunFile": ...

    @overload
    def __get__(self, run: "RunDir", owner: type["RunDir"]) -> Path: ...

    def __get__(self, run: "RunDir | None", owner: type["RunDir"]) -> "RunFile | Path":
        """Return where the file lies in a run folder; the row where no folder is meant."""
        return self if run is None else run.path / self.name


def file(name: str, what: str, *, gate: str = "", sealed: bool = True) -> RunFile:
    """Write a row of the table of files."""
    return RunFile(name=name, what=what, gate=gate, sealed=sealed)


class Summary(RunFile):
    """The row of the summary, which is called after the contract of its run."""

    def __get__(self, run: "RunDir | None", owner: type["RunDir"]) -> Any:
        """Return where it lies, by the name of the contract that the run was opened under."""
        return self if run is None else run.path / self.name.format(contract=_contract_name(run))


def _contract_name(run: "RunDir") -> str:
    """Read what a run's contract is called; what is no plain name, or is not told, is "no"."""
    with suppress(OSError, ValueError, AttributeError, RecursionError):
        name = json.loads(run.opening.read_text(encoding="utf-8")).get("contract_name")
        if isinstance(name, str) and is_folder_name(name):
            return name
    return "no"


@dataclass(eq=False)
class RunDir:
    """A run folder. Everything after its creation takes this one argument.

    Below stands the table of its files: each name here and nowhere else, in the order in which
    somebody looks into them. The records of a gate stand in the order that its digest has.

    Example:
        >>> RunDir.auth.name, RunDir(Path("runs/one")).auth.as_posix()
        ('auth.json', 'runs/one/auth.json')
    """

    path: Path

    summary = Summary(
        name="{contract}_summary.md", what="the whole account of an accepted run", sealed=False
    )
    failure_analysis = file(
        "failure_analysis.md", "the whole account of a run that was not accepted", sealed=False
    )
    report = file("report.html", "this page", sealed=False)
    loss_curve = file("loss_curve.svg", "the loss of every step", sealed=False)
    opening = file("opening.json", "what was true before the first gate")
    contract_text = file("contract.txt", "the promises, as they stood when the run began")
    profile = file("contract.lock.json", "the settings of the run, complete")
    code = file("code.sha256", "the digests of the code that judged the run")
    vitals = file("vitals.json", "by what one can tell later whether the machine was restarted")
    auth = file("auth.json", "what the hub answered", gate="auth")
    venv = file("venv.json", "the environment and its devices", gate="venv")
    plan = file("plan.json", "what the run was predicted to take", gate="venv")
    # Of a probe by several devices; one alone reports on its standard output.
    probe = file("probe.json", "what a further process found of its environment")
    probe_log = file("probe_log.txt", "what the probe of several devices printed")
    probe_error = file("probe.error.json", "why the probe of several devices stopped by itself")
    probe_heartbeat = file("probe.heartbeat.json", "where the probe of several devices was last")
    probe_stacks = file(
        "probe.stacks.txt", "where the threads of the probe stood when m43 ended it"
    )
    env_snapshot = file("env_snapshot.txt", "every installed package")
    gpu_snapshot = file("gpu_snapshot.txt", "what the driver said")
    download = file("download.json", "the files of the model, with digests", gate="train-300")
    download_process = file(
        "download.process.json", "how the download process ended", gate="train-300"
    )
    download_log = file("download_log.txt", "what the download printed")
    download_error = file("download.error.json", "why the download stopped by itself")
    download_heartbeat = file("download.heartbeat.json", "where the download was last")
    download_stacks = file(
        "download.stacks.txt", "where the threads of the download stood when m43 ended it"
    )
    train_rows = file("train_rows.jsonl", "the training rows, as they were read from Parquet")
    eval_rows = file("eval_rows.jsonl", "the evaluation rows, as they were read from Parquet")
    lint = file("lint.json", "the rows as tokens", gate="train-300")
    train = file("train.json", "what training did", gate="train-300")
    metrics = file("training_metrics.jsonl", "one line for every step", gate="train-300")
    gpu_metrics = file("gpu_metrics.jsonl", "the card, by its driver, each second of a child")
    train_process = file("train.process.json", "how the training process ended", gate="train-300")
    train_imported = file("train.imported.json", "the code that training ran", gate="train-300")
    train_log = file("training_log.txt", "what training printed")
    train_error = file("train.error.json", "why training stopped by itself")
    train_heartbeat = file("train.heartbeat.json", "where training was last")
    train_stacks = file("train.stacks.txt", "where the threads of training stood when m43 ended it")
    model = file("model", "the trained model")
    # Written before the seal, and after the last look at the weights.
    model_card = file("model/README.md", "the card of the trained model, in the hub's format")
    adapter = file("adapter", "the trained adapter, where the method is LoRA")
    evaluation = file("eval.json", "what evaluation did", gate="eval")
    predictions = file(
        "predictions.jsonl", "one line for every question, with both outputs", gate="eval"
    )
    results = file("evaluation_results.json", "the scores", gate="eval")
    eval_process = file("eval.process.json", "how the evaluation process ended", gate="eval")
    eval_imported = file("eval.imported.json", "the code that evaluation ran", gate="eval")
    eval_log = file("evaluation_log.txt", "what evaluation printed")
    eval_error = file("eval.error.json", "why evaluation stopped by itself")
    eval_heartbeat = file("eval.heartbeat.json", "where evaluation was last")
    eval_stacks = file("eval.stacks.txt", "where the threads of evaluation stood when m43 ended it")
    processes = file("processes", "what each further process left, where they were several")
    closing = file("closing.json", "what was true after the last gate", gate="closing")
    journal = file(
        "journal.jsonl", "what happened, in order, each entry sealed by the next", sealed=False
    )
    junit = file("junit.xml", "the promises as test results, for other programs", sealed=False)
    manifest = file("MANIFEST.sha256", "the digest of every file, for sha256sum -c", sealed=False)
    attestation = file(
        "attestation.intoto.json",
        "the verdict as an in-toto statement, for other programs",
        sealed=False,
    )
    provenance = file(
        "provenance.intoto.json", "what the run was made from, as SLSA provenance", sealed=False
    )
    signature = file("seal.dsse.json", "the signature of the person who sealed it", sealed=False)
    reports_seal = file("reports.sha256", "the digests of report.html and junit.xml", sealed=False)
    noted = file("noted.json", "warnings that were noted, and judged by nobody")
    recovery = file("recovery.json", "how a later command closed a run that was cut off")
    # Gone when the run is sealed: room on a full disk for its last words, and what children read.
    reserve = file(".reserve", "room on the disk for the last words", sealed=False)
    base_model = file(".base_model", "links to the pinned files")
    origins = file(".origins.json", "what a child says that it runs", sealed=False)
    handed_code = file(".code.json", "m43's code, as a launcher's processes read it", sealed=False)
    bytecode = file(".bytecode", "what Python compiled for the run", sealed=False)

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
                action=f"read its {cls.failure_analysis.name} or {cls(path).summary.name}; "
                "to try again, name a new run with --m43-run NAME",
            ) from None
        return cls(path)

    def of_process(self, number: int) -> "RunDir":
        """Return where a process of several leaves its own records; of the first, here."""
        return RunDir(self.path / self.processes.name / str(number)) if number else self

    def process(self, child: str) -> Path:
        """Return how a child ("download", "train" or "eval") ended."""
        return self.path / child_file(child, "process").name

    def error(self, child: str) -> Path:
        """Return why a child stopped by itself."""
        return self.path / child_file(child, "error").name

    def heartbeat(self, child: str) -> Path:
        """Return where a child is now."""
        return self.path / child_file(child, "heartbeat").name

    def stacks(self, child: str) -> Path:
        """Return where every thread of a child stood when m43 ended it."""
        return self.path / child_file(child, "stacks").name

    def imported(self, child: str) -> Path:
        """Return what code a child ("train" or "eval") ran."""
        return self.path / child_file(child, "imported").name

    def log(self, child: str) -> Path:
        """Return everything that a child printed."""
        return self.path / child_file(child, "log").name

    def records(self, gate: str) -> tuple[Path, ...]:
        """List the records of a gate: what is there, and unchanged, once the gate is closed."""
        return tuple(self.path / each.name for each in FILES if each.gate == gate)

    def read_profile(self) -> Profile:
        """Read the locked profile back."""
        return read_record(self.profile, Profile)

    def read_metrics(self) -> tuple[run_records.StepMetrics, ...]:
        """Read every step's line."""
        return tuple(read_lines(self.metrics, run_records.StepMetrics))

    def read_predictions(self) -> tuple[Prediction, ...]:
        """Read every evaluated row."""
        return tuple(read_lines(self.predictions, Prediction))


def child_file(
    child: str, what: Literal["process", "error", "heartbeat", "stacks", "log", "imported"]
) -> RunFile:
    """Return the row of a file that a child ("download", "train" or "eval") leaves."""
    row: RunFile = vars(RunDir)[f"{child}_{what}"]
    return row


FILES: tuple[RunFile, ...] = tuple(row for row in vars(RunDir).values() if isinstance(row, RunFile))


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
        give_room(run.reserve)
        write_record(path, value)


def unfinished(folder: Path) -> tuple[Path, ...]:
    """List what was being written under another name when its writer died."""
    names = folder.iterdir() if folder.is_dir() else ()
    return tuple(sorted(path for path in names if _UNFINISHED.fullmatch(path.name)))


def remove_unfinished(run: RunDir) -> tuple[str, ...]:
    """Remove what dead writers left by half, and what was needed until now; name the first."""
    left = unfinished(run.path)
    # Those of further processes lie a folder deeper, and so does the model's card.
    card = run.model_card
    hidden = (*run.processes.glob("*/.*"), *card.parent.glob(f".{card.name}.*"))
    needed = (run.reserve, run.base_model, run.origins, run.handed_code, run.bytecode)
    for path in (*left, *hidden, *needed):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    # Saving was cut off before its first file; a folder that holds something stays.
    with suppress(OSError):
        run.model.rmdir()
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
    sync(path.parent)


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
    if path is not None and RunDir(path).journal.is_file():
        return RunDir(path)
    # Those near the place that was meant come first: a slip of one letter is the usual cause.
    near = () if path is None else (path, path.absolute().parent)
    found = [
        each.parent
        for place in (*near, runs)
        for each in sorted(place.glob(f"*/{RunDir.journal.name}"))
    ]
    known = list(dict.fromkeys(_from_here(each) for each in found))
    raise NotARunError(
        found=_not_a_run(path),
        expected=f"a run folder, with its {RunDir.journal.name}",
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
