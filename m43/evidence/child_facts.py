"""The facts of training and evaluation: a child's record together with what was seen around it."""

from dataclasses import dataclass, field

from m43.evaluation_record import EvaluationRecord, EvaluationResults, Prediction
from m43.hub_record import DownloadRecord
from m43.records import ProcessRecord, StepMetrics, TrainRecord


@dataclass(frozen=True, kw_only=True)
class TrainFacts(TrainRecord):
    """What the promises about training compare: `train` in the contract."""

    process: ProcessRecord
    download: DownloadRecord = field(repr=False)
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
    predictions: tuple[Prediction, ...] = field(repr=False)
    results: EvaluationResults
    recomputed_results: EvaluationResults = field(repr=False)

    @property
    def ids(self) -> tuple[str, ...]:
        """The id of every answered row, in order."""
        return tuple(row.id for row in self.predictions)
