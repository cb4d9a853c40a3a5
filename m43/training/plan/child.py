"""The plan child: answers a request with a plan, and with settings that fit if it finds some."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import jax
from jaxtyping import PyTree

from m43 import typed_json
from m43.records import (
    Alternative,
    ColumnsTable,
    LoraTable,
    PlanRequest,
    Profile,
    TrainingPlan,
    read_record,
)
from m43.rows import Row, RowsError
from m43.training import child
from m43.training.child import CRASHED, FINISHED, STOPPED
from m43.training.data import read_file
from m43.training.device import give_back_memory, held_bytes
from m43.training.mesh import mesh_of, settle_devices
from m43.training.plan.devices import devices_of, measure_limits, place_on, read_target
from m43.training.plan.plan import Planned, make_plan
from m43.training.weights import declared_dtype, describes_more, read_model_config

MOST = 3
# The contract has the limit; alternatives are searched for that stay clear of it.
NEAR = 1.25
# Source: Hu et al. 2021, LoRA, table 6 (a rank of 16 is enough); alpha twice the rank.
_LORA = LoraTable(rank=16, alpha=32.0)


def is_near(plan: TrainingPlan) -> bool:
    """Return whether a plan comes near to the memory, or over it."""
    return NEAR * plan.peak_bytes > plan.limits.memory_bytes


def find_alternatives(
    profile: Profile, plan: Callable[[Profile], TrainingPlan]
) -> tuple[Alternative, ...]:
    """Plan cheaper and cheaper runs until three of them fit.

    The order is that of the price: first what only takes time, then what changes the optimizer,
    then the method, and last what the model is shown.
    """
    found: list[Alternative] = []
    for candidate in _candidates(profile):
        planned = plan(candidate)
        if not is_near(planned):
            settings = settings_changed(profile, candidate)
            found.append(Alternative(settings=settings, peak_bytes=planned.peak_bytes))
        if len(found) == MOST:
            break
    return tuple(found)


def _candidates(profile: Profile) -> Iterator[Profile]:
    training = profile.training
    kept = replace(profile, training=replace(training, remat=True))
    if not training.remat:
        yield kept
    parts = training.batch_rows
    if training.accumulate < parts:
        yield _with(kept, accumulate=parts)
    if training.method == "full" and training.optimizer == "adamw":
        yield _with(kept, optimizer="adafactor")
    if training.method == "full":
        yield replace(_with(kept, method="lora", optimizer="adamw"), lora=_LORA)
        # As a last resort of the method: one row at a time.
        one_row = _with(kept, method="lora", optimizer="adamw", accumulate=parts)
        yield replace(one_row, lora=_LORA)
    if training.batch_rows > 1:
        yield _with(kept, batch_rows=1, accumulate=1)
    if training.sequence_tokens > 1:
        yield _with(kept, sequence_tokens=training.sequence_tokens // 2, accumulate=parts)


def _with(profile: Profile, **changes: object) -> Profile:
    return replace(profile, training=replace(profile.training, **changes))  # type: ignore[arg-type]


def settings_changed(profile: Profile, other: Profile) -> tuple[str, ...]:
    """Return the settings of another profile that differ, as the profile's file has them.

    Example:
        training.remat = true
    """
    lines = [
        f"training.{name} = {_toml(value)}"
        for name, value in vars(other.training).items()
        if value != getattr(profile.training, name)
    ]
    if other.lora is not None and profile.lora is None:
        lines.append(f"lora.rank = {other.lora.rank}, lora.alpha = {_toml(other.lora.alpha)}")
    return tuple(lines)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


# What the training child imports beside what this one needs: its memory counts.
_TRAINING_IMPORTS = ("m43.training.train", "datasets", "transformers")


def answer(path: Path, out: TextIO) -> int:
    """Plan what a request asks for; print a `TrainingPlan`, or a `ChildError` that says why not."""
    try:
        _answer(read_record(path, PlanRequest), out)
    except Exception as error:  # noqa: BLE001 (whatever it was, its record must be left)
        out.write(typed_json.dump_line(child.describe(error, 0)))
        return STOPPED if child.is_foreseen(error) else CRASHED
    return FINISHED


def _answer(request: PlanRequest, out: TextIO) -> None:
    settle_devices(request.profile)
    folder = request.config_folder
    config, stored = read_model_config(folder), declared_dtype(folder)
    contract = request.profile.contract
    target = read_target(request.target) if request.target else None
    # Of several hosts' cards this process has its own alone; the compiler needs none of them.
    afar = target
    if target is None and contract.processes > 1 and contract.platform == "gpu":
        afar = read_target(contract.device_kind)
    devices = None if afar is None else devices_of(afar, contract.devices, contract.processes)
    place = _stays if devices is None else place_on(devices[0])
    mesh = mesh_of(request.profile, config, devices)
    limits = measure_limits() if target is None else target.limits
    on_host = target is None and jax.devices()[0].platform == "cpu"
    # As in the training, they stay in memory while the step is compiled.
    rows = hold_rows(request.profile) if on_host else ()
    give_back_memory()
    # Several processes count as of one host, as their devices do.
    process_bytes = contract.processes * held_bytes() if on_host else 0

    def plan(profile: Profile) -> TrainingPlan:
        return make_plan(
            Planned(
                profile=profile,
                config=config,
                stored=stored,
                limits=limits,
                place=place,
                mesh=mesh,
                process_bytes=process_bytes,
                multimodal=describes_more(folder),
            )
        )

    found = plan(request.profile)
    # At once: should the search take too long, this stands.
    out.write(typed_json.dump_line(found))
    out.flush()
    if is_near(found):
        alternatives = find_alternatives(request.profile, plan)
        out.write(typed_json.dump_line(replace(found, alternatives=alternatives)))
    del rows


def _stays(arguments: PyTree) -> PyTree:
    return arguments


def hold_rows(profile: Profile) -> tuple[Row, ...]:
    """Import what training imports and hold the rows as it does, as long as the result lives.

    Before a tokenizer is there; tokens are next to nothing. A file that training will refuse is
    not held.
    """
    for name in _TRAINING_IMPORTS:
        importlib.import_module(name)
    data = profile.data
    trained = _sound_rows(data.train, data.columns.train)
    return (*trained, *_sound_rows(data.evaluation, data.columns.evaluation))


def _sound_rows(path: Path, columns: ColumnsTable | None) -> tuple[Row, ...]:
    try:
        file = read_file(path, columns)
    except RowsError:
        return ()
    return () if file.problems else file.rows
