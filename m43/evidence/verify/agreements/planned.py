"""The plan held against what follows from it: the dimensions, the profile, the device, the hub.

What a compiler alone can know (temporaries, products) has bounds only.
"""

import math
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from m43.errors import Problem, differences, problem
from m43.evidence.run import LoadedRun
from m43.evidence.verify.agreements.model import Described, describe
from m43.records import (
    EVIDENCE_BYTES,
    PlanRecord,
    Profile,
    RunDir,
    StepPlan,
    TrainingPlan,
    VenvRecord,
)

_problem = partial(problem, action="")


def planned_model(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Work out the figures of the plan that follow from the dimensions, the profile, the device."""
    plan, profile, described = loaded_run.plan, loaded_run.profile, describe(run)
    if plan is None or profile is None or plan.training is None or isinstance(described, Problem):
        return
    training, where = plan.training, RunDir.plan.name
    yield from differences(_exact(training, profile, described), where, "")
    step = training.step
    stored = _state_bytes(training, profile) // step.devices
    least = {
        "arguments_bytes": (step.arguments_bytes, stored),
        "outputs_bytes": (step.outputs_bytes, step.aliased_bytes),
        "aliased_bytes": (step.aliased_bytes, 0),
        "temporaries_bytes": (step.temporaries_bytes, 1),
        "process_bytes": (training.process_bytes, 0),
        "compiling_bytes": (step.compiling_bytes, 0),
        "compiled_bytes": (step.compiled_bytes, 0),
        "products": (min(step.bfloat16_products, step.float32_products), 0),
        "logits_rows": (step.logits_rows, 1),
        "model_bytes": (training.model_bytes, 2 * training.parameters),
        "weights_bytes": (training.weights_bytes, 2 * training.parameters // step.devices),
        "read_back_bytes": (training.read_back_bytes, training.model_bytes // step.devices),
        "collectives": (min((each.size_bytes for each in step.collectives), default=1), 1),
    }
    for name, (found, bound) in least.items():
        if found < bound:
            yield _problem(f"{found:,}", f"{bound:,} at least", f"{where}, {name}")
    most = {
        "aliased_bytes": (step.aliased_bytes, step.arguments_bytes),
        "logits_rows": (step.logits_rows, step.positions),
        "model_bytes": (training.model_bytes, 4 * training.parameters),
        "weights_bytes": (training.weights_bytes, 4 * training.parameters),
        "read_back_bytes": (training.read_back_bytes, training.model_bytes),
        "outputs_bytes": (step.outputs_bytes, step.arguments_bytes + _MEASURED_BYTES),
    }
    for name, (found, bound) in most.items():
        if found > bound:
            yield _problem(f"{found:,}", f"{bound:,} at most", f"{where}, {name}")
    yield from _buffers(step)


# What a step returns beside its state: loss, norm and counts.
_MEASURED_BYTES = 1 << 16


def _state_bytes(training: TrainingPlan, profile: Profile) -> int:
    """Return the least that weights and optimizer take: float32, with AdamW's two moments."""
    moments = 2 if profile.training.optimizer == "adamw" else 0
    frozen = 0 if profile.lora is None else 2 * training.parameters
    return 4 * (1 + moments) * training.trained_parameters + frozen


def _exact(
    training: TrainingPlan, profile: Profile, described: Described
) -> dict[str, tuple[object, object]]:
    step, table, contract = training.step, profile.training, profile.contract
    full, positions = profile.lora is None, profile.training.batch_rows * table.sequence_tokens
    per_weight = 2 * positions * (3 if full else 2)
    readings = 3 if table.remat else 2
    flops = {part.part: part.flops for part in step.flops}
    pairs: dict[str, tuple[object, object]] = {
        "rows": (step.rows, table.batch_rows),
        "length": (step.length, table.sequence_tokens),
        "mesh": (step.mesh, profile.mesh),
        "steps": (training.steps, contract.optimizer_steps),
        "rows_used": (training.rows_used, contract.optimizer_steps * table.batch_rows),
        "state_bytes_moved": (
            step.state_bytes_moved,
            readings * training.weights_bytes + 2 * step.aliased_bytes,
        ),
        "flops, attention projections": (
            flops.get("attention projections"),
            per_weight * described.layers * described.projection_weights,
        ),
        "flops, feed-forward": (
            flops.get("feed-forward"),
            per_weight * described.layers * 3 * described.d_model * described.d_ff,
        ),
        "flops, head": (
            flops.get("head"),
            per_weight * described.vocab_size * described.d_model,
        ),
    }
    if full:
        pairs["adapter_bytes"] = (training.adapter_bytes, 0)
        pairs["trained_parameters"] = (training.trained_parameters, training.parameters)
    if step.devices == 1:
        # What a device holds of a model that is shared, depends on what each of them copies.
        pairs["read_back_bytes"] = (training.read_back_bytes, training.model_bytes)
        pairs["collectives"] = (step.collectives, ())
        if full:
            pairs["weights_bytes"] = (training.weights_bytes, 4 * training.parameters)
    on_cpu = training.limits.device.startswith("cpu:")
    largest = _largest_array(described) if full and on_cpu else 0
    pairs["reading_bytes"] = (training.reading_bytes, largest)
    return pairs


def _largest_array(described: Described) -> int:
    """Return the bytes of the largest array of float32 weights; the layers lie stacked."""
    queries = described.q_heads * described.head_dim
    stacked = described.layers * described.d_model * max(described.d_ff, queries)
    return 4 * max(described.vocab_size * described.d_model, stacked)


_ITEMS = {"bool": 1, "pred": 1, "bfloat16": 2, "bf16": 2}
_SIZED = re.compile(r"(?:f|s|u|c|float|int|uint|complex)(8|16|32|64|128)")


def _buffers(step: StepPlan) -> Iterator[Problem]:
    """Hold the size of each array against the shape in its name."""
    for buffer in step.buffers:
        dtype, bracket, rest = buffer.name.partition("[")
        axes, closing, _ = rest.partition("]")
        sized = _SIZED.fullmatch(dtype)
        item = int(sized[1]) // 8 if sized else _ITEMS.get(dtype, 0)
        known = bracket and closing and item
        if not known or not all(axis.isdigit() for axis in axes.split(",") if axis):
            continue
        size = math.prod(int(axis) for axis in axes.split(",") if axis) * item
        if size != buffer.size_bytes:
            where = f"{RunDir.plan.name}, buffers"
            yield _problem(f"{buffer.size_bytes:,} bytes of {buffer.name}", f"{size:,}", where)
    total = sum(buffer.size_bytes for buffer in step.buffers if buffer.name.startswith("float32"))
    if total > step.arguments_bytes:
        yield _problem(
            f"{total:,} bytes of arguments", f"{step.arguments_bytes:,}", RunDir.plan.name
        )


def planned_run(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold the plan against what the other gates found: the device, the hub, the training."""
    plan, auth, venv, train = loaded_run.plan, loaded_run.auth, loaded_run.venv, loaded_run.train
    if plan is None:
        return
    where = RunDir.plan.name
    if (plan.training is None) != bool(plan.reason) or bool(plan.reason) != bool(
        plan.failure_class
    ):
        yield _problem("a plan and a reason why there is none", "one of both", where)
    if auth is not None:
        yield from _disks(plan, sum(file.size_bytes for file in auth.files))
        described = [file for file in auth.files if file.name == "config.json"]
        if plan.config is not None and [plan.config] != described:
            yield _problem(f"{plan.config}", "config.json as in auth.json", f"{where}, config")
        size = plan.config.size_bytes if plan.config is not None else 0
        if plan.config_bytes_moved not in (0, size):
            found = f"{plan.config_bytes_moved:,} bytes of config.json moved"
            yield _problem(found, f"0 or {size:,}", where)
    if plan.training is None:
        return
    if venv is not None:
        yield from _limits(plan.training, venv)
    yield from _folders(loaded_run, plan)
    if train is not None:
        planned = plan.training
        pairs: dict[str, tuple[object, object]] = {
            "trained_parameters": (planned.trained_parameters, train.trained_parameters),
            "rows_in_file": (planned.rows_in_file, train.rows_in_file),
        }
        yield from differences(pairs, where, "", ", as in train.json")
        compiled = sum(phase.name.startswith("compile ") for phase in train.phases)
        if planned.compilations < compiled:
            found = f"{planned.compilations} compilations at most"
            yield _problem(found, f"{compiled}, which training took", where)


def _folders(loaded_run: LoadedRun, plan: PlanRecord) -> Iterator[Problem]:
    where = RunDir.plan.name
    fetched, process = loaded_run.download, loaded_run.train_child.process
    if fetched is not None and not fetched.cache.is_relative_to(plan.cache.folder):
        yield _problem(plan.cache.folder, f"what holds {fetched.cache}", f"{where}, cache.folder")
    if process is not None and not Path(process.command[-1]).is_relative_to(plan.run.folder):
        expected = f"what holds {process.command[-1]}"
        yield _problem(plan.run.folder, expected, f"{where}, run.folder")


def _disks(plan: PlanRecord, files_bytes: int) -> Iterator[Problem]:
    """Work out what each disk needs; on one disk each needs what both need together."""
    training, where = plan.training, RunDir.plan.name
    saved = EVIDENCE_BYTES + (training.model_bytes + training.adapter_bytes if training else 0)
    fetched = plan.download_bytes
    if not 0 <= fetched <= files_bytes:
        found = f"{fetched:,} bytes to fetch"
        yield _problem(found, f"{files_bytes:,} at most, as the hub told", where)
    needed = (plan.cache.needed_bytes, plan.run.needed_bytes)
    if needed not in ((fetched, saved), (fetched + saved, fetched + saved)):
        found = f"{needed[0]:,} and {needed[1]:,} bytes needed"
        expected = f"{fetched:,} to fetch and {saved:,} to save, or both together"
        yield _problem(found, expected, where)
    for disk in (plan.cache, plan.run):
        if disk.free_bytes < 0 or not disk.folder.startswith("/"):
            found = f"{disk.free_bytes:,} bytes free in {disk.folder!r}"
            yield _problem(found, "a place with room", where)


def _limits(training: TrainingPlan, venv: VenvRecord) -> Iterator[Problem]:
    limits, where = training.limits, f"{RunDir.plan.name}, limits"
    if limits.device != venv.device:
        yield _problem(limits.device, f"{venv.device}, as in venv.json", f"{where}.device")
    # What JAX tells of a card is its share; what the driver tells is all of it.
    whole = max((each.memory_bytes for each in venv.probe.devices), default=0)
    if limits.device.startswith("cpu:") and not 0 < limits.memory_bytes <= whole:
        found = f"{limits.memory_bytes:,} bytes free"
        yield _problem(found, f"{whole:,} at most, as in venv.json", f"{where}.memory_bytes")
    rates: Sequence[float] = (
        limits.flops_per_s,
        limits.bytes_per_s,
        limits.sustained_share,
        limits.link_bytes_per_s,
    )
    if min(rates) < 0 or limits.sustained_share > 1:
        found = f"{limits.flops_per_s:g} FLOP/s, {limits.bytes_per_s:g} B/s"
        yield _problem(found, "rates above 0, and a share of them", where)
