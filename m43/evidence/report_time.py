"""Where a run's time and memory went, in the report."""

from collections.abc import Iterator

from m43.evidence import sections
from m43.evidence.dossier import Dossier
from m43.evidence.durations import PURPOSES, clock_words, stretches, total_s
from m43.evidence.hypertext import bar, escaped, table
from m43.records import ProcessRecord, VenvRecord

_GB = 1e9


def time_html(dossier: Dossier) -> str:
    """Write every stretch of the run with its share of the whole; nothing before the first."""
    parts = stretches(dossier)
    if not parts:
        return ""
    whole = max(total_s(dossier) or 0.0, sum(part.duration_s for part in parts))
    sums = {name: sum(it.duration_s for it in parts if it.purpose == name) for name in PURPOSES}
    purposes = [(escaped(name), *_share(sums[name], whole)) for name in PURPOSES if sums[name]]
    details = [
        (
            escaped(part.name),
            escaped(part.gate),
            *_share(part.duration_s, whole),
            f"<code>{escaped(part.file)}</code>",
        )
        for part in parts
    ]
    return (
        f"<p>From the first entry of the journal to the last: {clock_words(whole)}.</p>"
        + table(("what for", "time", "share of the run"), purposes)
        + f"<details><summary>Each of the {len(parts)} parts, with its file</summary>"
        + table(("part", "gate", "time", "share of the run", "file"), details)
        + "</details>"
    )


def _share(seconds: float, whole: float) -> tuple[str, str]:
    share = seconds / whole if whole else 0.0
    return (
        f'<span class="number">{clock_words(seconds)}</span>',
        f'{bar(share)}<span class="number">{100 * share:.1f} %</span>',
    )


def memory_html(dossier: Dossier) -> str:
    """Write what the children took at their peak, beside what there was; nothing before them."""
    rows = list(_rows(dossier))
    return table(("what", "at its peak", "of what there was", "file"), rows) if rows else ""


def _rows(dossier: Dossier) -> Iterator[tuple[str, str, str, str]]:
    venv = dossier.venv
    for name, title, process in (
        ("train", "training process, host memory", dossier.train_child.process),
        ("eval", "evaluation process, host memory", dossier.eval_child.process),
    ):
        if process:
            yield title, _gigabytes(process.peak_bytes), _of_host(process, venv), _file(name)
    if dossier.train and dossier.train.peak_device_bytes:
        peak = dossier.train.peak_device_bytes
        yield "training, device memory", _gigabytes(peak), _of_device(peak, venv), "train.json"


def _file(child: str) -> str:
    return f"<code>{child}.process.json</code>"


def _of_host(process: ProcessRecord, venv: VenvRecord | None) -> str:
    return _of(process.peak_bytes, venv.probe.host_memory_bytes if venv else 0)


def _of_device(peak_bytes: int, venv: VenvRecord | None) -> str:
    devices = venv.probe.devices if venv else ()
    return _of(peak_bytes, devices[0].memory_bytes if devices else 0)


def _of(part: int, whole: int) -> str:
    if whole <= 0:
        return sections.NOT_MEASURED
    share = part / whole
    return f'{bar(share)}<span class="number">{100 * share:.1f} % of {_gigabytes(whole)}</span>'


def _gigabytes(size: int) -> str:
    return f"{size / _GB:.2f} GB"
