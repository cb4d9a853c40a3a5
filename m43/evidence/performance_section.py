"""How fast and how large a run was, for the summary: planned beside measured."""

from collections.abc import Iterator

from m43.evidence.child_facts import EvaluationFacts, TrainFacts
from m43.evidence.markdown import prose, table
from m43.evidence.performance import Performance, performance, time_by_phase
from m43.evidence.plan_checks import size_words
from m43.plan_record import PlanRecord, TrainingPlan

_PLAN, _METRICS, _BOTH = "plan.json", "training_metrics.jsonl", "plan.json, training_metrics.jsonl"


def performance_section(plan: PlanRecord, train: TrainFacts, evaluation: EvaluationFacts) -> str:
    """Write speed, share of peak, memory and the time by phase."""
    found, training = performance(plan, train), plan.training
    if found is None or training is None:
        return "Not measured: there was no plan to hold the run against (plan.json)."
    measured_in = "train.json" if train.peak_device_bytes else "train.process.json"
    rows = [
        ("padded tokens per second", f"{found.padded_tokens_per_s:,.0f}", _METRICS),
        ("real tokens per second", f"{found.real_tokens_per_s:,.0f}", _METRICS),
        ("supervised tokens per second", f"{found.supervised_tokens_per_s:,.0f}", _METRICS),
        ("model FLOPs of the steps, head included", f"{found.model_flops:.4g}", _BOTH),
        ("share of the device's peak", f"{100 * found.share_of_peak:.1f} %", _BOTH),
        (
            "time of the steps, and the least that the device could take",
            f"{found.steps_s:.1f} s, {found.roofline_s:.1f} s "
            f"({100 * found.share_of_roofline:.0f} %)",
            _BOTH,
        ),
        ("memory at the peak, planned", size_words(found.planned_peak_bytes), _PLAN),
        ("memory at the peak, measured", size_words(found.measured_peak_bytes), measured_in),
    ]
    return "\n\n".join(
        (
            table(("what", "value", "file"), rows),
            prose(_explanation(training, found)),
            _planned(plan, training),
            _times(train, evaluation),
        )
    )


def _explanation(training: TrainingPlan, found: Performance) -> str:
    step, limits = training.step, training.limits
    ratio = 100 * (found.measured_peak_bytes / found.planned_peak_bytes - 1)
    return (
        "Work is what the loss needs: tokens that are not padding through the layers, supervised "
        f"ones through the head. The peak is {limits.flops_per_s:.3g} FLOP/s and "
        f"{limits.bytes_per_s:.3g} bytes/s ({limits.source}). The plan is for the longest batch "
        f"that the profile admits, {step.rows} x {step.length} tokens; the measured memory differs "
        f"from it by {ratio:+.0f} %."
    )


def _planned(plan: PlanRecord, training: TrainingPlan) -> str:
    step = training.step
    rows = [
        ("arguments", size_words(step.arguments_bytes)),
        ("outputs", size_words(step.outputs_bytes)),
        ("of them in the place of arguments", size_words(step.aliased_bytes)),
        ("temporaries", size_words(step.temporaries_bytes)),
        ("the process beside the arrays", size_words(training.process_bytes)),
        *_phases(training),
        ("free for the run", size_words(training.limits.memory_bytes)),
        ("download", size_words(plan.download_bytes)),
        ("trained model on disk", size_words(training.model_bytes + training.adapter_bytes)),
        *((f"model FLOPs of a step: {part.part}", f"{part.flops:.4g}") for part in step.flops),
        ("bytes moved by a step, at least", f"{step.bytes_moved:.4g}"),
    ]
    title = "Planned before a weight was read (plan.json):"
    disclosed = (
        f"For it {plan.config_bytes_moved:,} bytes were fetched: config.json alone (plan.json)."
    )
    return f"{title}\n\n{table(('what', 'value'), rows)}\n\n{disclosed}"


def _phases(training: TrainingPlan) -> Iterator[tuple[str, str]]:
    step = training.step
    if not step.compiling_bytes:
        # A plan of before the compiler was measured.
        return
    yield "the compiler, in the host's memory", size_words(step.compiling_bytes)
    yield "what it leaves for each length, in the host's memory", size_words(step.compiled_bytes)
    for phase in training.phases:
        yield f"at most, {phase.phase}", size_words(phase.peak_bytes)


def _times(train: TrainFacts, evaluation: EvaluationFacts) -> str:
    phases = time_by_phase(train, evaluation)
    whole_s = sum(phase.duration_s for phase in phases)
    rows = [
        (
            prose(phase.name),
            f"{phase.duration_s:.1f} s",
            f"{100 * phase.duration_s / whole_s:.0f} %",
        )
        for phase in phases
    ]
    files = "download.json, train.json, train.process.json, eval.json, eval.process.json"
    return f"Where the time went ({files}):\n\n{table(('phase', 'time', 'share'), rows)}"
