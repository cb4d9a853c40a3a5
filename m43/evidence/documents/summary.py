"""`m43_summary.md`: what an accepted run did, every number with the file that it comes from."""

from collections.abc import Sequence

from m43.evidence.documents import promises, scores
from m43.evidence.documents.markdown import code, document, prose, table
from m43.evidence.documents.performance import performance_section
from m43.evidence.documents.provenance import UNSIGNED
from m43.evidence.documents.scores import rows_section
from m43.evidence.run import history
from m43.evidence.run.history import clock_words
from m43.evidence.run.loaded_run import Complete, Dossier, TrainFacts
from m43.evidence.run.run_end import gate_states
from m43.records.evaluation_record import Decoding, Tally
from m43.records.profile import Profile
from m43.records.run_records import Phase
from m43.text import is_folder_name


def render_summary(facts: Complete) -> str:
    """Write the summary. `documents.write_documents` alone decides whether it may be written."""
    dossier, opening = facts.dossier, facts.opening
    watermark = history.watermark(dossier)
    differences = opening.profile_differences
    states = history.promise_states(dossier)
    return document(
        (
            "# M43 summary" + (f": {watermark}" if watermark else ""),
            promises.banner(dossier),
            f"**{dossier.verdict_words(True)}**: every promise of the "
            f"contract was kept ({len(opening.promises)} of {len(opening.promises)}, "
            "journal.jsonl).",
            promises.other_contract(dossier),
            _differences(differences),
            "## In short",
            _in_short(facts),
            "## Gates",
            _gates(facts),
            "## Loss",
            _loss(facts),
            "## Evaluation",
            _evaluation(facts),
            "## What was attempted",
            _attempted(facts),
            "## What happened",
            _phases(facts),
            "## Speed and memory",
            performance_section(facts.plan, facts.train, facts.evaluation),
            "## Rows",
            rows_section(facts.lint),
            "## Promises",
            promises.promise_table(history.judged(dossier), states),
            "## Versions",
            _versions(facts),
            "## Timeline",
            promises.timeline(dossier),
            "## Environment difference",
            promises.environment_difference(dossier),
            promises.NOTED if dossier.noted else "",
            promises.noted(dossier),
            "## Earlier attempts",
            promises.attempts(dossier),
            "## How to verify",
            _how_to_verify(facts),
            "## What this does not establish",
            _limits(facts),
            "## Impact on M42",
            promises.impact_on_m42(dossier),
            "## Evidence index",
            promises.evidence_index(dossier),
        )
    )


def _differences(differences: Sequence[str]) -> str:
    if not differences:
        return ""
    lines = "\n".join(f"- {code(line)}" for line in differences)
    return f"Differences from the locked decisions of its kind (opening.json):\n\n{lines}"


def _in_short(facts: Complete) -> str:
    train, results = facts.train, facts.evaluation.results.overall
    lines = (
        f"{code(facts.auth.repo)} at revision {code(facts.auth.revision)} (auth.json), "
        f"{train.parameters:,} parameters, {_trained(train)}, in JAX on {code(train.device)} "
        "(train.json).",
        prose(f"{_model(facts)} (train.json, auth.json, contract.lock.json)."),
        f"{train.optimizer_steps} optimizer steps in {_minutes(train.process.duration_s)} "
        f"(train.json, train.process.json); loss {train.losses_nats[0]:.4f} at the first step, "
        f"{train.losses_nats[-1]:.4f} at the last (training_metrics.jsonl).",
        f"{results.rows} evaluation rows: {results.base_correct} right before training, "
        f"{results.tuned_correct} after (evaluation_results.json).",
        prose(scores.change_words(facts.evaluation.results)),
    )
    return "\n".join(f"- {line}" for line in lines)


def _gates(facts: Complete) -> str:
    rows = [
        (
            prose(gate.title),
            prose(gate.question),
            "yes" if gate.good else prose(gate.state),
            f"{gate.kept} of {gate.promised}",
            "?" if gate.seconds is None else clock_words(gate.seconds),
        )
        for gate in gate_states(facts.dossier)
    ]
    head = ("gate", "what it asks", "answer", "promises kept", "took (journal.jsonl)")
    return table(head, rows)


def _trained(train: TrainFacts) -> str:
    if train.method == "full":
        return "all of them trained"
    return f"frozen beside {train.trained_parameters:,} trained ones of LoRA"


def _model(facts: Complete) -> str:
    train, profile = facts.train, facts.profile
    model = f"{train.architecture}, {train.parameters:,} parameters"
    known = f"{len(profile.contract.file_sha256)} of {len(profile.hub.files)} files"
    return f"The model: {model}, sizes as promised, SHA-256 promised for {known}"


def _method(profile: Profile) -> str:
    if profile.lora is None:
        return profile.training.method
    lora = profile.lora
    return f"lora (rank {lora.rank}, alpha {lora.alpha:g}, {', '.join(lora.targets)})"


def _attempted(facts: Complete) -> str:
    opening, profile, train = facts.opening, facts.profile, facts.train
    contract, training = profile.contract, profile.training
    rows = [
        ("run", code(facts.dossier.name), "opening.json"),
        ("began", prose(opening.started_utc), "opening.json"),
        ("commit", code(opening.commit), "opening.json"),
        ("command", code(" ".join(opening.command)), "opening.json"),
        ("profile", code(opening.profile), "opening.json"),
        ("model", code(f"{contract.repo}@{contract.revision}"), "contract.lock.json"),
        ("hub", code(facts.auth.endpoint), "auth.json"),
        ("device", code(f"{contract.platform}:{contract.device_kind}"), "contract.lock.json"),
        ("environment", code(facts.venv.path), "venv.json"),
        ("steps promised", str(contract.optimizer_steps), "contract.lock.json"),
        (
            "training",
            prose(
                f"{_method(profile)}, {training.optimizer}, {training.batch_rows} rows in "
                f"{training.accumulate} part(s), of at most {training.sequence_tokens} tokens, "
                f"learning rate {training.learning_rate:g}, "
                f"{training.warmup_steps} warm-up steps, seed {training.seed}"
            ),
            "contract.lock.json",
        ),
        (
            "training rows",
            f"{train.rows_used} used of {train.rows_in_file} ({train.epochs:.4g} epochs)",
            "train.json",
        ),
        ("training rows, SHA-256", code(train.train_rows_sha256), "train.json"),
        ("evaluation rows, SHA-256", code(facts.evaluation.eval_rows_sha256), "eval.json"),
        ("base weights, SHA-256", code(train.base_weights_sha256), "train.json"),
        ("trained weights, SHA-256", code(train.model_sha256), "train.json"),
    ]
    return table(("what", "value", "file"), rows)


def _phases(facts: Complete) -> str:
    train, evaluation = facts.train, facts.evaluation
    tokens = (
        sum(step.supervised_tokens for step in train.metrics),
        sum(step.real_tokens for step in train.metrics),
        sum(step.padded_tokens for step in train.metrics),
    )
    rows = [
        *_phase_rows("train-300", train.phases, "train.json"),
        *_phase_rows("eval", evaluation.phases, "eval.json"),
    ]
    moved = 100 * train.parameters_moved / train.parameters
    return "\n\n".join(
        (
            table(("gate", "phase", "duration", "file"), rows),
            f"- Tokens: {tokens[0]:,} supervised, {tokens[1]:,} real, {tokens[2]:,} computed with "
            "padding (training_metrics.jsonl).\n"
            f"- Weights that moved: {train.parameters_moved:,} of {train.parameters:,} "
            f"({moved:.1f} %) (train.json).\n"
            f"{_widening(train)}"
            f"- Peak host memory: {train.process.peak_bytes / 1e9:.2f} GB in training "
            f"(train.process.json), {evaluation.process.peak_bytes / 1e9:.2f} GB in evaluation "
            "(eval.process.json).\n"
            f"- Downloaded: {promises.transfer_words(facts.train.download)} (download.json)."
            f"{_unasked(facts.dossier)}",
        )
    )


def _unasked(dossier: Dossier) -> str:
    words = promises.unasked_words(dossier)
    return f"\n- Requests that m43 did not make, judged by nobody: {prose(words)}." if words else ""


def _widening(train: TrainFacts) -> str:
    return f"- {prose(train.widening)} (train.json).\n" if train.widening else ""


def _phase_rows(gate: str, phases: Sequence[Phase], file: str) -> list[tuple[str, ...]]:
    return [(gate, prose(phase.name), f"{phase.duration_s:.1f} s", file) for phase in phases]


def _loss(facts: Complete) -> str:
    losses = facts.train.losses_nats
    text = (
        f"{losses[0]:.4f} nats per supervised token at step 1, {losses[-1]:.4f} at step "
        f"{len(losses)}, lowest {min(losses):.4f} (training_metrics.jsonl)."
    )
    return f"![Training loss by optimizer step](loss_curve.svg)\n\n{text}"


def _evaluation(facts: Complete) -> str:
    results = facts.evaluation.results
    return "\n\n".join(
        (
            prose(f"{scores.change_words(results)} {scores.luck_words(results)}"),
            _score_table(scores.by_kind(results)),
            "95 %: Wilson's score interval of the share of right answers. An answer is right when "
            "it equals the expected one after the normalisation that m43/rows/answers.py states. "
            "Every row with both outputs and both answers: predictions.jsonl.",
            _decoding(facts.evaluation.decoding),
            prose(scores.no_answer_words(results)),
            "### Rows that training also had",
            prose(scores.overlap_words(results)),
            _score_table(scores.by_overlap(results)),
        )
    )


def _decoding(decoding: Decoding) -> str:
    text = f", the text {code(repr(decoding.stop_text))}" if decoding.stop_text else ""
    return (
        f"Both models answered in the same way, in {decoding.precision}: the likeliest token each "
        "time, until a stop id "
        f"({', '.join(map(str, decoding.stop_ids))}){text}, or {decoding.max_new_tokens} tokens "
        "(eval.json)."
    )


def _score_table(tallies: Sequence[Tally]) -> str:
    rows = [[prose(cell) for cell in scores.cells(tally)] for tally in tallies]
    return table(scores.HEAD, rows)


def _versions(facts: Complete) -> str:
    probe, train = facts.venv.probe, facts.train
    rows = [
        ("m43", code(facts.opening.m43_version), "opening.json"),
        ("Python", code(probe.python_version), "venv.json"),
        ("system", code(f"{probe.system} {probe.release}"), "venv.json"),
        ("NVIDIA driver", code(probe.driver_version), "venv.json"),
        ("JAX, as loaded", code(train.jax_version), "train.json"),
        ("Flax, as loaded", code(train.flax_version), "train.json"),
        *(
            (code(item.requirement), code(item.installed), "venv.json")
            for item in facts.venv.requirements
        ),
    ]
    every = f"All {len(probe.packages)} packages: env_snapshot.txt (venv.json)."
    return f"{table(('what', 'version', 'file'), rows)}\n\n{every}"


def _how_to_verify(facts: Complete) -> str:
    # People copy these lines into a shell: nothing but plain words may stand in them.
    name = facts.dossier.name if is_folder_name(facts.dossier.name) else "RUN_DIR"
    commit = facts.opening.commit.removesuffix("+changes")
    hexadecimal = len(commit) == 40 and set(commit) <= set("0123456789abcdef")
    checkout = f"git checkout {commit}\n" if hexadecimal else ""
    return (
        "On any machine with this repository and Python 3.11 or newer, without JAX:\n\n"
        "```sh\n"
        f"{checkout}"
        f"python -m m43 verify submission_runs/{name}\n"
        f"(cd submission_runs/{name} && sha256sum -c MANIFEST.sha256)\n"
        "```\n\n"
        "`verify` checks the journal's chain, judges every promise again with the contract of the "
        "repository, counts the scores again from predictions.jsonl, checks the manifest, and "
        "writes this document again to compare it."
    )


def _limits(facts: Complete) -> str:
    lines = [
        *UNSIGNED,
        f"What the hub said is as recorded in auth.json; the hub that was asked is "
        f"{code(facts.auth.endpoint)}.",
        "The scores are those of the answers after the stated normalisation, on these rows; they "
        "say nothing about other rows.",
        "One run with one seed: how much the result varies between runs was not measured.",
    ]
    if facts.opening.kind == "rehearsal":
        lines.insert(0, "It is a rehearsal: a toy model, not Gemma 2B, and a hub of its own.")
    return "\n".join(f"- {line}" for line in lines)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds:.1f} s"
