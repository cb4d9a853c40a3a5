"""The facts of a run, read back from its folder: what the contract's fixtures return."""

from dataclasses import fields
from typing import Any

from m43 import scoring
from m43.evaluation_record import EvaluationRecord, EvaluationResults
from m43.evidence.child_facts import EvaluationFacts, TrainFacts
from m43.hub_record import AuthRecord, DownloadRecord
from m43.plan_record import PlanRecord
from m43.records import ClosingRecord, OpeningRecord, ProcessRecord, TrainRecord, VenvRecord
from m43.run_dir import RunDir, read_record


def read_opening(run: RunDir) -> OpeningRecord:
    """Read what was true before the first gate."""
    return read_record(run.opening, OpeningRecord)


def read_auth(run: RunDir) -> AuthRecord:
    """Read what the hub said."""
    return read_record(run.auth, AuthRecord)


def read_venv(run: RunDir) -> VenvRecord:
    """Read what the environment is."""
    return read_record(run.venv, VenvRecord)


def read_plan(run: RunDir) -> PlanRecord:
    """Read what the run was planned to take."""
    return read_record(run.plan, PlanRecord)


def read_train(run: RunDir) -> TrainFacts:
    """Read what training did, how its process ended, and what it was given."""
    return TrainFacts(
        **_values(read_record(run.train, TrainRecord)),
        process=read_record(run.process("train"), ProcessRecord),
        download=read_record(run.download, DownloadRecord),
        metrics=run.read_metrics(),
    )


def read_evaluation(run: RunDir) -> EvaluationFacts:
    """Read what evaluation did, and count the scores again from the predictions."""
    predictions = run.read_predictions()
    return EvaluationFacts(
        **_values(read_record(run.evaluation, EvaluationRecord)),
        process=read_record(run.process("eval"), ProcessRecord),
        predictions=predictions,
        results=read_record(run.results, EvaluationResults),
        recomputed_results=scoring.tally(predictions),
    )


def read_closing(run: RunDir) -> ClosingRecord:
    """Read what is true after the last gate."""
    return read_record(run.closing, ClosingRecord)


def _values(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}
