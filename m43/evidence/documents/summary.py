"""The summary: what an accepted run did, every number with its file; and its template.

It is said over the fields of a run's records; `--template` says the names of the fields instead.
"""

from collections.abc import Callable, Sequence

from m43.evidence.contract import ContractText, measure, verdict_words
from m43.evidence.diagnosis import unwatched_words
from m43.evidence.documents import promises, scores
from m43.evidence.documents.charts import Picture
from m43.evidence.documents.markdown import markdown
from m43.evidence.documents.nodes import (
    Bullets,
    Fields,
    Figure,
    Link,
    Node,
    Section,
    Table,
    Text,
    Words,
    code,
    strong,
)
from m43.evidence.documents.performance import card, card_in_short, performance_section
from m43.evidence.documents.provenance import (
    UNSIGNED,
    commit_words,
    how_to_verify,
    limits,
    method_words,
    possible_table,
    way_words,
    weights_words,
)
from m43.evidence.run import Complete, GateState, LoadedRun, exchanged, gate_states, history
from m43.records import STAGES, Profile, RunDir
from m43.text import counted, duration_words, size_words

_TEMPLATE = (
    "<!-- A template: no run made it. It is written by the function that writes the real document; "
    "what stands in braces is filled in from the records of a run. A list has one element here. -->"
)
# How a template shows a section that is worked out from the journal.
_NO_DIFFERENCE = (
    "Packages: no difference (venv.json, closing.json).",
    "Working tree: no difference; {closing.tree_files} files have the same digest (opening.json, "
    "closing.json).",
    "Code of the training: {train.imported.files}, each as it was digested before, packages as "
    "their wheels brought them; every module was compiled for this run (train.imported.json).",
    "Code of the evaluation: the same of {evaluation.imported.files} (eval.imported.json).",
)
_EARLIER = "{opening.earlier_attempts} before this one (opening.json), whatever became of them."


def render_summary(facts: Complete) -> str:
    """Write the summary. `documents.write_documents` alone decides whether it may be written."""
    return markdown(_document(Fields(facts), facts.profile, facts.loaded_run.contract))


def summary_template(profile: Profile, contract: ContractText) -> str:
    """Write what the summary of an accepted run under this profile will look like."""
    return f"{_TEMPLATE}\n\n{markdown(_document(Fields(None), profile, contract))}"


_CARD = (
    "What a hub would show of the trained model, in its format: ",
    Link(RunDir.model_card.name, RunDir.model_card.name),
    ".",
)


def _document(run: Fields, profile: Profile, contract: ContractText | None) -> Section:
    told: LoadedRun | None = run.record.loaded_run if run.record else None
    rehearsal = "" if profile.kind == "production" else history.REHEARSAL
    watermark = history.watermark(told) if told else rehearsal
    name = told.name if told else profile.run.name
    commit = run.record.opening.commit if run.record else ""
    parts: list[Node] = [
        promises.banner(watermark, another=bool(told and told.contract_differences)),
        Text(_verdict(told, profile, contract)),
        *([*promises.other_contract(told), *_differences(told)] if told else []),
        Section("In short", (Bullets(in_short(run, profile)), Text(_CARD))),
        Section("Gates", (promises.gate_table(_gates(told, contract)),)),
        Section("Loss", _loss(run)),
        Section("Evaluation", scores.evaluation(run.part("evaluation"))),
        Section("What was attempted", (_attempted(run, profile),)),
        Section("What happened", _phases(run)),
        Section("Speed and memory", performance_section(run)),
        *([Section("The card", card(told))] if profile.contract.platform == "gpu" else []),
        Section("Rows", scores.rows_section(run.part("lint"))),
        Section("Promises", (_promises(told, contract),)),
        Section("Versions", _versions(run)),
        Section("Timeline", _told(told, promises.timeline, _blank(promises.TIMELINE_HEAD))),
        Section(
            "Environment difference",
            _told(told, promises.environment_difference, Bullets(_NO_DIFFERENCE)),
        ),
        *_told(told, promises.noted),
        Section(
            "Earlier attempts",
            _told(told, promises.attempts, Text(_EARLIER), _blank(("run", "kind", "began"))),
        ),
        Section("How to verify", how_to_verify(name, commit)),
        Section(
            "What this does not establish",
            (Bullets(limits(run, profile)), Text(UNSIGNED), possible_table()),
        ),
        Section(
            "Impact on M42",
            _told(told, promises.impact_on_m42, Text(promises.UNHARMED), _blank(promises.M42_HEAD)),
        ),
        Section("Evidence index", promises.evidence_index(_evidence(told))),
    ]
    head = f"{(told.contract_name if told else profile.contract.name).capitalize()} summary"
    return Section(head + (f": {watermark}" if watermark else ""), parts)


def _told(
    told: LoadedRun | None, show: Callable[[LoadedRun], Sequence[Node]], *blank: Node
) -> Sequence[Node]:
    return show(told) if told else blank


def _blank(head: Sequence[Words]) -> Table:
    return Table(head, [[f"{{{each}}}" for each in head]])


def _evidence(told: LoadedRun | None) -> Sequence[Sequence[Words]]:
    return promises.evidence_rows(told) if told else [(code("{name of each file}"), "{sha256}")]


def _verdict(told: LoadedRun | None, profile: Profile, contract: ContractText | None) -> Words:
    count = len(contract.names) if contract else 0
    words = (
        told.verdict_words(True) if told else verdict_words(True, profile.kind, own_profile=False)
    )
    return (
        strong(words),
        f": every promise of the contract was kept ({count} of {count}, journal.jsonl).",
    )


def _differences(told: LoadedRun) -> list[Node]:
    differences = told.opening.profile_differences if told.opening else ()
    if not differences:
        return []
    title = "Differences from the locked decisions of its kind (opening.json):"
    return [Text(title), Bullets([code(line) for line in differences])]


def in_short(run: Fields, profile: Profile) -> list[Words]:
    """List the main numbers of an accepted run."""
    train, results, auth = run.part("train"), run.part("evaluation.results"), run.part("auth")
    told = run.record.loaded_run if run.record else None
    known = f"{len(profile.contract.file_sha256)} of {len(profile.hub.files)} files"
    took = train("process.duration_s", duration_words)
    return [
        (
            code(run("auth.repo")),
            " at revision ",
            code(run("auth.revision")),
            f" (auth.json), {train('parameters', ',')} parameters, {_trained(train, profile)}, in "
            "JAX on ",
            code(train("device")),
            " (train.json).",
        ),
        f"The model: {train('architecture')}, {train('parameters', ',')} parameters, sizes as "
        f"promised, SHA-256 promised for {known} (train.json, auth.json, contract.lock.json).",
        f"Its weights, by the hub's word: {auth.of('files', weights_words)} (auth.json).",
        f"The hub: {auth.of('endpoint, way', way_words)} (auth.json).",
        f"{train('optimizer_steps')} optimizer steps in {took} "
        f"(train.json, train.process.json); loss {_at(train, 0)} at the first step, "
        f"{_at(train, -1)} at the last (training_metrics.jsonl).",
        f"{results('overall.rows')} evaluation rows: {results('overall.base_correct')} right "
        f"before training, {results('overall.tuned_correct')} after (evaluation_results.json).",
        scores.change_words(results),
        *([card_in_short(told)] if profile.contract.platform == "gpu" else []),
    ]


def _at(train: Fields, place: int) -> str:
    return train.of(f"losses_nats[{place}]", lambda it: f"{it.losses_nats[place]:.4f}")


def _trained(train: Fields, profile: Profile) -> str:
    method = train.record.method if train.record else profile.training.method
    if method == "full":
        return "all of them trained"
    return f"frozen beside {train('trained_parameters', ',')} trained ones of LoRA"


def _gates(told: LoadedRun | None, contract: ContractText | None) -> Sequence[GateState]:
    if told or not contract:
        return gate_states(told) if told else ()
    gates = [promise.gate for promise in contract.promises]
    return [
        GateState(gate=gate, state="kept", seconds=None, kept=count, promised=count)
        for gate in STAGES
        if (count := gates.count(gate))
    ]


def _promises(told: LoadedRun | None, contract: ContractText | None) -> Table:
    if told:
        return promises.promise_table(told.judged, history.promise_states(told))
    judged = [measure(promise, {}) for promise in contract.promises] if contract else []
    table = promises.promise_table(judged, {each.promise.name: "kept" for each in judged})
    return Table(table.head, [(*row[:2], "{measured}", row[3]) for row in table.rows])


def _attempted(run: Fields, profile: Profile) -> Table:
    opening, train = run.part("opening"), run.part("train")
    contract, training = profile.contract, profile.training
    name = run.record.loaded_run.name if run.record else profile.run.name
    rows: list[tuple[Words, ...]] = [
        ("run", code(name), RunDir.opening.name),
        ("began", opening("started_utc"), RunDir.opening.name),
        ("commit", code(opening.of("commit", commit_words)), RunDir.opening.name),
        ("command", code(opening("command", " ".join)), RunDir.opening.name),
        ("profile", code(opening("profile")), RunDir.opening.name),
        ("model", code(f"{contract.repo}@{contract.revision}"), RunDir.profile.name),
        ("hub", code(run("auth.endpoint")), RunDir.auth.name),
        ("device", code(f"{contract.platform}:{contract.device_kind}"), RunDir.profile.name),
        ("devices that trained", f"{train('devices')}, {train('mesh')}", RunDir.train.name),
        ("environment", code(run("venv.path")), RunDir.venv.name),
        ("steps promised", str(contract.optimizer_steps), RunDir.profile.name),
        (
            "training",
            f"{method_words(profile)}, {training.optimizer}, {training.batch_rows} rows in "
            f"{counted(training.accumulate, 'part')}, of at most {training.sequence_tokens} "
            f"tokens, learning rate {training.learning_rate:g}, {training.warmup_steps} warm-up "
            f"steps, seed {training.seed}",
            RunDir.profile.name,
        ),
        (
            "training rows",
            f"{train('rows_used')} used of {train('rows_in_file')} "
            f"({train('epochs', '.4g')} epochs)",
            RunDir.train.name,
        ),
        ("training rows, SHA-256", code(train("train_rows_sha256")), RunDir.train.name),
        (
            "evaluation rows, SHA-256",
            code(run("evaluation.eval_rows_sha256")),
            RunDir.evaluation.name,
        ),
        ("base weights, SHA-256", code(train("base_weights_sha256")), RunDir.train.name),
        ("trained weights, SHA-256", code(train("model_sha256")), RunDir.train.name),
    ]
    return Table(("what", "value", "file"), rows)


def _phases(run: Fields) -> list[Node]:
    train, evaluation = run.part("train"), run.part("evaluation")
    rows = [
        *train.rows("phases", lambda it: _phase("train-300", it, RunDir.train.name)),
        *evaluation.rows("phases", lambda it: _phase("eval", it, RunDir.evaluation.name)),
    ]
    tokens = [_tokens(train, kind) for kind in ("supervised", "real", "padded")]
    moved = train.of(
        "parameters_moved / parameters",
        lambda it: f"{100 * it.parameters_moved / it.parameters:.1f}",
    )
    ends, files = ("process.peak_bytes",) * 2, (RunDir.train_process, RunDir.eval_process)
    if run.record and len(run.record.train.processes) > 1:
        ends, files = ("all_peak_bytes", "peak_host_bytes"), (RunDir.train, RunDir.evaluation)
    lines = [
        f"Tokens: {tokens[0]} supervised, {tokens[1]} real, {tokens[2]} computed with padding "
        "(training_metrics.jsonl).",
        f"Weights that moved: {train('parameters_moved', ',')} of {train('parameters', ',')} "
        f"({moved} %) (train.json).",
        f"Peak host memory: {train(ends[0], size_words)} in training ({files[0].name}), "
        f"{evaluation(ends[1], size_words)} in evaluation ({files[1].name}).",
        f"Downloaded: {run('train.download', promises.transfer_words)} (download.json).",
    ]
    if run.record and run.record.train.widening:
        lines.insert(2, f"{run.record.train.widening} (train.json).")
    if run.record and run.record.train.left_out:
        lines.insert(2, f"{run.record.train.left_out} (train.json).")
    if run.record and (stood := unwatched_words(run.record.train.process)):
        lines.append(f"The training process:{stood} (train.process.json).")
    if run.record and (unasked := promises.unasked_words(run.record.loaded_run)):
        lines.append(f"Requests that m43 did not make, judged by nobody: {unasked}.")
    return [Table(("gate", "phase", "duration", "file"), rows), Bullets(lines)]


def _phase(gate: str, phase: Fields, file: str) -> tuple[str, ...]:
    return gate, phase("name"), phase("duration_s", duration_words), file


def _tokens(train: Fields, kind: str) -> str:
    name = f"{kind}_tokens"
    return train.of(
        f"sum(metrics[].{name})",
        lambda it: f"{sum(getattr(step, name) for step in it.metrics):,}",
    )


def _loss(run: Fields) -> list[Node]:
    train = run.part("train")
    last = train.of("optimizer_steps", lambda it: str(len(it.losses_nats)))
    lowest = train.of("min(losses_nats)", lambda it: f"{min(it.losses_nats):.4f}")
    # The file beside the document has the points.
    picture = Picture(name="loss", title="Training loss by optimizer step")
    text = (
        f"{_at(train, 0)} nats per supervised token at step 1, {_at(train, -1)} at step {last}, "
        f"lowest {lowest} (training_metrics.jsonl)."
    )
    return [Figure(picture, RunDir.loss_curve.name), Text(text)]


def _versions(run: Fields) -> list[Node]:
    probe, train = run.part("venv.probe"), run.part("train")
    system = probe.of("system + release", lambda it: f"{it.system} {it.release}")
    rows: list[tuple[Words, ...]] = [
        ("m43", code(run("opening.m43_version")), RunDir.opening.name),
        ("Python", code(probe("python_version")), RunDir.venv.name),
        ("system", code(system), RunDir.venv.name),
        ("NVIDIA driver", code(probe("driver_version")), RunDir.venv.name),
        ("JAX, as loaded", code(train("jax_version")), RunDir.train.name),
        ("Flax, as loaded", code(train("flax_version")), RunDir.train.name),
        ("XLA_FLAGS", code(train("process.xla_flags", _flags)), RunDir.train_process.name),
        *run.rows(
            "venv.requirements",
            lambda it: (code(it("requirement")), code(it("installed_words")), RunDir.venv.name),
        ),
    ]
    every = probe.of("packages", lambda it: str(len(it.packages)))
    numerics = probe.part("numerics")
    tried = exchanged(run.record.venv) if run.record else ()
    return [
        Table(("what", "version", "file"), rows),
        Text(f"All {every} packages: env_snapshot.txt (venv.json)."),
        Text(
            "The device beside float64, before training, in small steps of "
            f"{numerics('families', ', '.join)}: {numerics('loss_relative_error', '.1g')} off in "
            f"the loss, {numerics('gradient_relative_error', '.1g')} in a gradient, at most "
            "(relative, venv.json)."
        ),
        *(Text(f"Before training, {line} (venv.json).") for line in tried),
    ]


def _flags(flags: Sequence[str]) -> str:
    return " ".join(flags) or "none"
