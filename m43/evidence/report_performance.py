"""How fast and how large a run was, in the report: predicted beside measured."""

from collections.abc import Iterator

from m43.evidence.dossier import Dossier
from m43.evidence.hypertext import bar, escaped, table
from m43.evidence.performance import performance
from m43.records import ProcessRecord, VenvRecord

_GB = 1e9
_METRICS = "training_metrics.jsonl"
_BOTH = f"plan.json, {_METRICS}"


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
    return table(("what", "measured", "file"), cells) + f'<p class="note">{escaped(note)}</p>'


def _share(share: float, more: str) -> str:
    return f'{bar(share)}<span class="number">{100 * share:.1f} %</span>{escaped(more)}'


def memory_html(dossier: Dossier) -> str:
    """Write what was predicted and what was taken, beside what there was; nothing before them."""
    rows = [*_predicted(dossier), *_measured(dossier)]
    return table(("what", "at the peak", "of what there was", "file"), rows) if rows else ""


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
