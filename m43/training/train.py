"""The training run: from the pinned files and the rows to a saved model and its record."""

import functools
import gc
import hashlib
import socket
from dataclasses import dataclass
from pathlib import Path

import flax
import jax

from m43 import typed_json
from m43.core import GemmaConfig
from m43.records import (
    DataTable,
    DivergenceTable,
    DownloadRecord,
    LintRecord,
    MeshTable,
    PlanRecord,
    Profile,
    RunDir,
    TrainingProcess,
    TrainRecord,
    read_record,
    steps_sha256,
    write_atomically,
    write_record,
)
from m43.rows import is_parquet
from m43.training.data import PlannedBatch, TrainingData, parquet_lines, prepare_training_data
from m43.training.device import (
    bytes_in_use,
    compiled_folder,
    device_name,
    give_back_memory,
    keep_compiled,
    memory_bytes,
    peak_bytes,
    peak_host_bytes,
    require_device,
    require_memory,
)
from m43.training.meeting import own_facts, require_alike, told_by_all
from m43.training.mesh import mesh_of, settle_devices, shared
from m43.training.progress import Heartbeats
from m43.training.step_log import StepLog, TakenStep
from m43.training.trainer import Trainer, build_trainer, computing_device
from m43.training.weights import (
    count_left_out,
    count_moved,
    count_stored,
    read_model_config,
    require_finite,
    round_trip_digest,
    stored_dtypes,
    weights_digest,
    write_adapter,
    write_weights,
)

_SPOILT = "lower training.learning_rate: the last update spoilt the weights"


@dataclass(frozen=True, kw_only=True)
class _Base:
    """The model that training begins with, checked but not yet in memory."""

    folder: Path
    config: GemmaConfig
    config_sha256: str
    dtypes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Trained:
    """What is known of the training when its arrays are gone."""

    device: str
    devices: int
    mesh: MeshTable
    base_sha256: str
    parameters: int
    optimizer_steps: int


@dataclass(frozen=True, kw_only=True)
class _Saved:
    """What lies in the run folder after the last step."""

    architecture: str
    parameters: int
    model_sha256: str
    reloaded_sha256: str
    parameters_moved: int
    left_out_parameters: int


def run(run: RunDir, beats: Heartbeats) -> None:
    """Train as the locked profile says; `train.json` is written last, when all of it is true."""
    profile = run.read_profile()
    contract = profile.contract
    settle_devices(profile, contract.processes)
    own, within_s = run.of_process(jax.process_index()), profile.deadlines.silence_s
    compiled = compiled_folder(profile)
    if compiled is not None:
        keep_compiled(compiled)
    with beats.phase("device"):
        require_device(computing_device(), f"{contract.platform}:{contract.device_kind}")
        _require_planned_memory(run)
        beats.measure_device(lambda: max(map(bytes_in_use, jax.local_devices())))
    base = _check_base(read_record(run.download, DownloadRecord).folder, beats)
    with beats.phase("rows"):
        data = prepare_training_data(profile, base.folder, base.config)
        if own is run:
            _keep_rows(run, profile.data, data.lint)
            write_record(run.lint, data.lint)
        give_back_memory()
    facts = own_facts(run) | {"train_rows_sha256": data.file.sha256}
    # Here they wait for the slowest: what follows are computations of all.
    require_alike("facts", facts, within_s)
    with beats.phase("read weights"):
        trainer = build_trainer(profile, base.folder, base.config)
    _compile(trainer, data, beats)
    _take_steps(trainer, data, own.metrics, beats, profile.divergence)
    trained = _Trained(
        device=trainer.device,
        devices=trainer.devices,
        mesh=trainer.mesh,
        base_sha256=trainer.base_sha256,
        parameters=trainer.trained_parameters,
        optimizer_steps=trainer.steps,
    )
    _save(trainer, base, run, beats)
    told_by_all("saved", "", within_s)
    # The model that is read back takes the place of the one that was trained.
    del trainer
    gc.collect()
    give_back_memory()
    saved = _read_back(profile, base, run, beats)
    said = TrainingProcess(
        process=jax.process_index(),
        host=socket.gethostname(),
        devices=tuple(f"{each.id} {device_name(each)}" for each in jax.local_devices()),
        **facts,
        base_weights_sha256=trained.base_sha256,
        steps_sha256=steps_sha256(own.read_metrics()),
        reloaded_sha256=saved.reloaded_sha256,
        optimizer_steps=trained.optimizer_steps,
        peak_host_bytes=peak_host_bytes(),
    )
    processes = _said_by_all(said, within_s)
    if own is run:
        write_record(run.train, _record(profile, trained, base, data, saved, beats, processes))


def _said_by_all(said: TrainingProcess, within_s: float) -> tuple[TrainingProcess, ...]:
    read = typed_json.parse
    texts = told_by_all("ended", typed_json.dump_line(said), within_s)
    found = [read(TrainingProcess, text, f"process {n}")[0] for n, text in enumerate(texts)]
    return tuple(each for each in found if each is not None)


def _keep_rows(run: RunDir, data: DataTable, lint: LintRecord) -> None:
    """Keep rows of Parquet as they were read: whoever checks the run needs no reader of that."""
    for path, columns, digest, kept in (
        (data.train, data.columns.train, lint.train_rows_sha256, run.train_rows),
        (data.evaluation, data.columns.evaluation, lint.eval_rows_sha256, run.eval_rows),
    ):
        if is_parquet(path):
            write_atomically(kept, parquet_lines(path, columns, digest))


def _require_planned_memory(run: RunDir) -> None:
    """Hold what JAX got of a card against the plan; a CPU's memory is nobody's beforehand."""
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return
    plan = read_record(run.plan, PlanRecord).training
    if plan is not None:
        require_memory(memory_bytes(device), plan)


def _check_base(folder: Path, beats: Heartbeats) -> _Base:
    with beats.phase("check base model"):
        config = read_model_config(folder)
        require_finite(folder, config)
        return _Base(
            folder=folder,
            config=config,
            config_sha256=hashlib.sha256((folder / "config.json").read_bytes()).hexdigest(),
            dtypes=stored_dtypes(folder, config),
        )


def _compile(trainer: Trainer, data: TrainingData, beats: Heartbeats) -> None:
    first = {planned.length: planned for planned in reversed(data.plan)}
    for length in sorted(first):
        with beats.phase(f"compile {length} tokens"):
            trainer.compile(data.batch(first[length]))


def _take_steps(
    trainer: Trainer,
    data: TrainingData,
    metrics: Path,
    beats: Heartbeats,
    divergence: DivergenceTable,
) -> None:
    steps = len(data.plan)
    with beats.phase("train", total=steps), metrics.open("x", encoding="utf-8") as file:
        log = StepLog(file, beats, divergence=divergence)
        under_way: TakenStep | None = None
        for number, planned in enumerate(data.plan, start=1):
            taken = _take_step(trainer, number, planned, data)
            # Looked at one step late, so that the device never waits for this loop; a step that
            # went wrong is noticed before more than one other has followed it.
            if under_way is not None:
                log.finish(under_way)
            under_way = taken
        if under_way is not None:
            log.finish(under_way)


def _take_step(
    trainer: Trainer, number: int, planned: PlannedBatch, data: TrainingData
) -> TakenStep:
    batch = data.batch(planned)
    return TakenStep(
        step=number,
        metrics=trainer.step(batch),
        padded_tokens=batch.tokens.size,
        real_tokens=data.real_tokens(planned),
    )


def _save(trainer: Trainer, base: _Base, run: RunDir, beats: Heartbeats) -> None:
    profile = run.read_profile()
    contract, lora = profile.contract, profile.lora
    with beats.phase("save"):
        model = trainer.model()
        meet = functools.partial(told_by_all, text="", within_s=profile.deadlines.silence_s)
        several = contract.processes > 1
        write_weights(model, run.model, source=base.folder, meet=meet if several else None)
        # Adapters are small, and whole on every device.
        if lora is not None and jax.process_index() == 0:
            write_adapter(
                model,
                run.adapter,
                lora,
                repo=contract.repo,
                revision=contract.revision,
                beside=count_left_out(base.folder, base.config) > 0,
            )


def _read_back(profile: Profile, base: _Base, run: RunDir, beats: Heartbeats) -> _Saved:
    folder = run.model
    with beats.phase("read back"):
        # The last update is seen by no later loss, so its result is looked at here.
        require_finite(folder, base.config, action=_SPOILT)
        config = read_model_config(folder)
        return _Saved(
            architecture=config.architecture,
            parameters=count_stored(folder, config),
            model_sha256=weights_digest(folder),
            reloaded_sha256=round_trip_digest(
                folder, config, placed=shared(mesh_of(profile, config))
            ),
            parameters_moved=count_moved(base.folder, folder, base.config),
            left_out_parameters=count_left_out(base.folder, base.config),
        )


def _record(
    profile: Profile,
    trained: _Trained,
    base: _Base,
    data: TrainingData,
    saved: _Saved,
    beats: Heartbeats,
    processes: tuple[TrainingProcess, ...],
) -> TrainRecord:
    return TrainRecord(
        backend="jax",
        device=trained.device,
        devices=trained.devices,
        mesh=trained.mesh,
        jax_version=jax.__version__,
        flax_version=flax.__version__,
        repo_config_sha256=base.config_sha256,
        base_weights_sha256=trained.base_sha256,
        weights_dtypes=base.dtypes,
        model_sha256=saved.model_sha256,
        reloaded_sha256=saved.reloaded_sha256,
        method=profile.training.method,
        architecture=saved.architecture,
        parameters=saved.parameters,
        trained_parameters=trained.parameters,
        parameters_moved=saved.parameters_moved,
        optimizer_steps=trained.optimizer_steps,
        processes=processes,
        train_rows_sha256=data.file.sha256,
        rows_in_file=len(data.examples),
        rows_used=data.rows_used,
        epochs=data.rows_used / len(data.examples),
        phases=beats.phases,
        peak_host_bytes=processes[0].peak_host_bytes,
        peak_device_bytes=max(map(peak_bytes, jax.local_devices())),
        left_out_parameters=saved.left_out_parameters,
    )
