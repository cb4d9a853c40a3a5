"""Where a run comes from and how to check it: environment, attempts, files, commands, limits."""

from collections.abc import Iterator, Mapping, Sequence

from m43.evidence.contract.model_checks import promised_words
from m43.evidence.documents.html import escaped, listed, mark, rich, table
from m43.evidence.documents.promises import (
    attempts,
    impact_on_m42,
    transfer_words,
    unasked_words,
    unwatched,
)
from m43.evidence.run.history import NOT_MEASURED
from m43.evidence.run.loaded_run import Dossier

UNSIGNED: tuple[str, ...] = (
    "The folder by itself is not signed: its files agree with each other, and that does not prove "
    "who made them, when, or on which machine. A folder that was made by hand from the documented "
    "formats, without any training, would agree with itself as well.",
    "So would steps, losses or outputs that were invented or taken from another run of the same "
    "rows, had everything been sealed again over them; and measurements by a Python, a package or "
    "a driver that was changed to lie, or by a process of m43 in which the checks themselves were "
    "replaced in memory.",
    "`python -m m43 seal --key` signs the finished folder. A reader who has the signer's public "
    "key can then exclude every change after the signature, the folder made again by somebody "
    "else included; that the signer trained the model is the signer's word all the same.",
)


# What the files of a run folder are, in the order in which somebody looks into them.
FILES: Mapping[str, str] = {
    "m43_summary.md": "the whole account of an accepted run",
    "failure_analysis.md": "the whole account of a run that was not accepted",
    "report.html": "this page",
    "loss_curve.svg": "the loss of every step",
    "opening.json": "what was true before the first gate",
    "contract.txt": "the promises, as they stood when the run began",
    "contract.lock.json": "the settings of the run, complete",
    "code.sha256": "the digests of the code that judged the run",
    "vitals.json": "by what one can tell later whether the machine was restarted",
    "auth.json": "what the hub answered",
    "venv.json": "the environment and its devices",
    "env_snapshot.txt": "every installed package",
    "gpu_snapshot.txt": "what the driver said",
    "plan.json": "what the run was predicted to take",
    "download.json": "the files of the model, with digests",
    "download_log.txt": "what the download printed",
    "download.process.json": "how the download process ended",
    "lint.json": "the rows as tokens",
    "training_metrics.jsonl": "one line for every step",
    "training_log.txt": "what training printed",
    "train.json": "what training did",
    "train.process.json": "how the training process ended",
    "train.error.json": "why training stopped by itself",
    "predictions.jsonl": "one line for every question, with both outputs",
    "evaluation_log.txt": "what evaluation printed",
    "evaluation_results.json": "the scores",
    "eval.json": "what evaluation did",
    "eval.process.json": "how the evaluation process ended",
    "eval.error.json": "why evaluation stopped by itself",
    "closing.json": "what was true after the last gate",
    "journal.jsonl": "what happened, in order, each entry sealed by the next",
    "junit.xml": "the promises as test results, for other programs",
    "MANIFEST.sha256": "the digest of every file, for sha256sum -c",
    "attestation.intoto.json": "the verdict as an in-toto statement, for other programs",
    "provenance.intoto.json": "what the run was made from, as SLSA provenance",
    "seal.dsse.json": "the signature of the person who sealed it",
    "reports.sha256": "the digests of report.html and junit.xml",
    "noted.json": "warnings that were noted, and judged by nobody",
    "recovery.json": "how a later command closed a run that was cut off",
}


def provenance_html(dossier: Dossier) -> str:
    """Write environment, origin and what changed."""
    venv = dossier.venv
    packages = (
        table(
            ("requirement of the training", "installed"),
            (
                (f"<code>{escaped(item.requirement)}</code>", escaped(item.installed))
                for item in venv.requirements
            ),
        )
        if venv
        else ""
    )
    folded = (
        f"<details><summary>Packages that training needs ({len(venv.requirements)}; all "
        f"{len(venv.probe.packages)} are in env_snapshot.txt)</summary>{packages}</details>"
        if venv
        else ""
    )
    return "".join(
        (
            listed(_facts(dossier), "facts"),
            folded,
            "<h3>Environment and working tree, before against after</h3>",
            "".join(f"<p>{line}</p>" for line in _difference(dossier)),
            _noted(dossier),
            "<h3>Earlier attempts</h3>",
            _attempts(dossier),
            "<h3>Impact on M42</h3>",
            _words(impact_on_m42(dossier)),
        )
    )


def _facts(dossier: Dossier) -> Iterator[tuple[str, str]]:
    opening, venv, train = dossier.opening, dossier.venv, dossier.train
    if opening:
        yield "run", _code(opening.run)
        yield "began (UTC)", escaped(opening.started_utc)
        yield "commit", _code(opening.commit)
        yield "command", _code(" ".join(opening.command))
        yield "profile", _code(opening.profile)
    yield from _model_facts(dossier)
    if venv:
        probe = venv.probe
        for device in probe.devices:
            words = f"{device.platform}, {device.kind}, {device.memory_bytes / 1e9:.1f} GB"
            yield "device", escaped(words)
        yield "NVIDIA driver", escaped(probe.driver_version)
        yield "system", escaped(f"{probe.system} {probe.release}")
        yield "Python", escaped(probe.python_version)
    if train:
        yield "JAX, Flax", escaped(f"{train.jax_version}, {train.flax_version}")
        yield "base weights, SHA-256", _code(train.base_weights_sha256)
        yield "trained weights, SHA-256", _code(train.model_sha256)
        if train.widening:
            yield "how weights are stored", escaped(train.widening)
    if opening:
        yield "m43", escaped(opening.m43_version)


def _noted(dossier: Dossier) -> str:
    """Show what was noted and is judged by nobody; nothing where there is none."""
    if dossier.noted is None:
        return ""
    texts = (*dossier.noted.warnings, *dossier.noted.stderr)
    more = f" and {dossier.noted.left_out} more" if dossier.noted.left_out else ""
    items = "".join(f"<li>{_code(text)}</li>" for text in texts)
    return (
        "<h3>Warnings that were noted</h3>"
        f"<details><summary>{len(texts)}{more}, judged by nobody (noted.json)</summary>"
        f"<ul>{items}</ul></details>"
    )


def _model_facts(dossier: Dossier) -> Iterator[tuple[str, str]]:
    profile = dossier.profile
    if profile:
        yield "model", _code(profile.contract.repo)
        yield "revision", _code(profile.contract.revision)
        promised = promised_words(profile.contract, len(profile.hub.files))
        yield "promised of the model", escaped(promised)
    if dossier.auth:
        yield "hub", _code(dossier.auth.endpoint)
    if dossier.download:
        yield "download", escaped(transfer_words(dossier.download))
    if unasked := unasked_words(dossier):
        yield "requests that m43 did not make", escaped(unasked)


def _attempts(dossier: Dossier) -> str:
    earlier = dossier.opening.earlier_attempts if dossier.opening else ()
    if not earlier:
        return _words(attempts(dossier))
    rows = [(_code(each.run), escaped(each.kind), escaped(each.started_utc)) for each in earlier]
    return (
        f"<details><summary>{len(earlier)} before this one, whatever became of them "
        f"(opening.json)</summary>{table(('run', 'kind', 'began'), rows)}</details>"
    )


def files_html(names: frozenset[str]) -> str:
    """Link the files that are there."""
    items = "".join(
        f'<li><a href="{escaped(name)}">{escaped(name)}</a> <span class="note">{escaped(words)}'
        "</span></li>"
        for name, words in FILES.items()
        if name in names
    )
    return f'<ul class="files">{items}</ul>'


def verify_html(dossier: Dossier) -> str:
    """Write the commands that check the folder, and what they cannot tell."""
    name, commit = dossier.name, dossier.opening.commit if dossier.opening else "none"
    lines = [] if commit == "none" else [f"git checkout {commit.removesuffix('+changes')}"]
    lines += [
        f"python -m m43 verify submission_runs/{name}",
        f"(cd submission_runs/{name} && sha256sum -c MANIFEST.sha256)",
    ]
    commands = escaped("\n".join(lines))
    return (
        "<p>On any machine with this repository and Python 3.11 or newer, without JAX:</p>"
        f'<pre class="block">{commands}</pre>'
        "<p><code>m43 verify</code> judges every promise again over the files, counts the scores "
        "again, and writes the documents again to compare them.</p>"
        + "".join(f"<p>{rich(limit)}</p>" for limit in UNSIGNED)
    )


def _code(words: str) -> str:
    return f"<code>{escaped(words)}</code>"


def _words(text: str) -> str:
    """Write a sentence of the documents, which has emphasis and code at most."""
    return f"<p>{rich(text.replace('**', ''))}</p>"


def _difference(dossier: Dossier) -> Iterator[str]:
    closing, opening, venv = dossier.closing, dossier.opening, dossier.venv
    if closing is None:
        yield f"Not compared: {escaped(NOT_MEASURED)} (closing.json)."
        return
    if venv:
        same = closing.packages_sha256 == venv.packages_sha256 and not closing.changed_packages
        what = "no difference" if same else _named(closing.changed_packages)
        yield f"{mark('packages', same)}: {what} (venv.json, closing.json)"
    if opening:
        same = closing.tree_sha256 == opening.tree_sha256 and not closing.changed_paths
        count = f"no difference; {closing.tree_files} files have the same digest"
        what = count if same else _named(closing.changed_paths)
        yield f"{mark('working tree', same)}: {what} (opening.json, closing.json)"
    yield from map(rich, unwatched(dossier))


def _named(names: Sequence[str]) -> str:
    return "changed: " + (", ".join(map(_code, names)) or "not named")
