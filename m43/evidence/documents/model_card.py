"""The model card: README.md of the trained folder, in the hub's format, from the records alone.

It is written before the seal, so that the manifest covers it, and only where the run is accepted
once it is sealed: a run that failed has nothing to publish. m43 uploads nothing.

Source: Hugging Face, hub-docs, modelcard.md: the metadata, and model-index in it.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace

from m43.evidence.documents import promises, scores
from m43.evidence.documents.markdown import markdown
from m43.evidence.documents.nodes import (
    Bullets,
    CodeBlock,
    Fields,
    Node,
    Pairs,
    Section,
    Table,
    Text,
    Words,
    code,
    rich,
    strong,
)
from m43.evidence.documents.performance import card_in_short
from m43.evidence.documents.provenance import (
    commands,
    limits,
    method_words,
    weights_words,
)
from m43.evidence.journal import redact
from m43.evidence.run import Complete, LoadedRun, watermark
from m43.records import LOOPBACK_ENDPOINT, Profile, RunDir, Tally
from m43.text import counted, visible

# Source: Gemma Terms of Use (ai.google.dev/gemma/terms), section 3.1: words and file of the notice.
_NOTICE = (
    "Gemma is provided under and subject to the Gemma Terms of Use found at "
    "ai.google.dev/gemma/terms"
)
# As its maker calls it. The terms list Gemma 1 to 3, which is what m43 trains.
_GEMMA = "google/gemma-"


def expected_card(loaded_run: LoadedRun) -> str | None:
    """Return the card of a run that is accepted, or will be once it is sealed; None of another."""
    facts = loaded_run.whole
    if facts is None or not _sealed(loaded_run).verdict.accepted:
        return None
    head = "\n".join(_yaml(_metadata(facts)))
    return redact(f"---\n{head}\n---\n\n{markdown(_body(facts))}", ())


def _sealed(loaded_run: LoadedRun) -> LoadedRun:
    """Return the run with the one entry that an accepted journal has after its last promise."""
    entries = loaded_run.entries
    if not entries or any(entry.event == "sealed" for entry in entries):
        return loaded_run
    seal = replace(entries[-1], seq=len(entries) + 1, event="sealed", gate="", name="")
    return loaded_run.with_entries((*entries, seal))


def _is_toy(profile: Profile) -> bool:
    """Tell whether the base is what m43's own hub serves, which no other hub has."""
    return profile.hub.endpoint == LOOPBACK_ENDPOINT


def _is_gemma(profile: Profile) -> bool:
    return profile.contract.repo.startswith(_GEMMA) and not _is_toy(profile)


# --- the metadata ------------------------------------------------------------------------------

_Yaml = str | int | float | list["_Yaml"] | dict[str, "_Yaml"]


def _metadata(facts: Complete) -> dict[str, _Yaml]:
    """Say what the hub files a model by; what was not established is left out."""
    profile, told = facts.profile, facts.loaded_run
    base: dict[str, _Yaml] = {
        "base_model": profile.contract.repo,
        "base_model_relation": "finetune",
    }
    tags: list[_Yaml] = ["m43", *(["rehearsal"] if told.kind == "rehearsal" else [])]
    return {
        **({} if _is_toy(profile) else base),
        **({"license": "gemma"} if _is_gemma(profile) else {}),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": [*tags, "toy"] if _is_toy(profile) else tags,
        "metrics": ["accuracy"],
        "model-index": [{"name": told.name, "results": list(_results(facts))}],
    }


# Which rows a result is of, by the group of its tally.
_CONFIGS = {
    "overall": "every row",
    "text: not in training": "rows whose prompt is not in training",
    "template: not in training": "rows whose template is not in training",
}


def _results(facts: Complete) -> Iterator[dict[str, _Yaml]]:
    """Return the scores of the tuned model, those without contamination apart."""
    results = facts.evaluation.results
    tallies = {each.group: each for each in (results.overall, *results.groups)}
    for group, config in _CONFIGS.items():
        if group in tallies:
            dataset: dict[str, _Yaml] = {
                "name": facts.profile.data.evaluation.name,
                "type": "custom",
                "config": config,
                "args": {"sha256": facts.evaluation.eval_rows_sha256, "rows": tallies[group].rows},
            }
            task: dict[str, _Yaml] = {"type": "text-generation", "name": "Text Generation"}
            yield {"task": task, "dataset": dataset, "metrics": [_metric(tallies[group])]}


def _metric(tally: Tally) -> dict[str, _Yaml]:
    interval: list[_Yaml] = [
        round(tally.tuned_interval.low, 4),
        round(tally.tuned_interval.high, 4),
    ]
    return {
        "type": "accuracy",
        "name": "answers that equal the expected one",
        "value": round(tally.tuned_correct / tally.rows, 4),
        "args": {"right": tally.tuned_correct, "rows": tally.rows, "wilson_95": interval},
    }


def _yaml(value: _Yaml, pad: str = "") -> Iterator[str]:
    """Write tables and lists as blocks of YAML, and every text as a JSON string, which is YAML.

    Source: YAML 1.2.2, section 1.2: its flow scalars hold those of JSON.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, dict | list):
                yield f"{pad}{key}:"
                yield from _yaml(item, f"{pad}  ")
            else:
                yield f"{pad}{key}: {_scalar(item)}"
    elif isinstance(value, list):
        for item in value:
            first, *rest = _yaml(item, f"{pad}  ")
            yield f"{pad}- {first.lstrip()}"
            yield from rest
    else:
        yield f"{pad}{_scalar(value)}"


# In a text that `visible` went over, what YAML does not take even within quotes.
_NO_YAML = re.compile("[\ufffe\uffff]")


def _scalar(value: str | float) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    text = json.dumps(visible(value), ensure_ascii=False)
    return _NO_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


# --- what people read --------------------------------------------------------------------------


def _body(facts: Complete) -> Section:
    told, profile = facts.loaded_run, facts.profile
    base, mark = profile.contract.repo, watermark(told)
    return Section(
        f"{told.name}: {base}, fine-tuned" + (f": {mark}" if mark else ""),
        (
            promises.banner(mark, another=bool(told.contract_differences)),
            Text(_what_it_is(facts)),
            *promises.other_contract(told),
            Section("Licence", _licence(profile)),
            Section("How it is asked", _template(profile)),
            Section("Base model", (Pairs(tuple(_base(facts))),)),
            Section("Data", _data(facts)),
            Section("Training", (Pairs(tuple(_training(facts))),)),
            Section("Evaluation", scores.evaluation(Fields(facts).part("evaluation"))),
            Section("Energy", (Text(_energy(facts)),)),
            Section("What this does not establish", (Bullets(_limits(facts)),)),
            Section("Evidence", _evidence(facts)),
        ),
    )


def _what_it_is(facts: Complete) -> Words:
    told, train = facts.loaded_run, facts.train
    count = len(facts.opening.promises)
    return (
        code(facts.profile.contract.repo),
        f", fine-tuned in JAX for {train.optimizer_steps} optimizer steps on ",
        code(train.device),
        f", with m43 {facts.opening.m43_version}. ",
        strong(told.verdict_words(True)),
        f": the run kept every promise of its contract, {count} of {count}. m43 wrote this card "
        "from the records of the run; files in brackets are those of its folder, ",
        code(told.name),
        ".",
    )


def _licence(profile: Profile) -> list[Node]:
    if _is_toy(profile):
        words = (
            "The base is a toy that m43 makes for rehearsals: small, of random weights, in the "
            "shape of Gemma and nothing of it. Nothing here is meant to be published."
        )
        return [Text(words)]
    if not _is_gemma(profile):
        words = (
            "The licence is that of the base model, which m43 did not look at. Whoever publishes "
            "this model states it above, as `license`."
        )
        return [Text(rich(words))]
    words = (
        "The weights were modified: they are those of the base model, trained further as told "
        "below. By section 3.1 of these terms whoever passes the model on adds a copy of them, "
        "binds others to their section 3.2, and lays the notice beside it in a file called "
        "`Notice`. m43 adds neither file. The rows may be under terms of their own, which m43 does "
        "not know."
    )
    return [Text(f"{_NOTICE}."), Text(rich(words))]


def _template(profile: Profile) -> list[Node]:
    template = profile.template
    if template.style == "chat":
        how = "As turns of the chat template in this folder, where {prompt} is the question:"
    else:
        how = "As text after BOS, where {prompt} is the question:"
    stop = code(repr(template.stop_text)) if template.stop_text else "the end of the text"
    learnt = (
        "It was taught to answer with ",
        code(repr(template.completion)),
        ", read up to ",
        stop,
        ".",
    )
    return [Text(how), CodeBlock(template.prompt.split("\n")), Text(learnt)]


def _base(facts: Complete) -> Iterator[tuple[str, Words]]:
    contract, train = facts.profile.contract, facts.train
    yield "model", code(contract.repo)
    yield "revision", code(contract.revision)
    yield "hub", code(facts.auth.endpoint)
    yield "weights, by the hub's word", weights_words(facts.auth)
    yield "architecture", f"{train.architecture}, {train.parameters:,} parameters"
    if train.left_out:
        yield "left out", train.left_out
    yield "base weights, SHA-256", code(train.base_weights_sha256)
    yield "trained weights, SHA-256", code(train.model_sha256)


def _data(facts: Complete) -> list[Node]:
    data, train, evaluation = facts.profile.data, facts.train, facts.evaluation
    used = f"{train.rows_used} of {train.rows_in_file}, in {train.epochs:.4g} epochs"
    rows: list[tuple[Words, ...]] = [
        ("training", code(data.train.name), used, code(train.train_rows_sha256)),
        (
            "evaluation",
            code(data.evaluation.name),
            str(evaluation.rows_in_file),
            code(evaluation.eval_rows_sha256),
        ),
    ]
    return [Table(("rows of", "file", "rows", "SHA-256"), rows)]


def _training(facts: Complete) -> Iterator[tuple[str, Words]]:
    train, training = facts.train, facts.profile.training
    parts = counted(training.accumulate, "part")
    yield "method", method_words(facts.profile)
    if facts.profile.lora is not None:
        yield (
            "adapter",
            "merged into these weights; by itself it lies in the folder beside this one",
        )
    moved = 100 * train.parameters_moved / train.parameters
    yield "parameters that moved", f"{train.parameters_moved:,} ({moved:.1f} %)"
    yield "optimizer", training.optimizer
    yield "optimizer steps", str(train.optimizer_steps)
    yield "batch", f"{training.batch_rows} rows in {parts}"
    yield "longest row", f"{training.sequence_tokens} tokens, packed: {_yes(training.packing)}"
    yield (
        "learning rate",
        f"{training.learning_rate:g} after {training.warmup_steps} warm-up steps, "
        f"{training.end_learning_rate_ratio:g} of it at the end",
    )
    yield "weight decay, clipping", f"{training.weight_decay:g}, norm {training.clip_norm:g}"
    yield "seed", str(training.seed)
    losses = train.losses_nats
    yield "loss", f"{losses[0]:.4f} nats by supervised token at first, {losses[-1]:.4f} at last"
    yield "devices, mesh", f"{train.devices}, {train.mesh}"
    yield "JAX, Flax", f"{train.jax_version}, {train.flax_version}"


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _energy(facts: Complete) -> str:
    if facts.profile.contract.platform != "gpu":
        return "Not measured: the run used no card whose driver counts it."
    return card_in_short(facts.loaded_run)


def _limits(facts: Complete) -> list[Words]:
    return [
        *limits(Fields(facts), facts.profile),
        "What the model says beside these rows, and whether it is safe to use for anything, was "
        "not looked at.",
    ]


def _evidence(facts: Complete) -> list[Node]:
    name, contract = facts.loaded_run.name, facts.opening.contract_name
    return [
        Text(
            (
                "The run folder ",
                code(name),
                " holds every number of this card with its source, and says in its ",
                code(RunDir.summary.name.format(contract=contract)),
                " what an unsigned folder cannot exclude; ask whoever published the model for it. "
                "With m43 anybody checks it, and this card with it:",
            )
        ),
        CodeBlock(commands(name, facts.opening.commit), "sh"),
        Text("These weights are that run's if this prints the SHA-256 of the trained weights:"),
        CodeBlock(["LC_ALL=C sha256sum *.safetensors | sha256sum"], "sh"),
    ]
