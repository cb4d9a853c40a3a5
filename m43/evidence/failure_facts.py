"""What a failure analysis shows of the moment: progress, resources, and what was printed."""

from m43.evidence.diagnosis import child_name, child_of
from m43.evidence.dossier import Child, Dossier
from m43.evidence.markdown import block, code, prose
from m43.evidence.sections import NOT_MEASURED, unasked_words
from m43.evidence.stop import Stop

LOGS = {
    "download": "download_log.txt",
    "train": "training_log.txt",
    "eval": "evaluation_log.txt",
}


def progress_at_failure(dossier: Dossier) -> str:
    """Say how far training and evaluation had come."""
    lines = [*_download(dossier), *_training(dossier), *_evaluation(dossier)]
    if unasked := unasked_words(dossier):
        lines.append(f"Requests that m43 did not make, judged by nobody: {prose(unasked)}.")
    return "\n".join(f"- {line}" for line in lines)


def _download(dossier: Dossier) -> list[str]:
    beat = dossier.download_child.heartbeat
    if beat is None or dossier.download is not None:
        return []
    return [
        f"Download: {code(beat.phase)}, {beat.done:,} of {beat.total:,} bytes "
        "(download.heartbeat.json)."
    ]


def _training(dossier: Dossier) -> list[str]:
    lines = _heartbeat(dossier.train_child, "train")
    if dossier.metrics:
        last = dossier.metrics[-1]
        lines.append(
            f"Last recorded step: {last.step}, loss {last.loss_nats:.4f} nats, gradient norm "
            f"{last.gradient_norm:.4g} (training_metrics.jsonl); curve: loss_curve.svg."
        )
    if dossier.metrics_cut:
        lines.append("The line after it cannot be read; it was being written at the end.")
    if not dossier.metrics:
        lines.append(f"Optimizer steps: {NOT_MEASURED} (training_metrics.jsonl).")
    return lines


def _evaluation(dossier: Dossier) -> list[str]:
    lines = _heartbeat(dossier.eval_child, "eval")
    if dossier.results is None:
        return [*lines, f"Evaluation: {NOT_MEASURED} (evaluation_results.json)."]
    tally = dossier.results.overall
    text = (
        f"Evaluation, not accepted: {tally.rows} rows, {tally.base_correct} right before "
        f"training, {tally.tuned_correct} after (evaluation_results.json)."
    )
    return [*lines, text]


def _heartbeat(child: Child, name: str) -> list[str]:
    beat = child.heartbeat
    if beat is None:
        return []
    return [
        f"Last heartbeat: phase {code(beat.phase)}, {beat.done} of {beat.total}, "
        f"{beat.tokens_per_s:.0f} tokens/s ({name}.heartbeat.json)."
    ]


def resources_then(dossier: Dossier) -> str:
    """Say what the children used and what the machine had."""
    lines = []
    children = {
        "download": dossier.download_child,
        "train": dossier.train_child,
        "eval": dossier.eval_child,
    }
    for name, child in children.items():
        if child.process:
            process = child.process
            lines.append(
                f"{name}: {process.duration_s:.1f} s, peak host memory "
                f"{process.peak_bytes / 1e9:.2f} GB, out-of-memory kills of the kernel "
                f"meanwhile: {process.oom_kills} ({name}.process.json)."
            )
    if dossier.venv:
        probe = dossier.venv.probe
        lines.append(
            f"Machine at the venv gate: {probe.host_memory_bytes / 1e9:.1f} GB memory, "
            f"{probe.disk_free_bytes / 1e9:.1f} GB free on the disk, NVIDIA driver "
            f"{prose(probe.driver_version)} (venv.json)."
        )
        lines += [
            f"Device: {prose(device.platform)} {prose(device.kind)}, "
            f"{device.memory_bytes / 1e9:.1f} GB (venv.json)."
            for device in probe.devices
        ]
    return "\n".join(f"- {line}" for line in lines) or f"{NOT_MEASURED.capitalize()}."


def error_excerpt(dossier: Dossier, stop: Stop) -> str:
    """Show what was printed about the failure; it was redacted when it was written."""
    child = child_of(dossier, stop.gate)
    parts = []
    if child and child.error:
        parts += ["What the child reported:", block(child.error.problems)]
    if child and child.stacks:
        file = f"{child_name(dossier, stop.gate)}.stacks.txt"
        parts += [f"Where its threads stood when m43 ended it ({file}):", block(child.stacks)]
    if child and child.log_tail:
        name = LOGS[child_name(dossier, stop.gate)]
        parts += [f"The last {len(child.log_tail)} lines of {name}:", block(child.log_tail)]
    if stop.gate == "venv" and dossier.venv and dossier.venv.probe.import_error:
        error = dossier.venv.probe.import_error.splitlines()
        parts += ["What importing JAX said (venv.json):", block(error)]
    # A gate that stopped blocks its first promise, whose text says nothing new.
    for entry in dossier.entries if stop.how == "broken" else ():
        if entry.event == "promise_broken" and entry.detail:
            title = f"What {code(entry.name)} said (journal.jsonl, entry {entry.seq}):"
            parts += [title, block(entry.detail.splitlines())]
    return "\n\n".join(parts) or "None: nothing printed an error beyond what stands above."
