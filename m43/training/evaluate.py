"""The evaluation run: every row answered by the base and the tuned model, and scored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from m43 import typed_json
from m43.core import Gemma, GemmaConfig, greedy_decode
from m43.records import (
    DataTable,
    Decoding,
    DownloadRecord,
    EvaluationRecord,
    Prediction,
    Profile,
    RunDir,
    read_record,
    write_atomically,
    write_record,
)
from m43.rows import KnownPrompts, answers, scoring
from m43.training.data import (
    Ids,
    Question,
    Template,
    TokenisedFile,
    Tokenizer,
    output_text,
    read_decoding,
    read_file,
    read_questions,
    read_tokenizer,
)
from m43.training.device import bytes_in_use, device_of, peak_host_bytes, require_device
from m43.training.mesh import copied, mesh_of, settle_devices, spread_rows, whole
from m43.training.progress import Heartbeats
from m43.training.weights import (
    model_digest,
    read_model_config,
    read_weights,
    require_finite,
    stored_dtype,
)

# All prompts have one width, so that a finer step costs no compilation.
_WIDTH_MULTIPLE = 8


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A model that is to answer, checked but not yet in memory."""

    name: str
    folder: Path
    config: GemmaConfig


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """The outputs of one model, one for every question."""

    weights_sha256: str
    device: str
    devices: int
    outputs: tuple[str, ...] = field(repr=False)
    generated_tokens: int


@dataclass(frozen=True, kw_only=True)
class _TrainedRows:
    """The prompts that were trained on, or could have been: those of the whole file."""

    sha256: str
    prompts: KnownPrompts = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class PromptBatch:
    """Prompts of one decoding, padded to one shape; only the first `rows` are asked."""

    tokens: np.ndarray
    lengths: np.ndarray
    rows: int


def run(run: RunDir, beats: Heartbeats) -> None:
    """Evaluate as the locked profile says; `eval.json` is written last."""
    profile = run.read_profile()
    settle_devices(profile, profile.contract.processes)
    base_folder = read_record(run.download, DownloadRecord).folder
    beats.measure_device(lambda: bytes_in_use(jax.local_devices()[0]))
    with beats.phase("check models"):
        # Both before either is decoded: a model that is missing should not cost the other's time.
        base, tuned = _candidate("base", base_folder), _candidate("tuned", run.model)
    with beats.phase("rows"):
        tokenizer = read_tokenizer(base.folder, base.config)
        decoding = read_decoding(base.folder, base.config, tokenizer, profile)
        template = Template(profile.template, tokenizer, base.config)
        data, longest = profile.data, profile.evaluation.prompt_tokens
        file = read_questions(data.evaluation, template, longest, data.columns.evaluation)
        trained = _trained_rows(data)
    of_base, of_tuned = (
        _answer(candidate, profile, tokenizer, decoding, file, beats) for candidate in (base, tuned)
    )
    if jax.process_index():
        # All have every answer; the first one writes them.
        return
    with beats.phase("score"):
        marker = profile.template.answer_marker
        rows = zip(file.rows, of_base.outputs, of_tuned.outputs, strict=True)
        predictions = [_prediction(*row, marker, trained.prompts) for row in rows]
        lines = "".join(typed_json.dump_line(prediction) for prediction in predictions)
        write_atomically(run.predictions, lines.encode())
        write_record(run.results, scoring.tally(predictions))
    write_record(run.evaluation, _record(file, decoding, of_base, of_tuned, trained, beats))


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What became of answers that were decoded again.

    Attributes:
        asked: how many rows were.
        differing: the ids of those whose output came out otherwise.
    """

    asked: int
    differing: tuple[str, ...]


def replay(run: RunDir, rows: Path, count: int, beats: Heartbeats) -> Replayed:
    """Answer some rows again with the saved model, as the evaluation did, and compare.

    The rows lie evenly over the file, the longest prompt among them, so that the batches have the
    shape that they had: another shape sums in another order.

    Args:
        run: of an evaluation that ended well; nothing is written into it.
        rows: the file of rows that were answered.
        count: how many rows to ask.
        beats: of this child.
    """
    profile, record = run.read_profile(), read_record(run.evaluation, EvaluationRecord)
    candidate = _candidate("tuned", run.model)
    tokenizer = read_tokenizer(run.model, candidate.config)
    template = Template(profile.template, tokenizer, candidate.config)
    longest_prompt, columns = profile.evaluation.prompt_tokens, profile.data.columns.evaluation
    file = read_questions(rows, template, longest_prompt, columns)
    longest = max(range(len(file.rows)), key=lambda index: len(file.rows[index].tokens))
    step = max(1, len(file.rows) // count)
    chosen = sorted({longest, *range(0, len(file.rows), step)})[:count]
    chosen = chosen if longest in chosen else [*chosen[:-1], longest]
    asked = replace(file, rows=tuple(file.rows[index] for index in chosen))
    answered = _answer(candidate, profile, tokenizer, record.decoding, asked, beats, anywhere=True)
    told = {row.id: row.tuned_output for row in run.read_predictions()}
    pairs = zip(asked.rows, answered.outputs, strict=True)
    return Replayed(
        asked=len(chosen),
        differing=tuple(row.id for row, output in pairs if told.get(row.id) != output),
    )


def _trained_rows(data: DataTable) -> _TrainedRows:
    file = read_file(data.train, data.columns.train)
    prompts = (str(row.fields.get("prompt", "")) for row in file.rows)
    return _TrainedRows(sha256=file.sha256, prompts=KnownPrompts.of(prompts))


def _candidate(name: str, folder: Path) -> _Candidate:
    config = read_model_config(folder)
    require_finite(folder, config)
    return _Candidate(name=name, folder=folder, config=config)


def _answer(
    candidate: _Candidate,
    profile: Profile,
    tokenizer: Tokenizer,
    decoding: Decoding,
    file: TokenisedFile[Question],
    beats: Heartbeats,
    *,
    anywhere: bool = False,
) -> _Answers:
    """Decode all questions with one model; it leaves memory before the next is read.

    On the device of the contract, unless `anywhere` says that another does as well.
    """
    table, contract, config = profile.evaluation, profile.contract, candidate.config
    with beats.phase(f"read {candidate.name} model"):
        # Whoever decodes again elsewhere does it on one device: rows do not depend on others.
        mesh = None if anywhere else mesh_of(profile, config)
        model = _read(candidate, decoding, mesh)
        # Of what answers, not of the files: those can be exchanged before and after.
        weights_sha256 = model_digest(model, candidate.folder)
        device = device_of(jax.tree.leaves(nnx.state(model))[0])
        if not anywhere:
            require_device(device, f"{contract.platform}:{contract.device_kind}")
    outputs: list[str] = []
    generated = devices = 0
    with beats.phase(f"decode {candidate.name} model", total=len(file.rows)):
        prompts = [question.tokens for question in file.rows]
        rows = -(-table.batch_rows // profile.mesh.devices) * profile.mesh.devices
        for batch in prompt_batches(prompts, rows, table.prompt_tokens, config):
            tokens, counts = greedy_decode(
                model,
                spread_rows(batch.tokens, mesh),
                spread_rows(batch.lengths, mesh),
                max_new_tokens=decoding.max_new_tokens,
                stop_ids=(*decoding.stop_ids, *decoding.stop_text_ids),
                mesh=mesh,
            )
            device, devices = device_of(tokens), len(tokens.devices())
            for ids, count in zip(
                whole(tokens)[: batch.rows], whole(counts)[: batch.rows], strict=True
            ):
                said = [int(token) for token in ids[:count]]
                outputs.append(output_text(said, decoding, tokenizer))
                generated += int(count)
            beats.progress(len(outputs))
    return _Answers(
        weights_sha256=weights_sha256,
        device=device,
        devices=devices,
        outputs=tuple(outputs),
        generated_tokens=generated,
    )


def _read(candidate: _Candidate, decoding: Decoding, mesh: Mesh | None) -> Gemma:
    compute = jnp.dtype(decoding.precision)
    # In float32 the weights are widened once, not again for every token.
    dtype = jnp.promote_types(stored_dtype(candidate.folder, candidate.config), compute)
    return read_weights(
        candidate.folder,
        candidate.config,
        dtype,
        compute_dtype=compute,
        remat=False,
        placed=copied(mesh),
    )


def prompt_batches(
    prompts: Sequence[Ids], batch_rows: int, longest: int, config: GemmaConfig
) -> Iterator[PromptBatch]:
    """Pad prompts to batches of one shape, so that decoding is compiled once."""
    needed = max(len(prompt) for prompt in prompts)
    width = min(longest, -(-needed // _WIDTH_MULTIPLE) * _WIDTH_MULTIPLE)
    for start in range(0, len(prompts), batch_rows):
        group = prompts[start : start + batch_rows]
        tokens = np.full((batch_rows, width), config.pad_id, np.int32)
        # A row without a prompt decodes a lone BOS and is thrown away.
        tokens[:, 0] = config.bos_id
        lengths = np.ones(batch_rows, np.int32)
        for row, prompt in enumerate(group):
            lengths[row] = len(prompt)
            tokens[row, : lengths[row]] = prompt
        yield PromptBatch(tokens=tokens, lengths=lengths, rows=len(group))


def _prediction(
    question: Question, base: str, tuned: str, marker: str, trained: KnownPrompts
) -> Prediction:
    base_answer, tuned_answer = (answers.extract(output, marker) for output in (base, tuned))
    return Prediction(
        id=question.id,
        section=question.section,
        category=question.category,
        difficulty=question.difficulty,
        prompt=question.prompt,
        expected=question.expected,
        base_output=base,
        tuned_output=tuned,
        base_answer=base_answer,
        tuned_answer=tuned_answer,
        base_correct=answers.agree(question.expected, base_answer),
        tuned_correct=answers.agree(question.expected, tuned_answer),
        in_training_text=trained.has_text(question.prompt),
        in_training_template=trained.has_template(question.prompt),
    )


def _record(
    file: TokenisedFile[Question],
    decoding: Decoding,
    base: _Answers,
    tuned: _Answers,
    trained: _TrainedRows,
    beats: Heartbeats,
) -> EvaluationRecord:
    return EvaluationRecord(
        device=tuned.device if tuned.device == base.device else f"{base.device}, {tuned.device}",
        devices=min(base.devices, tuned.devices),
        base_weights_sha256=base.weights_sha256,
        model_sha256=tuned.weights_sha256,
        eval_rows_sha256=file.sha256,
        rows_in_file=len(file.rows),
        decoding=decoding,
        train_rows_sha256=trained.sha256,
        generated_tokens=base.generated_tokens + tuned.generated_tokens,
        phases=beats.phases,
        peak_host_bytes=peak_host_bytes(),
    )
