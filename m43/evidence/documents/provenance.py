"""Where a run comes from and how to check it: environment, attempts, files, commands, limits."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from m43.evidence.contract import promised_words
from m43.evidence.documents.nodes import (
    Bullets,
    CodeBlock,
    Details,
    Fields,
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
from m43.evidence.run import LoadedRun, exchanged
from m43.records import FILES, AuthRecord, OpeningRecord, Profile, RunDir
from m43.text import is_folder_name, is_weight_file, size_words

UNSIGNED = (
    "The folder by itself is not signed: its files agree with each other, and that does not prove "
    "who made them, when, or on which machine. Whoever owns the machine could still have done what "
    "the table names; beside each stands what would reveal it."
)


@dataclass(frozen=True, kw_only=True)
class Possibility:
    """What an owner of the machine could still do and the folder alone cannot exclude.

    `short` and `shown_by` are the same two in a few words, for a line on a terminal.
    """

    short: str
    shown_by: str
    could: str
    reveals: str


POSSIBLE: tuple[Possibility, ...] = (
    Possibility(
        short="a folder written by hand",
        shown_by="a witness; a replay",
        could="Write the whole folder by hand from the documented formats, without any training.",
        reveals="A witness: the line that the run prints before it trains, dated by somebody "
        "else; with the weights, `m43 verify --replay`, which has the saved model answer again.",
    ),
    Possibility(
        short="numbers invented within what the records allow",
        shown_by="a signature; a witness; the card's counters; a second run",
        could="Invent steps, losses, gradient norms or durations within what the records allow "
        "each other, or take them from another run of the same rows, and seal everything again.",
        reveals="A signature, against anybody but the signer; a witness; the series of the card's "
        "own counters; a second run with the same seed, by somebody else.",
    ),
    Possibility(
        short="outputs that the saved model did not give",
        shown_by="a replay",
        could="Write outputs into the predictions that the saved model never gave.",
        reveals="A replay, where the weights were handed on.",
    ),
    Possibility(
        short="a Python, package or driver that lies",
        shown_by="the card's counters; the digests of what ran; a replay elsewhere",
        could="Run a Python, a package or a driver that was changed to lie and that digests "
        "itself as if it were not, such as a CPU that calls itself a card. A rehearsal also runs "
        "the compiled files (.pyc) of packages as it finds them; production compiles its own.",
        reveals="The card's own counters, which draw no power then; the speed against the device's "
        "limits; the digests of what ran, beside the published wheels; a replay on another "
        "machine.",
    ),
    Possibility(
        short="checks replaced in memory",
        shown_by="a replay; a second run",
        could="Replace m43's checks in the memory of its process, as root, with a debugger or by "
        "compiled code that puts itself back.",
        reveals="A replay; a second run by somebody else. Nothing in the folder.",
    ),
    Possibility(
        short="a server in the hub's place",
        shown_by="its first page: who answered, and the weights' digests",
        could="Lead the hub's name to a server of one's own, by a proxy, a hosts file and an "
        "authority of one's own, and serve another model under the promised names.",
        reveals="The first page: who answered, on which root certificate's word, and the digests "
        "of the weights, beside those that the hub shows to everybody.",
    ),
    Possibility(
        short="failed attempts removed",
        shown_by="a witness for each beginning",
        could="Repeat the run until it ends well, and remove the others with their lines of the "
        "ledger.",
        reveals="A witness for each beginning: a line without a run that follows it. A later run, "
        "if an earlier one had disclosed what is missing now.",
    ),
    Possibility(
        short="another date",
        shown_by="a witness",
        could="Set the clock, so that the run has another date or order.",
        reveals="A witness, which others date.",
    ),
    Possibility(
        short="values and words that nothing else constrains",
        shown_by="a signature",
        could="Change values that no other record constrains, such as the account's name or the "
        "command, or, within what a promise allows, free memory and disk and the errors of the "
        "numerics check; tests/lies/unconstrained.txt lists them. Change words that are in no "
        "record: what the report and junit.xml quote of a test, what nvidia-smi printed, lines of "
        "a log that are about no phase and no step, what a dependency warned of.",
        reveals="A signature, against anybody but the signer.",
    ),
    Possibility(
        short="a signer who lies",
        shown_by="a witness; a replay",
        could="Sign a folder that was forged in one of these ways.",
        reveals="A witness or a replay, as above; the signature says whose word it is.",
    ),
)


def possible_table() -> Table:
    """Show what stays possible, and what would reveal it."""
    head = ("what an owner of the machine could still do", "what would reveal it")
    return Table(head, [(rich(each.could), rich(each.reveals)) for each in POSSIBLE])


def not_excluded() -> tuple[str, ...]:
    """Name what stays possible and what would reveal it, a line each."""
    return tuple(f"{each.short}: {each.shown_by}" for each in POSSIBLE)


def way_words(record: AuthRecord) -> str:
    """Say how the hub was reached: by which address, and on whose word it was the hub."""
    way = record.way
    words = f"{way.address} answered for {record.endpoint}"
    if not any(each.sent for each in record.responses):
        words = f"nothing was sent to {record.endpoint}"
    elif not any(each.status for each in record.responses):
        words = f"no answer came from {record.endpoint}, so nothing is known of the way"
    elif not way.address:
        words = f"which address answered for {record.endpoint} is not known"
    elif not way.certificates:
        words += " without TLS, so nothing vouches for who that was"
    else:
        own, root = way.certificates[0], way.certificates[-1]
        words += (
            f" with a certificate of {own.subject!r}, issued by {own.issuer!r} (SHA-256 "
            f"{own.sha256}), on the word of {root.subject!r} (SHA-256 {root.sha256})"
        )
    settings = "; ".join(way.settings) or "none"
    return f"{words}; proxies and authorities set in the environment: {settings}"


def weights_words(record: AuthRecord) -> str:
    """Name the files of weights with what the hub said of them: together they are the model."""
    weights = (file for file in record.files if is_weight_file(file.name))
    return "; ".join(
        f"{file.name}, {file.size_bytes:,} bytes, {file.digest_kind} {file.digest}"
        for file in weights
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
        yield "commit", code(commit_words(opening))
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
        yield from (("exchanged before training", line) for line in exchanged(venv))
        yield "NVIDIA driver", probe.driver_version
        yield "system", f"{probe.system} {probe.release}"
        yield "Python", probe.python_version
    if train:
        yield "JAX, Flax", f"{train.jax_version}, {train.flax_version}"
        yield "base weights, SHA-256", code(train.base_weights_sha256)
        yield "trained weights, SHA-256", code(train.model_sha256)
        if train.widening:
            yield "how weights are stored", train.widening
        if train.left_out:
            yield "parts of the base", train.left_out
    if opening:
        yield "m43", opening.m43_version


def commit_words(opening: OpeningRecord) -> str:
    """Name the commit of m43's checkout, or that of the tree that m43 was installed for."""
    if not opening.tree_commit:
        return opening.commit
    words = (
        f"{opening.tree_commit}, of a repository that m43 {opening.m43_version} was installed for"
    )
    if sha256 := opening.tree_conftest_sha256:
        words += f"; its own conftest.py (SHA-256 {sha256}) ran in the process that judged"
    return words


def _model_facts(loaded_run: LoadedRun) -> Iterator[tuple[str, Words]]:
    profile = loaded_run.profile
    if profile:
        yield "model", code(profile.contract.repo)
        yield "revision", code(profile.contract.revision)
        yield "promised of the model", promised_words(profile.contract, len(profile.hub.files))
    if loaded_run.auth:
        yield "hub", way_words(loaded_run.auth)
        yield "weights, by the hub's word", weights_words(loaded_run.auth)
    if loaded_run.download:
        yield "download", transfer_words(loaded_run.download)
    if unasked := unasked_words(loaded_run):
        yield "requests that m43 did not make", unasked


def files(names: Set[str]) -> Node:
    """Link the files that are there."""
    # The summary is called after the contract.
    summary = next((name for name in names if name.endswith(_SUMMARY)), "")
    rows = ((summary if it is RunDir.summary else it.name, it.what) for it in FILES)
    return Bullets([(Link(name, name), " ", note(what)) for name, what in rows if name in names])


_SUMMARY = RunDir.summary.name.partition("}")[2]


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
        Text("On any machine with the m43 of this run and Python 3.11 or newer, without JAX:"),
        CodeBlock(commands(loaded_run.name, commit), "sh"),
        Text(rich(text)),
        Text(UNSIGNED),
        possible_table(),
    ]


def how_to_verify(name: str, commit: str) -> list[Node]:
    """Say what recomputes every claim of a run, and how."""
    text = (
        "`verify` checks the journal's chain, judges every promise again with the contract of "
        "m43, counts the scores again from predictions.jsonl, checks the manifest, and "
        "writes this document again to compare it."
    )
    return [
        Text("On any machine with the m43 of this run and Python 3.11 or newer, without JAX:"),
        CodeBlock(commands(name, commit), "sh"),
        Text(rich(text)),
    ]


def method_words(profile: Profile) -> str:
    """Say how the model was trained: all of it, or adapters of which rank and where."""
    if profile.lora is None:
        return profile.training.method
    lora = profile.lora
    return f"lora (rank {lora.rank}, alpha {lora.alpha:g}, {', '.join(lora.targets)})"


def limits(run: Fields, profile: Profile) -> list[Words]:
    """List what a run that was accepted says nothing about."""
    hub = "What the hub said is as recorded in auth.json; the hub that was asked is "
    lines: list[Words] = [
        (hub, code(run("auth.endpoint")), "."),
        "The scores are those of the answers after the stated normalisation, on these rows; they "
        "say nothing about other rows.",
        "One run with one seed: how much the result varies between runs was not measured.",
    ]
    if profile.kind == "rehearsal":
        lines.insert(0, "It is a rehearsal: a toy model, not Gemma 2B, and a hub of its own.")
    return lines
