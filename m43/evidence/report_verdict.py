"""The verdict in the report: the word, the reason in a sentence, the figures a reader asks for."""

from collections.abc import Iterator

from m43.evidence import sections
from m43.evidence.diagnosis import diagnose_dossier
from m43.evidence.dossier import Dossier
from m43.evidence.durations import clock_words, total_s
from m43.evidence.hypertext import escaped, listed, rich
from m43.evidence.stop import find_stop

_WHAT_THIS_IS = (
    "This page is the record of one training run. What the run had to do was written down before "
    "as promises, in four stages called gates; a program held each promise against what was "
    "measured. Nothing here was typed by a person, and every number names its file."
)


def verdict_html(dossier: Dossier, accepted: bool) -> str:
    """Write the top of the page."""
    watermark = sections.watermark(dossier)
    band = (
        f'<p class="rehearsal"><strong>{escaped(watermark)}.</strong> The same contract and the '
        "same code, on a small model; nothing here says anything about Gemma 2B.</p>"
        if watermark
        else ""
    )
    words, tone, sentence = _accepted(dossier) if accepted else _refused(dossier)
    sign = "\u2713" if accepted else "\u2717"
    return (
        f'{band}<div class="verdict {tone}"><h1><span aria-hidden="true">{sign}</span> '
        f'<span>{escaped(words)}</span></h1><p class="reason">{sentence}</p>'
        f"{_other_contract(dossier)}</div>"
        f"{_differences(dossier)}{listed(_figures(dossier), 'figures')}"
        f'<p class="note">{escaped(_WHAT_THIS_IS)}</p>'
    )


def _accepted(dossier: Dossier) -> tuple[str, str, str]:
    train, results = dossier.train, dossier.results
    words = dossier.verdict_words(True)
    count = len(dossier.contract.promises) if dossier.contract else 0
    sentence = f"All {count} promises were kept."
    if train and results and dossier.auth:
        overall = results.overall
        sentence = (
            f"All {count} promises were kept: <code>{escaped(dossier.auth.repo)}</code> was "
            f"trained in JAX for {train.optimizer_steps} steps on "
            f"{escaped(_device(train.device))}, then answered all {overall.rows} questions: "
            f"{overall.base_correct} right before training, {overall.tuned_correct} after."
        )
    return words, "good", sentence


def _device(device: str) -> str:
    """Name a device as a person does; the records write platform:kind."""
    platform, _, kind = device.partition(":")
    return "this machine's CPU" if platform == "cpu" else f"one {kind}"


def _refused(dossier: Dossier) -> tuple[str, str, str]:
    stop, diagnosis = find_stop(dossier.entries), diagnose_dossier(dossier)
    silent = stop.how == "no closing record"
    failure = "no closing record yet" if silent else str(diagnosis.failure_class)
    sentence = (
        f"<strong>{escaped(failure)}</strong>, {escaped(diagnosis.place)}. "
        f"{rich(diagnosis.sentence)}"
    )
    return dossier.verdict_words(False), "open" if silent else "bad", sentence


def _other_contract(dossier: Dossier) -> str:
    words = dossier.other_contract
    return f'<p class="reason"><strong>{escaped(words)}</strong></p>' if words else ""


def _differences(dossier: Dossier) -> str:
    lines = dossier.opening.profile_differences if dossier.opening else ()
    if not lines:
        return ""
    items = "".join(f"<li><code>{escaped(line)}</code></li>" for line in lines)
    return (
        f"<details><summary>{len(lines)} differences from the locked decisions</summary>"
        f"<ul>{items}</ul></details>"
    )


def _figures(dossier: Dossier) -> Iterator[tuple[str, str]]:
    """Give the figures that are known, whatever became of the run."""
    promises = dossier.contract.promises if dossier.contract else ()
    states = sections.promise_states(dossier)
    kept = sum(states.get(promise.name) == "kept" for promise in promises)
    if promises:
        yield "promises kept", f"{kept} of {len(promises)}"
    metrics, promised = dossier.metrics, dossier.profile
    if metrics and promised:
        yield "training steps", f"{len(metrics)} of {promised.contract.optimizer_steps}"
        first, last = metrics[0].loss_nats, metrics[-1].loss_nats
        yield "loss, first and last step", f"{first:.3g} \u2192 {last:.3g}"
    if dossier.results:
        overall = dossier.results.overall
        change = f"{overall.base_correct} \u2192 {overall.tuned_correct} of {overall.rows}"
        yield "right answers", change
    seconds = total_s(dossier)
    if seconds is not None:
        yield "the whole run took", clock_words(seconds)
    peaks = [
        child.process.peak_bytes
        for child in (dossier.train_child, dossier.eval_child)
        if child.process
    ]
    if peaks:
        yield "peak host memory", f"{max(peaks) / 1e9:.2f} GB"
