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


def provenance(loaded_run: LoadedRun) -> list[Node]:
    """Show environment, origin and what changed."""
    difference = "Environment and working tree, before against after"
    return [
        Pairs(tuple(_facts(loaded_run))),
        *_packages(loaded_run),
        Section(difference, environment_difference(loaded_run)),
        *noted(loaded_run),
        Section("Earlier attempts", attempts(loaded_run)),
        Section("Impact on M42", impact_on_m42(loaded_run)),
    ]


def _packages(loaded_run: LoadedRun) -> list[Node]:
    if loaded_run.venv is None:
        return []
    needed = loaded_run.venv.requirements
    listed = len(loaded_run.venv.probe.packages)
    title = f"Packages that training needs ({len(needed)}; all {listed} are in env_snapshot.txt)"
    rows = [(code(item.requirement), item.installed_words) for item in needed]
    return [Details(title, (Table(("requirement of the training", "installed"), rows),))]


def _facts(loaded_run: LoadedRun) -> Iterator[tuple[str, Words]]:
    opening, venv, train = loaded_run.opening, loaded_run.venv, loaded_run.train
    if opening:
        yield "run", code(opening.run)
        yield "began (UTC)", opening.started_utc
        yield "commit", code(opening.commit)
        yield "command", code(" ".join(opening.command))
        yield "profile", code(opening.profile)
    yield from _model_facts(loaded_run)
    if venv:
        probe = venv.probe
        for device in probe.devices:
            yield "device", f"{device.platform}, {device.kind}, {size_words(device.memory_bytes)}"
        near = probe.numerics
        yield (
            "small steps beside float64",
            f"loss {near.loss_relative_error:.1g}, gradient {near.gradient_relative_error:.1g}, "
            f"update {near.update_relative_error:.1g} off at most (relative)",
        )
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


def _model_facts(loaded_run: LoadedRun) -> Iterator[tuple[str, Words]]:
    profile = loaded_run.profile
    if profile:
        yield "model", code(profile.contract.repo)
        yield "revision", code(profile.contract.revision)
        yield "promised of the model", promised_words(profile.contract, len(profile.hub.files))
    if loaded_run.auth:
        yield "hub", code(loaded_run.auth.endpoint)
    if loaded_run.download:
        yield "download", transfer_words(loaded_run.download)
    if unasked := unasked_words(loaded_run):
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


def how_to_check(loaded_run: LoadedRun) -> list[Node]:
    """Say how a run is checked, and what that cannot tell."""
    commit = loaded_run.opening.commit if loaded_run.opening else ""
    text = (
        "`m43 verify` judges every promise again over the files, counts the scores again, and "
        "writes the documents and this page again to compare them."
    )
    return [
        Text("On any machine with this repository and Python 3.11 or newer, without JAX:"),
        CodeBlock(commands(loaded_run.name, commit), "sh"),
        Text(rich(text)),
        *(Text(rich(limit)) for limit in UNSIGNED),
    ]
