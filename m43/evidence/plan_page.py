"""The plan as a page for people: what a run will take, on which device, and whether it fits."""

from collections.abc import Iterator

from m43.evidence.plan_checks import MARGIN, alternatives_words, size_words
from m43.plan_record import TrainingPlan

_WIDTH = 34


def fits(plan: TrainingPlan) -> bool:
    """Tell whether a run stays within the memory, the margin included."""
    return 0 < MARGIN * plan.peak_bytes <= plan.limits.memory_bytes


def plan_page(plan: TrainingPlan, title: str) -> str:
    """Write a plan as plain text."""
    parts = (_memory(plan), _buffers(plan), _arithmetic(plan), _time(plan), _disk(plan))
    lines = [title, "", *(line for part in parts for line in (*part, ""))]
    return "\n".join((*lines, _verdict(plan))) + "\n"


def _row(name: str, value: str) -> str:
    return f"  {name:<{_WIDTH}}{value}"


def _memory(plan: TrainingPlan) -> Iterator[str]:
    step, limits = plan.step, plan.limits
    yield f"memory of {limits.device}"
    yield _row("parameters", f"{plan.parameters:,}, of them trained {plan.trained_parameters:,}")
    yield _row("arguments", size_words(step.arguments_bytes))
    yield _row("outputs", size_words(step.outputs_bytes))
    yield _row("  in the place of arguments", size_words(step.aliased_bytes))
    yield _row("temporaries", size_words(step.temporaries_bytes))
    yield _row("the step", size_words(step.step_bytes))
    yield _row("the process beside its arrays", size_words(plan.process_bytes))
    for phase in plan.phases:
        yield _row(f"at most, {phase.phase}", size_words(phase.peak_bytes))
    yield _row("peak", size_words(plan.peak_bytes))
    yield _row(
        f"peak with a margin of {MARGIN - 1:.0%}", size_words(round(MARGIN * plan.peak_bytes))
    )
    yield _row("free for a run", size_words(limits.memory_bytes))


def _buffers(plan: TrainingPlan) -> Iterator[str]:
    yield "largest arrays (not all exist at once)"
    for buffer in plan.step.buffers:
        yield f"  {size_words(buffer.size_bytes):>12}  {buffer.name}"


def _arithmetic(plan: TrainingPlan) -> Iterator[str]:
    step = plan.step
    yield f"a step of {step.rows} x {step.length} tokens"
    for part in step.flops:
        share = part.flops / step.total_flops
        yield _row(part.part, f"{part.flops / 1e12:.3f} TFLOP ({share:.1%})")
    per_token = step.total_flops / step.positions / 1e9
    total = step.total_flops / 1e12
    yield _row("model FLOPs", f"{total:.3f} TFLOP, {per_token:.2f} GFLOP per token")
    yield _row("bytes moved, at least", size_words(step.bytes_moved))
    products = f"{step.bfloat16_products} of bfloat16, {step.float32_products} of float32 operands"
    yield _row("matrix products", products)
    yield _row("rows of logits at once", str(step.logits_rows))


def _time(plan: TrainingPlan) -> Iterator[str]:
    step, limits = plan.step, plan.limits
    share, tokens = limits.sustained_share, plan.steps * step.positions
    rates = f"{limits.flops_per_s / 1e12:.2f} TFLOP/s, {limits.bytes_per_s / 1e9:.0f} GB/s"
    yield f"time on {limits.device} ({rates})"
    yield _row("a step, at least", f"{plan.roofline_s:.3f} s")
    yield _row(f"a step at {share:.0%} of the peak", f"{plan.sustained_s:.3f} s")
    yield _row("all steps at that share", f"{plan.steps * plan.sustained_s / 60:.1f} min")
    yield _row("steps", str(plan.steps))
    yield _row("tokens, at most", f"{tokens:,}")
    if plan.rows_in_file:
        epochs = plan.rows_used / plan.rows_in_file
        used = f"{epochs:.3g} ({plan.rows_used} of {plan.rows_in_file} rows, unpacked)"
        yield _row("epochs", used)
    yield f"  source: {limits.source}"


def _disk(plan: TrainingPlan) -> Iterator[str]:
    yield "disk"
    yield _row("download, weights alone", size_words(plan.model_bytes))
    yield _row("trained model", size_words(plan.model_bytes + plan.adapter_bytes))


def _verdict(plan: TrainingPlan) -> str:
    if fits(plan):
        return "It fits."
    return f"IT DOES NOT FIT: {alternatives_words(plan)}"
