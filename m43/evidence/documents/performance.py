"""How fast and how large a run was, in summary and report: planned beside measured."""

from collections.abc import Iterator

from m43.evidence.contract.plan_checks import size_words
from m43.evidence.documents.html import bar, escaped
from m43.evidence.documents.html import table as html_table
from m43.evidence.documents.markdown import prose
from m43.evidence.documents.markdown import table as markdown_table
from m43.evidence.run.loaded_run import Dossier, EvaluationFacts, TrainFacts
from m43.evidence.run.performance import Performance, performance, time_by_phase
from m43.records.plan_record import PlanRecord, TrainingPlan
from m43.records.run_records import ProcessRecord, VenvRecord

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
            markdown_table(("what", "value", "file"), rows),
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
    return f"{title}\n\n{markdown_table(('what', 'value'), rows)}\n\n{disclosed}"


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
    return f"Where the time went ({files}):\n\n{markdown_table(('phase', 'time', 'share'), rows)}"


_GB = 1e9


def speed_html(dossier: Dossier) -> str:
    """Write tokens per second and what they are of what the device can do; nothing without."""
    plan, train = dossier.plan, dossier.train
    found = performance(plan, train) if plan and train else None
    if found is None or plan is None or plan.training is None:
        return ""
    limits = plan.training.limits
    roofline = f" ({found.roofline_s:.3g} s of {found.steps_s:.3g} s)"
    rows = [
        ("real tokens per second", f"{found.real_tokens_per_s:,.0f}", _METRICS),
        ("supervised tokens per second", f"{found.supervised_tokens_per_s:,.0f}", _METRICS),
        ("tokens per second, padding counted", f"{found.padded_tokens_per_s:,.0f}", _METRICS),
        ("model FLOPs of all steps, head included", f"{found.model_flops:.4g}", _BOTH),
        ("share of the device's peak", _share(found.share_of_peak, ""), _BOTH),
        (
            "the least time for these steps, of the time they took",
            _share(found.share_of_roofline, roofline),
            _BOTH,
        ),
    ]
    note = (
        "Work is what the loss needs: tokens that are not padding through the layers, supervised "
        f"ones through the head. The peak is {limits.flops_per_s:.3g} FLOP/s and "
        f"{limits.bytes_per_s:.3g} bytes/s ({limits.source})."
    )
    cells = [(escaped(a), b, f"<code>{escaped(file)}</code>") for a, b, file in rows]
    return html_table(("what", "measured", "file"), cells) + f'<p class="note">{escaped(note)}</p>'


def _share(share: float, more: str) -> str:
    return f'{bar(share)}<span class="number">{100 * share:.1f} %</span>{escaped(more)}'


def memory_html(dossier: Dossier) -> str:
    """Write what was predicted and what was taken, beside what there was; nothing before them."""
    rows = [*_predicted(dossier), *_measured(dossier)]
    return html_table(("what", "at the peak", "of what there was", "file"), rows) if rows else ""


Row = tuple[str, str, str, str]  # cells


def _predicted(dossier: Dossier) -> Iterator[Row]:
    training = dossier.plan.training if dossier.plan else None
    if training is None:
        return
    whole = training.limits.memory_bytes
    title = "training, predicted before a weight was read"
    yield title, _gigabytes(training.peak_bytes), _of(training.peak_bytes, whole), _file("plan")
    found = performance(dossier.plan, dossier.train) if dossier.plan and dossier.train else None
    if found:
        off = f"{100 * (found.measured_peak_bytes / training.peak_bytes - 1):+.0f} %"
        title = "measured against predicted"
        yield title, off, "", f"{_file('plan')}, {_file('train.process')}"


def _measured(dossier: Dossier) -> Iterator[Row]:
    venv = dossier.venv
    for name, title, process in (
        ("train", "training process, host memory", dossier.train_child.process),
        ("eval", "evaluation process, host memory", dossier.eval_child.process),
    ):
        if process:
            share = _of_host(process, venv)
            yield title, _gigabytes(process.peak_bytes), share, _file(f"{name}.process")
    if dossier.train and dossier.train.peak_device_bytes:
        peak = dossier.train.peak_device_bytes
        share = _of_device(peak, venv)
        yield "training, device memory", _gigabytes(peak), share, _file("train")


def _file(name: str) -> str:
    return f"<code>{name}.json</code>"


def _of_host(process: ProcessRecord, venv: VenvRecord | None) -> str:
    return _of(process.peak_bytes, venv.probe.host_memory_bytes if venv else 0)


def _of_device(peak_bytes: int, venv: VenvRecord | None) -> str:
    devices = venv.probe.devices if venv else ()
    return _of(peak_bytes, devices[0].memory_bytes if devices else 0)


def _of(part: int, whole: int) -> str:
    if whole <= 0:
        return "not known"
    share = part / whole
    return f'{bar(share)}<span class="number">{100 * share:.1f} % of {_gigabytes(whole)}</span>'


def _gigabytes(size: int) -> str:
    return f"{size / _GB:.2f} GB"
