"""Where a run comes from and how to check it: environment, attempts, files, commands, limits."""

from collections.abc import Iterator, Sequence, Set

from m43.evidence.contract import promised_words
from m43.evidence.documents.nodes import (
    Bullets,
    CodeBlock,
    Details,
    Link,
    Node,
    Pairs,
    Section,
    Table,
    Text,
    Words,
    code,
    note,
    rich,
)
from m43.evidence.documents.promises import (
    attempts,
    environment_difference,
    impact_on_m42,
    noted,
    transfer_words,
    unasked_words,
)
from m43.evidence.run import LoadedRun
from m43.records import FILES
from m43.text import is_folder_name, size_words

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


def provenance(dossier: LoadedRun) -> list[Node]:
    """Show environment, origin and what changed."""
    difference = "Environment and working tree, before against after"
    return [
        Pairs(tuple(_facts(dossier))),
        *_packages(dossier),
        Section(difference, environment_difference(dossier)),
        *noted(dossier),
        Section("Earlier attempts", attempts(dossier)),
        Section("Impact on M42", impact_on_m42(dossier)),
    ]


def _packages(dossier: LoadedRun) -> list[Node]:
    if dossier.venv is None:
        return []
    needed = dossier.venv.requirements
    title = (
        f"Packages that training needs ({len(needed)}; all {len(dossier.venv.probe.packages)} are "
        "in env_snapshot.txt)"
    )
    rows = [(code(item.requirement), item.installed) for item in needed]
    return [Details(title, (Table(("requirement of the training", "installed"), rows),))]


def _facts(dossier: LoadedRun) -> Iterator[tuple[str, Words]]:
    opening, venv, train = dossier.opening, dossier.venv, dossier.train
    if opening:
        yield "run", code(opening.run)
        yield "began (UTC)", opening.started_utc
        yield "commit", code(opening.commit)
        yield "command", code(" ".join(opening.command))
        yield "profile", code(opening.profile)
    yield from _model_facts(dossier)
    if venv:
        probe = venv.probe
        for device in probe.devices:
            yield "device", f"{device.platform}, {device.kind}, {size_words(device.memory_bytes)}"
        yield "NVIDIA driver", probe.driver_version
        yield "system", f"{probe.system} {probe.release}"
        yield "Python", probe.python_version
    if train:
        yield "JAX, Flax", f"{train.jax_version}, {train.flax_version}"
        yield "base weights, SHA-256", code(train.base_weights_sha256)
        yield "trained weights, SHA-256", code(train.model_sha256)
        if train.widening:
            yield "how weights are stored", train.widening
    if opening:
        yield "m43", opening.m43_version


def _model_facts(dossier: LoadedRun) -> Iterator[tuple[str, Words]]:
    profile = dossier.profile
    if profile:
        yield "model", code(profile.contract.repo)
        yield "revision", code(profile.contract.revision)
        yield "promised of the model", promised_words(profile.contract, len(profile.hub.files))
    if dossier.auth:
        yield "hub", code(dossier.auth.endpoint)
    if dossier.download:
        yield "download", transfer_words(dossier.download)
    if unasked := unasked_words(dossier):
        yield "requests that m43 did not make", unasked


def files(names: Set[str]) -> Node:
    """Link the files that are there."""
    items = [(Link(it.name, it.name), " ", note(it.what)) for it in FILES if it.name in names]
    return Bullets(items)


def commands(name: str, commit: str) -> Sequence[str]:
    """Write the commands that check a folder.

    People copy them into a shell: nothing but plain words may stand in them.
    """
    folder = name if is_folder_name(name) else "RUN_DIR"
    commit = commit.removesuffix("+changes")
    is_commit = len(commit) == 40 and set(commit) <= set("0123456789abcdef")
    checkout = [f"git checkout {commit}"] if is_commit else []
    return [
        *checkout,
        f"python -m m43 verify submission_runs/{folder}",
        f"(cd submission_runs/{folder} && sha256sum -c MANIFEST.sha256)",
    ]


def how_to_check(dossier: LoadedRun) -> list[Node]:
    """Say how a run is checked, and what that cannot tell."""
    commit = dossier.opening.commit if dossier.opening else ""
    text = (
        "`m43 verify` judges every promise again over the files, counts the scores again, and "
        "writes the documents and this page again to compare them."
    )
    return [
        Text("On any machine with this repository and Python 3.11 or newer, without JAX:"),
        CodeBlock(commands(dossier.name, commit), "sh"),
        Text(rich(text)),
        *(Text(rich(limit)) for limit in UNSIGNED),
    ]
