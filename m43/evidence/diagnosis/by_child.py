"""Why a child failed: its error, its memory, how its process ended, and what was seen before."""

import re
import signal
from collections.abc import Sequence

from m43.errors import FailureClass
from m43.evidence.diagnosis.finding import Finding, finding, likely_cause
from m43.evidence.failures import recognise
from m43.evidence.run import Child
from m43.records import (
    ChildError,
    PlanRecord,
    ProcessRecord,
    RunDir,
    StepMetrics,
    TrainingPlan,
    child_file,
)
from m43.text import duration_words, size_words

_PLAN = RunDir.plan.name
_MOST_BUFFERS = 5
# Source: XLA of jax 0.10.2: "RESOURCE_EXHAUSTED: Out of memory allocating 1234 bytes."; the GPU's
# allocator says "while trying to allocate" and may write the size as 1.5GiB, which is shown as is.
_ASKED = re.compile(
    r"(?:[Oo]ut of memory|trying to allocate)\D{0,40}?([\d.]+ ?(?:bytes|[KMGT]i?B))"
)


def memory_findings(plan: PlanRecord | None, child: Child, name: str) -> tuple[Finding, ...]:
    """State what the plan, the child's error and its end say about a lack of memory."""
    findings = [*_asked(child, name)]
    if child.process is not None:
        text = f"The process held {size_words(child.process.peak_bytes)} of the host's memory at "
        file = child_file(name, "process").name
        findings.append(finding(f"{text}its peak.", "established", file))
    training = plan.training if plan is not None else None
    if training is None or name != "train":
        text = "What was planned for it and what filled the memory: there is no plan of this child."
        return (*findings, finding(text, "unknown"))
    return (*findings, *_planned(training))


def _asked(child: Child, name: str) -> list[Finding]:
    problems = " ".join(child.error.problems) if child.error else ""
    found = _ASKED.search(problems)
    if found is None:
        return []
    text = f"The request that failed was for {found[1]}."
    return [finding(text, "established", child_file(name, "error").name)]


def _planned(training: TrainingPlan) -> list[Finding]:
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
        finding(what, "established", _PLAN),
        finding(filled, "established", _PLAN),
        finding(cause, "hypothesis" if peak <= free else "supported", _PLAN),
    ]


def _largest(training: TrainingPlan) -> str:
    largest = sorted(training.step.buffers, key=lambda each: -each.size_bytes)[:_MOST_BUFFERS]
    return ", ".join(f"{each.name} {size_words(each.size_bytes)}" for each in largest) or "none"


_SIGKILL = int(signal.SIGKILL)
_FRAME = re.compile(r'\s*File "(?P<path>[^"]*)", line (?P<line>\d+) in (?P<function>\S+)')
_FROM_OUTSIDE = (_SIGKILL, *map(int, (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)))
_BY_PARENT = {
    "deadline": FailureClass.TIMED_OUT,
    "silence": FailureClass.HUNG,
    "interrupt": FailureClass.INTERRUPTED,
}


def process_class(
    process: ProcessRecord | None, error: ChildError | None, log: Sequence[str] = ()
) -> FailureClass | None:
    """Return how a child failed; None when it did not.

    The parent's own act comes first: what a child writes while it is being ended explains nothing.
    But a child stands still by a card that is gone, and that the kernel says.

    Args:
        process: How it ended.
        error: What it said of it.
        log: The end of what it wrote, for the end of a child that could say nothing.
    """
    lines = process.card_lines if process is not None else ()
    if process is not None and process.ended_by_parent != "no":
        lost = recognise(lines) is FailureClass.CARD_LOST
        hung = process.ended_by_parent == "silence"
        return FailureClass.CARD_LOST if hung and lost else _BY_PARENT[process.ended_by_parent]
    if error is not None:
        phase = process.last_phase if process is not None else ""
        return _named_class(error, lines, phase)
    if process is None or process.exit_status == 0:
        return None
    if process.exit_status == -_SIGKILL and process.oom_kills > 0:
        return FailureClass.OUT_OF_HOST_MEMORY
    killed = process.exit_status < 0
    if -process.exit_status not in _FROM_OUTSIDE:
        found = recognise((*lines, *log), phase=process.last_phase)
        if found is not None:
            return found
    return FailureClass.KILLED if killed else FailureClass.HARNESS_ERROR


def _named_class(error: ChildError, lines: Sequence[str], phase: str) -> FailureClass:
    """Give what nobody foresaw the name by which it is known, and a lack of memory its phase."""
    if error.failure_class is FailureClass.OUT_OF_DEVICE_MEMORY:
        compiling = recognise(error.problems, phase=phase) is FailureClass.OUT_OF_MEMORY_COMPILING
        return FailureClass.OUT_OF_MEMORY_COMPILING if compiling else error.failure_class
    if error.failure_class is not FailureClass.HARNESS_ERROR:
        return error.failure_class
    return recognise((*lines, *error.problems), phase=phase) or error.failure_class


def ending(process: ProcessRecord) -> str:
    """Describe how a process ended."""
    status = process.exit_status
    if status >= 0:
        return f"exit status {status}"
    known = {int(member): member.name for member in signal.Signals}
    return f"signal {known.get(-status, -status)}"


def child_findings(
    child: Child, name: str, failure_class: FailureClass, metrics: Sequence[StepMetrics]
) -> tuple[Finding, ...]:
    """State what a child's traces show about its failure."""
    findings: list[Finding] = []
    if child.process:
        file = child_file(name, "process").name
        findings.append(finding(_process_text(child.process, name), "established", file))
        findings += _kill_findings(child.process, file)
    if stood := stood_at(child.stacks):
        text = f"When m43 ended it, the thread that works stood in {stood}."
        findings.append(finding(text, "established", child_file(name, "stacks").name))
    if child.error:
        file = child_file(name, "error").name
        step = f" at step {child.error.step}" if child.error.step else " before its first step"
        where = step if name == "train" else ""
        text = f"The child itself reported '{child.error.failure_class}'{where}"
        findings.append(finding(f"{text}: {'; '.join(child.error.problems)}", "established", file))
    if child.process:
        findings += _kernel_findings(child.process, child_file(name, "process").name)
    if failure_class in (FailureClass.NON_FINITE_LOSS, FailureClass.DIVERGED):
        return (*findings, *_loss_findings(metrics, child.error.step if child.error else 1))
    # What the child said of itself is a file to rest on; its end alone is none.
    told = (child_file(name, "error").name,) if child.error else ()
    return (*findings, *likely_cause(failure_class, *told))


def _kernel_findings(process: ProcessRecord, file: str) -> list[Finding]:
    if process.card_lines:
        lines = "; ".join(line.rstrip(".") for line in process.card_lines)
        return [finding(f"The kernel's log says of the card: {lines}.", "established", file)]
    if process.kernel_log == "not asked":
        return []
    if process.kernel_log:
        text = "What the kernel's log says of the card is not known"
        return [finding(f"{text}: {process.kernel_log}.", "unknown")]
    text = "The kernel's log says nothing of the card since the child began."
    return [finding(text, "established", file)]


def stood_at(stacks: Sequence[str]) -> str:
    """Return the innermost frame of the thread that works; empty when no stack was written.

    Source: faulthandler: the thread that got the signal is called the current one, which is the
    main thread; its innermost frame comes first, as `File "PATH", line N in FUNCTION`.
    """
    head = next((n for n, line in enumerate(stacks) if line.startswith("Current thread")), -1)
    frame = _FRAME.match(stacks[head + 1]) if 0 <= head < len(stacks) - 1 else None
    if frame is None:
        return ""
    return f"{frame['function']} ({frame['path'].rsplit('/', 1)[-1]}, line {frame['line']})"


def _process_text(process: ProcessRecord, name: str) -> str:
    what = {"train": "step", "download": "byte"}.get(name, "row")
    by_parent = {
        "no": "m43 did not end it",
        "deadline": "m43 ended it at its deadline",
        "silence": "m43 ended it because its heartbeat had stopped",
        "interrupt": "m43 ended it because the run was interrupted",
    }
    took = duration_words(process.duration_s)
    phase = f"in phase '{process.last_phase}'" if process.last_phase else "before its first phase"
    return (
        f"The process ended with {ending(process)} after {took}, {phase}, "
        f"with {process.steps_seen:,} {what}s seen; "
        f"{by_parent[process.ended_by_parent]}.{unwatched_words(process)}"
    )


def unwatched_words(process: ProcessRecord) -> str:
    """Say for how long m43 itself stood still; empty where it did not."""
    if not process.unwatched_s:
        return ""
    took = duration_words(process.unwatched_s)
    return f" m43 itself stood still for {took} of that: the time may be that much too long."


def _kill_findings(process: ProcessRecord, file: str) -> list[Finding]:
    if process.exit_status != -_SIGKILL or process.ended_by_parent != "no":
        return []
    if process.oom_kills > 0:
        text = (
            f"The kernel ended it for lack of memory: its count of out-of-memory kills rose by "
            f"{process.oom_kills} meanwhile (it does not name the process), peak "
            f"{size_words(process.peak_bytes)}."
        )
        return [finding(text, "supported", file)]
    text = "The kernel counted no out-of-memory kill meanwhile."
    return [
        finding(text, "established", file),
        finding("Who sent SIGKILL is not recorded.", "unknown"),
    ]


def _loss_findings(metrics: Sequence[StepMetrics], failed_at: int) -> list[Finding]:
    if not metrics and failed_at > 1:
        text = "The steps before it cannot be read: what loss and gradient did is not known."
        return [finding(text, "unknown")]
    if not metrics:
        text = "It happened at the first step: a weight or a row is already not finite."
        return [finding(text, "hypothesis")]
    last = metrics[-1]
    file = RunDir.metrics.name
    text = (
        f"The last recorded step is {last.step}: loss {last.loss_nats:.4f} nats, gradient norm "
        f"{last.gradient_norm:.3g}, learning rate {last.learning_rate:.3g}."
    )
    findings = [finding(text, "established", file)]
    median = sorted(step.gradient_norm for step in metrics)[len(metrics) // 2]
    if last.gradient_norm > 10 * median:
        text = (
            f"The gradient grew before it: ten times its median ({median:.3g}). "
            "A lower learning rate may hold."
        )
        findings.append(finding(text, "hypothesis", file))
    return findings
