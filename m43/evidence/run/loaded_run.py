"""A run folder, loaded and judged once: what it holds, how it is read, and what follows from it.

One file: a record is added to all three at once, to what may be missing, to the reading, and to
what a summary may not miss.

A failure analysis must be possible over any folder, also one that a power cut left behind. So a
file that is missing is None, and a file that is there and cannot be read is None with a problem.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from m43 import typed_json
from m43.errors import M43Error, Problem
from m43.evidence.contract import ContractText, Judged, Verdict, measure, read_kept, verdict_words
from m43.evidence.journal import Entry, chain, journal, redact, sealed_names
from m43.evidence.run.acceptance import accept, contract_differences, contract_words
from m43.files import file_sha256
from m43.records import (
    AuthRecord,
    CardReading,
    ChildError,
    ClosingRecord,
    DownloadRecord,
    EvaluationRecord,
    EvaluationResults,
    Heartbeat,
    ImportedRecord,
    LintRecord,
    MalformedRecordError,
    NotedRecord,
    OpeningRecord,
    PlanRecord,
    Prediction,
    ProcessRecord,
    Profile,
    RecoveryRecord,
    RunDir,
    StepMetrics,
    TrainRecord,
    VenvRecord,
    Vitals,
    read_record,
)
from m43.rows import scoring


@dataclass(frozen=True, kw_only=True)
class TrainFacts(TrainRecord):
    """What the promises about training compare: `train` in the contract."""

    process: ProcessRecord
    download: DownloadRecord = field(repr=False)
    imported: ImportedRecord = field(repr=False)
    metrics: tuple[StepMetrics, ...] = field(repr=False)

    @property
    def losses_nats(self) -> tuple[float, ...]:
        """The loss of every step, in order."""
        return tuple(step.loss_nats for step in self.metrics)

    @property
    def supervised_tokens(self) -> tuple[int, ...]:
        """How many tokens each step learned from, in order."""
        return tuple(step.supervised_tokens for step in self.metrics)

    @property
    def all_peak_bytes(self) -> int:
        """The memory of all processes at their peaks; a launcher's own tells nothing of them."""
        return max(self.process.peak_bytes, sum(each.peak_host_bytes for each in self.processes))

    @property
    def widening(self) -> str:
        """What became of weights that are stored in float16; empty where none are."""
        if "F16" not in self.weights_dtypes:
            return ""
        return (
            f"The base stores its weights in {' and '.join(self.weights_dtypes)}: each value was "
            "read without loss, nothing was computed in float16, and every tensor was saved in the "
            "dtype that it came in"
        )


@dataclass(frozen=True, kw_only=True)
class EvaluationFacts(EvaluationRecord):
    """What the promises about evaluation compare: `evaluation` in the contract."""

    process: ProcessRecord
    imported: ImportedRecord = field(repr=False)
    predictions: tuple[Prediction, ...] = field(repr=False)
    results: EvaluationResults
    recomputed_results: EvaluationResults = field(repr=False)

    @property
    def ids(self) -> tuple[str, ...]:
        """The id of every answered row, in order."""
        return tuple(row.id for row in self.predictions)


def _train(run: RunDir) -> TrainFacts:
    """Read what training did, how its process ended, and what it was given."""
    return TrainFacts(
        **_values(read_record(run.train, TrainRecord)),
        process=read_record(run.train_process, ProcessRecord),
        download=read_record(run.download, DownloadRecord),
        imported=read_record(run.train_imported, ImportedRecord),
        metrics=run.read_metrics(),
    )


def _evaluation(run: RunDir) -> EvaluationFacts:
    """Read what evaluation did, and count the scores again from the predictions."""
    predictions = run.read_predictions()
    return EvaluationFacts(
        **_values(read_record(run.evaluation, EvaluationRecord)),
        process=read_record(run.eval_process, ProcessRecord),
        imported=read_record(run.eval_imported, ImportedRecord),
        predictions=predictions,
        results=read_record(run.results, EvaluationResults),
        recomputed_results=scoring.tally(predictions),
    )


def _values(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


T = TypeVar("T")

LOG_TAIL_LINES = 40
_LOG_TAIL_BYTES = 1 << 16
# The weights are in the manifest; digesting gigabytes again for a document takes minutes.
_MODEL_PREFIX = f"{RunDir.model.name}/"


@dataclass(frozen=True, kw_only=True)
class Child:
    """What a child left behind, besides its record."""

    process: ProcessRecord | None
    error: ChildError | None
    heartbeat: Heartbeat | None
    log_tail: tuple[str, ...] = field(repr=False)
    stacks: tuple[str, ...] = field(repr=False)  # of its threads, when m43 had to end it


@dataclass(frozen=True, kw_only=True)
class EvidenceFile:
    """A file of the run folder and its digest."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class LoadedRun:
    """A run folder as it was read, once; a field is None or empty where nothing was found.

    What follows from it (each promise held against the records, the verdict) is worked out when it
    is first asked for, and kept.
    """

    name: str
    entries: tuple[Entry, ...] = field(repr=False)
    contract: ContractText | None
    opening: OpeningRecord | None
    vitals: Vitals | None
    recovery: RecoveryRecord | None
    noted: NotedRecord | None
    profile: Profile | None
    auth: AuthRecord | None
    venv: VenvRecord | None
    plan: PlanRecord | None
    download: DownloadRecord | None
    download_child: Child
    lint: LintRecord | None
    train: TrainFacts | None
    train_child: Child
    metrics: tuple[StepMetrics, ...] = field(repr=False)
    metrics_cut: bool  # the line after the last readable step is damaged, as a kill leaves it
    card: tuple[CardReading, ...] = field(repr=False)  # of both children; none on a CPU
    card_cut: bool  # as of the metrics
    evaluation: EvaluationFacts | None
    eval_child: Child
    results: EvaluationResults | None
    closing: ClosingRecord | None
    files: tuple[EvidenceFile, ...] = field(repr=False)
    problems: tuple[Problem, ...]

    @property
    def kind(self) -> str:
        """Production or rehearsal; a folder that does not say is treated as a rehearsal."""
        # Never the other way round: nothing may be taken for production by losing a file.
        return self.opening.kind if self.opening else "rehearsal"

    def verdict_words(self, accepted: bool) -> str:
        """Give a verdict about this run in the words that are used everywhere."""
        own_profile = bool(self.opening and self.opening.profile_differences)
        other = bool(self.contract_differences)
        return verdict_words(accepted, self.kind, own_profile=own_profile, other_contract=other)

    @property
    def other_contract(self) -> str:
        """What its contract is called, and in how much it is another one; empty where it is not."""
        return contract_words(self.opening)

    @property
    def contract_differences(self) -> tuple[str, ...]:
        """In what its contract is not the M43 contract, promises first."""
        return contract_differences(self.opening)

    @property
    def contract_name(self) -> str:
        """What its contract is called; empty where the run was cut off before it told."""
        return self.opening.contract_name if self.opening else ""

    @property
    def records(self) -> Mapping[str, object]:
        """The records under the names by which the contract's promises ask for them."""
        named: dict[str, object | None] = {
            "opening": self.opening,
            "contract": self.profile.contract if self.profile else None,
            "auth": self.auth,
            "venv": self.venv,
            "plan": self.plan,
            "train": self.train,
            "evaluation": self.evaluation,
            "closing": self.closing,
        }
        return {name: record for name, record in named.items() if record is not None}

    def require(self, name: str) -> Any:
        """Return a record under the name by which the contract asks for it.

        Raises: MalformedRecordError, with what kept it from being read.
        """
        record = self.records.get(name)
        if record is None:
            missing = Problem(
                found="none that can be read",
                expected=f"the record {name!r}, whole",
                where=self.name,
                action="look at the run folder: the run did not get as far, or a file was taken "
                "away",
            )
            raise MalformedRecordError((*self.problems, missing))
        return record

    @cached_property
    def judged(self) -> tuple[Judged, ...]:
        """Every promise of the kept contract, held against the records."""
        promises = self.contract.promises if self.contract else ()
        return tuple(measure(promise, self.records) for promise in promises)

    @cached_property
    def verdict(self) -> Verdict:
        """Whether the run is accepted, and every reason why not."""
        return accept(
            self.entries,
            contract=self.contract,
            opening=self.opening,
            whole=self.whole is not None,
            problems=self.problems,
            judged=self.judged,
        )

    @cached_property
    def whole(self) -> "Complete | None":
        """The same run with none of its records missing; None where one is."""
        return complete(self)

    def with_entries(self, entries: tuple[Entry, ...]) -> "LoadedRun":
        """Return the same records beside a journal that has grown since they were read."""
        if entries == self.entries:
            return self
        grown = replace(self, entries=entries)
        # The same records keep the same promises.
        vars(grown)["judged"] = self.judged
        return grown

    @property
    def started(self) -> datetime | None:
        """The time of the first entry of the journal."""
        return moment(self.entries[0].time_utc) if self.entries else None


def moment(text: str) -> datetime | None:
    """Read a time as the journal writes it; None when it is something else."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


class _Reading:
    """Reads what is there and collects what cannot be read."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def take(self, paths: tuple[Path, ...], read: Callable[[], T]) -> T | None:
        """Read a record if all its files are there."""
        if not all(path.exists() for path in paths):
            return None
        try:
            return read()
        except M43Error as error:
            self.problems.extend(error.problems)
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(_unreadable(paths[0], error))
        return None


def load_run(run: RunDir) -> LoadedRun:
    """Read a run folder, whatever state it is in, and digest its files."""
    reading = _Reading()
    take = reading.take
    train_files = (run.train, run.train_process, run.train_imported, run.download, run.metrics)
    eval_files = (
        *(run.evaluation, run.eval_process, run.eval_imported, run.predictions, run.results),
    )
    metrics, metrics_cut = _lines(run.metrics, StepMetrics, reading)
    card, card_cut = _lines(run.gpu_metrics, CardReading, reading)
    return LoadedRun(
        name=run.path.name,
        entries=_entries(run, reading),
        contract=take((run.contract_text,), lambda: read_kept(run)),
        opening=take((run.opening,), lambda: read_record(run.opening, OpeningRecord)),
        vitals=take((run.vitals,), lambda: read_record(run.vitals, Vitals)),
        recovery=take((run.recovery,), lambda: read_record(run.recovery, RecoveryRecord)),
        noted=take((run.noted,), lambda: read_record(run.noted, NotedRecord)),
        profile=take((run.profile,), run.read_profile),
        auth=take((run.auth,), lambda: read_record(run.auth, AuthRecord)),
        venv=take((run.venv,), lambda: read_record(run.venv, VenvRecord)),
        plan=take((run.plan,), lambda: read_record(run.plan, PlanRecord)),
        download=take((run.download,), lambda: read_record(run.download, DownloadRecord)),
        download_child=_child(run, "download", reading),
        lint=take((run.lint,), lambda: read_record(run.lint, LintRecord)),
        train=take(train_files, lambda: _train(run)),
        train_child=_child(run, "train", reading),
        metrics=metrics,
        metrics_cut=metrics_cut,
        card=card,
        card_cut=card_cut,
        evaluation=take(eval_files, lambda: _evaluation(run)),
        eval_child=_child(run, "eval", reading),
        results=take((run.results,), lambda: read_record(run.results, EvaluationResults)),
        closing=take((run.closing,), lambda: read_record(run.closing, ClosingRecord)),
        files=tuple(
            EvidenceFile(name=name, sha256=file_sha256(run.path / name))
            for name in sealed_names(run)
            if not name.startswith(_MODEL_PREFIX) and not (run.path / name).is_symlink()
        ),
        problems=tuple(_portable(problem, run) for problem in dict.fromkeys(reading.problems)),
    )


def _portable(problem: Problem, run: RunDir) -> Problem:
    """Name files from the run folder on: a document reads the same wherever the folder lies."""
    here = f"{run.path}/"
    return replace(
        problem, where=problem.where.replace(here, ""), found=problem.found.replace(here, "")
    )


def _entries(run: RunDir, reading: _Reading) -> tuple[Entry, ...]:
    try:
        return journal.read(run.journal)
    except chain.CutChainError as cut:
        reading.problems.extend(cut.problems)
        return cut.good
    except M43Error as error:
        reading.problems.extend(error.problems)
    except OSError as error:
        reading.problems.append(_unreadable(run.journal, error))
    return ()


def _child(run: RunDir, name: str, reading: _Reading) -> Child:
    process, error, heartbeat = run.process(name), run.error(name), run.heartbeat(name)
    return Child(
        process=reading.take((process,), lambda: read_record(process, ProcessRecord)),
        error=reading.take((error,), lambda: read_record(error, ChildError)),
        heartbeat=reading.take((heartbeat,), lambda: read_record(heartbeat, Heartbeat)),
        log_tail=reading.take((run.log(name),), lambda: _tail(run.log(name))) or (),
        stacks=reading.take((run.stacks(name),), lambda: _tail(run.stacks(name))) or (),
    )


def _lines(path: Path, cls: type[T], reading: _Reading) -> tuple[tuple[T, ...], bool]:
    """Read lines up to the first that cannot be read, and tell whether there is one.

    A kill leaves the last line cut. Where training ended well, reading its facts refuses that.
    """
    text = reading.take((path,), lambda: path.read_text(encoding="utf-8")) or ""
    values: list[T] = []
    for number, line in enumerate(text.splitlines(), start=1):
        value, _ = typed_json.parse(cls, line, f"{path}:{number}")
        if value is None:
            return tuple(values), True
        values.append(value)
    return tuple(values), False


def _tail(path: Path) -> tuple[str, ...]:
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _LOG_TAIL_BYTES))
        text = file.read().decode(errors="replace")
    # The log was redacted when it was written; what is only shaped like a token goes here too.
    return tuple(redact(text, ()).splitlines()[-LOG_TAIL_LINES:])


def _unreadable(path: Path, error: Exception) -> Problem:
    return Problem(
        found=f"{type(error).__name__}: {error}",
        expected="a readable file",
        where=str(path),
        action="look at the file",
    )


@dataclass(frozen=True, kw_only=True)
class Complete:
    """A loaded run in which nothing is missing; a summary of less cannot be asked for."""

    loaded_run: LoadedRun
    opening: OpeningRecord
    profile: Profile
    auth: AuthRecord
    venv: VenvRecord
    plan: PlanRecord
    lint: LintRecord
    train: TrainFacts
    evaluation: EvaluationFacts


def complete(loaded_run: LoadedRun) -> Complete | None:
    """Return the run with all its records, or None."""
    names = [each.name for each in fields(Complete) if each.name != "loaded_run"]
    found: dict[str, Any] = {name: getattr(loaded_run, name) for name in names}
    if loaded_run.closing is None or any(record is None for record in found.values()):
        return None
    return Complete(loaded_run=loaded_run, **found)
