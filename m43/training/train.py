"""The training run: from the pinned files and the rows to a saved model and its record."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import flax
import jax
import jax.numpy as jnp

from m43.config import Profile
from m43.core.batch import check_batch
from m43.core.gemma_config import GemmaConfig
from m43.records import DownloadRecord, TrainRecord
from m43.run_dir import RunDir, read_record, write_record
from m43.training.batches import PlannedBatch, assemble, plan_batches
from m43.training.device import peak_bytes, peak_host_bytes, require_device
from m43.training.examples import ExamplesFile, read_examples
from m43.training.heartbeat import Heartbeats
from m43.training.model_config import read_model_config
from m43.training.reload import reloaded_digest
from m43.training.step_log import StepLog, TakenStep
from m43.training.tokenizer import read_tokenizer
from m43.training.trainer import Trainer, computing_device, optimizer_settings
from m43.training.weight_checks import count_moved, require_finite, stored_dtype
from m43.training.weights import read_weights, weights_digest, write_weights


@dataclass(frozen=True, kw_only=True)
class _Base:
    """The model that training begins with, checked but not yet in memory."""

    folder: Path
    config: GemmaConfig
    config_sha256: str
    weights_sha256: str


@dataclass(frozen=True, kw_only=True)
class _Lessons:
    """What is learnt, in which order."""

    file: ExamplesFile
    plan: tuple[PlannedBatch, ...] = field(repr=False)
    pad_id: int


@dataclass(frozen=True, kw_only=True)
class _Saved:
    """What lies in the run folder after the last step."""

    model_sha256: str
    reloaded_sha256: str
    parameters_moved: int


def run(run: RunDir, beats: Heartbeats) -> None:
    """Train as the locked profile says; `train.json` is written last, when all of it is true."""
    profile = run.read_profile()
    contract = profile.contract
    with beats.phase("device"):
        require_device(computing_device(), f"{contract.platform}:{contract.device_kind}")
    base = _check_base(read_record(run.download, DownloadRecord).folder, beats)
    with beats.phase("rows"):
        lessons = _prepare(profile, base, run.path)
    with beats.phase("read weights"):
        trainer = _start(profile, base)
    _compile(trainer, lessons, beats)
    _take_steps(trainer, lessons, run.metrics, beats)
    saved = _save(trainer, base, run.model, beats)
    write_record(run.train, _record(trainer, base, lessons, saved, beats))


def _check_base(folder: Path, beats: Heartbeats) -> _Base:
    with beats.phase("check base model"):
        config = read_model_config(folder)
        require_finite(folder, config)
        return _Base(
            folder=folder,
            config=config,
            config_sha256=hashlib.sha256((folder / "config.json").read_bytes()).hexdigest(),
            weights_sha256=weights_digest(folder),
        )


def _prepare(profile: Profile, base: _Base, scratch: Path) -> _Lessons:
    training = profile.training
    file = read_examples(
        profile.data.train,
        profile.template,
        read_tokenizer(base.folder, base.config),
        base.config,
        training.sequence_tokens,
        scratch,
    )
    plan = plan_batches(
        [len(example.tokens) for example in file.examples],
        steps=profile.contract.optimizer_steps,
        batch_rows=training.batch_rows,
        longest=training.sequence_tokens,
        seed=training.seed,
    )
    lessons = _Lessons(file=file, plan=plan, pad_id=base.config.pad_id)
    for planned in plan:
        check_batch(
            assemble(planned, file.examples, lessons.pad_id), vocab_size=base.config.vocab_size
        )
    return lessons


def _start(profile: Profile, base: _Base) -> Trainer:
    # float32 masters: most updates at small rates would be lost to bfloat16's rounding.
    model = read_weights(base.folder, base.config, jnp.float32, remat=profile.training.remat)
    settings = optimizer_settings(profile.training, profile.contract.optimizer_steps)
    return Trainer(model, settings)


def _compile(trainer: Trainer, lessons: _Lessons, beats: Heartbeats) -> None:
    first = {planned.length: planned for planned in reversed(lessons.plan)}
    for length in sorted(first):
        with beats.phase(f"compile {length} tokens"):
            trainer.compile(assemble(first[length], lessons.file.examples, lessons.pad_id))


def _take_steps(trainer: Trainer, lessons: _Lessons, metrics: Path, beats: Heartbeats) -> None:
    steps = len(lessons.plan)
    with beats.phase("train", total=steps), metrics.open("x", encoding="utf-8") as file:
        log = StepLog(file, beats)
        under_way: TakenStep | None = None
        for number, planned in enumerate(lessons.plan, start=1):
            taken = _take_step(trainer, number, planned, lessons)
            # Looked at one step late, so that the device never waits for this loop; a step that
            # went wrong is noticed before more than one other has followed it.
            if under_way is not None:
                log.finish(under_way)
            under_way = taken
        if under_way is not None:
            log.finish(under_way)


def _take_step(
    trainer: Trainer, number: int, planned: PlannedBatch, lessons: _Lessons
) -> TakenStep:
    batch = assemble(planned, lessons.file.examples, lessons.pad_id)
    return TakenStep(
        step=number,
        metrics=trainer.step(batch),
        padded_tokens=batch.tokens.size,
        real_tokens=_real_tokens(planned, lessons),
    )


def _real_tokens(planned: PlannedBatch, lessons: _Lessons) -> int:
    return sum(len(lessons.file.examples[index].tokens) for index in planned.examples)


def _save(trainer: Trainer, base: _Base, folder: Path, beats: Heartbeats) -> _Saved:
    dtype = stored_dtype(base.folder, base.config)
    with beats.phase("save"):
        write_weights(trainer.model(), folder, source=base.folder, dtype=dtype)
    with beats.phase("read back"):
        # The last update is seen by no later loss, so its result is looked at here.
        require_finite(folder, base.config)
        return _Saved(
            model_sha256=weights_digest(folder),
            reloaded_sha256=reloaded_digest(folder, read_model_config(folder), dtype),
            parameters_moved=count_moved(base.folder, folder, base.config),
        )


def _record(
    trainer: Trainer, base: _Base, lessons: _Lessons, saved: _Saved, beats: Heartbeats
) -> TrainRecord:
    used = _rows_used(lessons.plan)
    return TrainRecord(
        backend="jax",
        device=trainer.device,
        jax_version=jax.__version__,
        flax_version=flax.__version__,
        repo_config_sha256=base.config_sha256,
        base_weights_sha256=base.weights_sha256,
        model_sha256=saved.model_sha256,
        reloaded_sha256=saved.reloaded_sha256,
        parameters=trainer.parameters,
        parameters_moved=saved.parameters_moved,
        optimizer_steps=trainer.steps,
        train_rows_sha256=lessons.file.sha256,
        rows_in_file=len(lessons.file.examples),
        rows_used=used,
        epochs=used / len(lessons.file.examples),
        phases=beats.phases,
        peak_host_bytes=peak_host_bytes(),
        peak_device_bytes=peak_bytes(jax.devices()[0]),
    )


def _rows_used(plan: Sequence[PlannedBatch]) -> int:
    # Every use counts, so that a row used twice would show as more than one epoch.
    return sum(len(planned.examples) for planned in plan)
