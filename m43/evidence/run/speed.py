"""The performance of a run: speed, share of the device's peak, memory, and where the time went."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from m43.evidence.run.loaded_run import EvaluationFacts, TrainFacts
from m43.records import Phase, PlanRecord, StepMetrics, StepPlan, TrainingPlan

_HEAD, _ATTENTION = "head", "attention"


@dataclass(frozen=True, kw_only=True)
class Performance:
    """What the steps achieved, held against what was planned.

    Attributes:
        model_flops: that the loss of the run needs: every token that is not padding through the
            layers, every supervised one through the head. Padding is no work.
        roofline_s: the least time in which the device could have taken these steps.
        measured_peak_bytes: of the training's processes, on a card of its memory there.
    """

    steps_s: float
    padded_tokens_per_s: float
    real_tokens_per_s: float
    supervised_tokens_per_s: float
    model_flops: float
    share_of_peak: float
    roofline_s: float
    share_of_roofline: float
    planned_peak_bytes: int
    measured_peak_bytes: int


def performance(plan: PlanRecord, train: TrainFacts) -> Performance | None:
    """Work out how fast and how large a run was; None where it had no plan or no steps."""
    training, steps = plan.training, train.metrics
    steps_s = sum(step.duration_s for step in steps)
    if training is None or steps_s <= 0:
        return None
    flops = sum(model_flops(training.step, step) for step in steps)
    roofline_s = sum(roofline_of(training, step) for step in steps)
    on_card = not train.device.startswith("cpu:")
    return Performance(
        steps_s=steps_s,
        padded_tokens_per_s=sum(step.padded_tokens for step in steps) / steps_s,
        real_tokens_per_s=sum(step.real_tokens for step in steps) / steps_s,
        supervised_tokens_per_s=sum(step.supervised_tokens for step in steps) / steps_s,
        model_flops=flops,
        share_of_peak=training.flops_s(flops) / steps_s,
        roofline_s=roofline_s,
        share_of_roofline=roofline_s / steps_s,
        planned_peak_bytes=training.peak_bytes,
        measured_peak_bytes=train.peak_device_bytes if on_card else train.all_peak_bytes,
    )


def model_flops(planned: StepPlan, step: StepMetrics) -> float:
    """Count the FLOPs that a step's loss needs, from those of the planned step.

    Attention costs by the length of the row, which in a shorter batch is shorter.
    """
    shorter = step.padded_tokens / planned.positions
    tokens = {_HEAD: float(step.supervised_tokens), _ATTENTION: step.real_tokens * shorter}
    return sum(
        part.flops / planned.positions * tokens.get(part.part, step.real_tokens)
        for part in planned.flops
    )


def roofline_of(training: TrainingPlan, step: StepMetrics) -> float:
    """Give the least time of a step as it was taken: that of its FLOPs or that of its bytes.

    Of what devices exchange, weights and gradients do not depend on the batch, and are the most.
    """
    planned = training.step
    moved_s = training.bytes_s(step.padded_tokens / planned.positions)
    return max(training.flops_s(model_flops(planned, step)), moved_s)


def time_by_phase(train: TrainFacts, evaluation: EvaluationFacts) -> tuple[Phase, ...]:
    """Say where the time of the last two gates went, from the download to the last answer.

    Compilations of several lengths are one phase; what a child's phases leave over is its start
    and its end.
    """
    phases = [Phase(name="download", duration_s=train.download.duration_s)]
    for gate, children, whole_s in (
        ("train", train.phases, train.process.duration_s),
        ("eval", evaluation.phases, evaluation.process.duration_s),
    ):
        named: dict[str, float] = {}
        for phase in children:
            kind = "compile" if phase.name.startswith("compile") else phase.name
            named[kind] = named.get(kind, 0.0) + phase.duration_s
        rest_s = max(0.0, whole_s - sum(named.values()))
        phases += [Phase(name=f"{gate}: {name}", duration_s=s) for name, s in named.items()]
        phases.append(Phase(name=f"{gate}: start and end", duration_s=rest_s))
    return tuple(phases)


SMOOTHED_STEPS = 15


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Average each value with its neighbours; at the ends with those that there are.

    Example:
        >>> running_mean([1.0, 2.0, 6.0], 3)
        [1.5, 3.0, 4.0]
    """
    half = width // 2
    windows = (values[max(0, index - half) : index + half + 1] for index in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def tokens_per_s(metrics: Sequence[StepMetrics]) -> list[float]:
    """Give the real tokens per second around each step; not a number where a clock stood still.

    Tokens and seconds are summed apart: losses are fetched in blocks, so a single step's time
    says little, and the mean of rates is not the rate of the whole.
    """
    half = SMOOTHED_STEPS // 2
    windows = (metrics[max(0, place - half) : place + half + 1] for place in range(len(metrics)))
    return [_rate(window) for window in windows]


def _rate(steps: Sequence[StepMetrics]) -> float:
    seconds = sum(step.duration_s for step in steps)
    return sum(step.real_tokens for step in steps) / seconds if seconds > 0 else math.nan
