"""Why memory ran out: what was planned, what was asked for, and what was in use."""

import re

from m43.evidence.claim import Claim, Standing
from m43.evidence.dossier import Child
from m43.evidence.plan_checks import size_words
from m43.plan_record import PlanRecord, TrainingPlan

_PLAN = "plan.json"
_MOST_BUFFERS = 5
# Source: XLA of jax 0.10.2: "RESOURCE_EXHAUSTED: Out of memory allocating 1234 bytes."; the GPU's
# allocator says "while trying to allocate" and may write the size as 1.5GiB, which is shown as is.
_ASKED = re.compile(
    r"(?:[Oo]ut of memory|trying to allocate)\D{0,40}?([\d.]+ ?(?:bytes|[KMGT]i?B))"
)


def memory_claims(plan: PlanRecord | None, child: Child, name: str) -> tuple[Claim, ...]:
    """State what the plan, the child's error and its end say about a lack of memory."""
    claims = [*_asked(child, name)]
    if child.process is not None:
        text = f"The process held {size_words(child.process.peak_bytes)} of the host's memory at "
        claims.append(_claim(f"{text}its peak.", "established", f"{name}.process.json"))
    training = plan.training if plan is not None else None
    if training is None or name != "train":
        text = "What was planned for it and what filled the memory: there is no plan of this child."
        return (*claims, _claim(text, "unknown"))
    return (*claims, *_planned(training))


def _asked(child: Child, name: str) -> list[Claim]:
    problems = " ".join(child.error.problems) if child.error else ""
    found = _ASKED.search(problems)
    if found is None:
        return []
    text = f"The request that failed was for {found[1]}."
    return [_claim(text, "established", f"{name}.error.json")]


def _planned(training: TrainingPlan) -> list[Claim]:
    step, limits = training.step, training.limits
    peak, free = training.peak_bytes, limits.memory_bytes
    what = (
        f"The plan for the longest batch ({step.rows} x {step.length} tokens) was a peak of "
        f"{size_words(peak)} of {size_words(free)} that were free on {limits.device}."
    )
    parts = (
        f"weights and optimizer {size_words(step.arguments_bytes)}, temporaries of the step "
        f"{size_words(step.temporaries_bytes)}, the process itself "
        f"{size_words(training.process_bytes)}"
    )
    filled = f"By the plan this fills the memory: {parts}; largest arrays: {_largest(training)}."
    if peak <= free:
        cause = (
            "By the plan it would have fitted: another program took memory meanwhile, or the run "
            "asked for something that the plan does not know."
        )
    else:
        cause = "By the plan it does not fit."
    return [
        _claim(what, "established", _PLAN),
        _claim(filled, "established", _PLAN),
        _claim(cause, "hypothesis" if peak <= free else "supported", _PLAN),
    ]


def _largest(training: TrainingPlan) -> str:
    largest = sorted(training.step.buffers, key=lambda each: -each.size_bytes)[:_MOST_BUFFERS]
    return ", ".join(f"{each.name} {size_words(each.size_bytes)}" for each in largest) or "none"


def _claim(text: str, standing: Standing, *evidence: str) -> Claim:
    return Claim(text=text, standing=standing, evidence=evidence)
