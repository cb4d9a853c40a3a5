"""The plan: the real step of a profile compiled from shapes alone, and what it will take."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import PyTree

from m43.core import Batch, GemmaConfig, abstract_gemma
from m43.errors import M43Error
from m43.records import Buffer, Limits, PartFlops, Profile, StepPlan, TrainingPlan
from m43.rows import is_parquet
from m43.training.data import LENGTH_MULTIPLE, MOST_LENGTHS, count_parquet
from m43.training.device import measured
from m43.training.mesh import rows_on, shapes_on
from m43.training.plan.flops import adapter_weights, flops_per_token
from m43.training.plan.hlo import Module, read_module
from m43.training.trainer import BuiltStep, build_abstract_step, lora_settings

_LARGEST = 8
# Forward, backward, and with remat forward again: how often a step reads every weight.
_READINGS, _REMAT_READINGS = 2, 3


class NotAnalysedError(M43Error):
    """A backend that does not say what a compiled step takes."""


Placed = Callable[[PyTree], PyTree]
"""Places shapes on the device that a step is compiled for."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What is planned, and for which device.

    Attributes:
        config: of the model.
        stored: the dtype of its files.
        limits: of the device.
        place: where its arrays lie; on a mesh they know it.
        mesh: of the devices that share the state; None for one device.
        process_bytes: what the process holds before it reads a weight; on a card 0.
        multimodal: whether the model's folder has other parts, which are left out.
    """

    profile: Profile
    config: GemmaConfig
    stored: np.dtype
    limits: Limits
    place: Placed
    process_bytes: int
    mesh: Mesh | None = None
    multimodal: bool = False


def make_plan(planned: Planned) -> TrainingPlan:
    """Compile the step of the longest batch that the profile admits, and write down what it takes.

    The rows are not read as tokens here: the tokenizer comes with the weights. So no real batch is
    longer than the one that is planned.
    """
    profile, config = planned.profile, planned.config
    training = profile.training
    built = build_abstract_step(profile, config, planned.stored, planned.mesh)
    weights = (built.abstract_state().params, built.abstract_frozen())
    step = plan_step(planned, built)
    lora = None if profile.lora is None else lora_settings(profile.lora)
    # Adapters are float32 wherever they lie.
    adapters = 0 if lora is None else 4 * adapter_weights(config, lora)
    rows = count_rows(profile.data.train)
    return TrainingPlan(
        limits=planned.limits,
        architecture=config.architecture,
        multimodal=planned.multimodal,
        parameters=config.parameters,
        trained_parameters=sum(leaf.size for leaf in jax.tree.leaves(built.params)),
        step=step,
        process_bytes=planned.process_bytes,
        read_back_bytes=_read_back_bytes(planned),
        model_bytes=config.parameters * planned.stored.itemsize,
        adapter_bytes=adapters,
        steps=profile.contract.optimizer_steps,
        rows_in_file=rows,
        rows_used=profile.contract.optimizer_steps * training.batch_rows,
        alternatives=(),
        weights_bytes=size_bytes(weights),
        reading_bytes=_reading_bytes(planned, built),
        compilations=min(MOST_LENGTHS, -(-training.sequence_tokens // LENGTH_MULTIPLE)),
    )


def _reading_bytes(planned: Planned, built: BuiltStep) -> int:
    """Return the size of the largest array that is copied while it is read.

    Those that are trained are, on a CPU: see `read_weights`, donated.
    """
    leaves = jax.tree.leaves(built.params)
    if planned.profile.lora is not None or not planned.limits.device.startswith("cpu:"):
        return 0
    return max(size_bytes(leaf) for leaf in leaves)


def _read_back_bytes(planned: Planned) -> int:
    """Return what a device holds of the saved model, which is read as the base model was."""
    if planned.mesh is None:
        return planned.config.parameters * planned.stored.itemsize
    _, weights = nnx.split(abstract_gemma(planned.config, planned.stored))
    return size_bytes(shapes_on(planned.mesh, weights))


def plan_step(planned: Planned, built: BuiltStep) -> StepPlan:
    """Compile a step and read what XLA reports about it."""
    training = planned.profile.training
    state, frozen = built.abstract_state(), built.abstract_frozen()
    batch = abstract_batch(training.batch_rows, training.sequence_tokens)
    arguments = (state, frozen, rows_on(planned.mesh, batch))
    if planned.mesh is None:
        arguments = planned.place(arguments)
    processes = planned.profile.contract.processes
    compiled, taken = measured(lambda: built.lower(*arguments).compile())
    memory, text = compiled.memory_analysis(), compiled.as_text()
    if memory is None or text is None:
        raise NotAnalysedError(
            found="a compiled step without its sizes",
            expected="what XLA tells of every backend that m43 knows",
            where=planned.limits.device,
            action="plan for the CPU or a CUDA card",
        )
    module = read_module(text)
    products = module.products()
    float32 = sum(count for dtypes, count in products.items() if set(dtypes) == {"f32"})
    weights = (state.params, frozen)
    return StepPlan(
        rows=training.batch_rows,
        length=training.sequence_tokens,
        arguments_bytes=memory.argument_size_in_bytes,
        outputs_bytes=memory.output_size_in_bytes,
        aliased_bytes=memory.alias_size_in_bytes,
        temporaries_bytes=memory.temp_size_in_bytes,
        float32_products=float32,
        bfloat16_products=products["bf16", "bf16"],
        logits_rows=logits_rows(module, planned.config, planned.profile.mesh.devices),
        flops=step_flops(planned.profile, planned.config),
        state_bytes_moved=state_bytes_moved(
            size_bytes(weights), memory.alias_size_in_bytes, remat=training.remat
        ),
        buffers=(*_arguments(state, frozen), *module.buffers()[:_LARGEST]),
        # On one host each of several processes compiles for itself.
        compiling_bytes=processes * taken.most_bytes,
        compiled_bytes=processes * taken.kept_bytes,
        mesh=planned.profile.mesh,
        collectives=() if _is_untold(planned) else module.collectives(),
    )


def _is_untold(planned: Planned) -> bool:
    """Return whether the compiled step has no collectives, or none that its text tells.

    For a TPU, XLA cuts them into pieces between the products, and repeats them in each fusion.
    """
    return planned.mesh is None or planned.limits.device.startswith("tpu:")


def abstract_batch(rows: int, length: int) -> Batch:
    """Return a batch of shapes."""
    numbers = jax.ShapeDtypeStruct((rows, length), jnp.int32)
    marks = jax.ShapeDtypeStruct((rows, length), jnp.bool_)
    return Batch(tokens=numbers, positions=numbers, segments=numbers, supervised=marks)


def step_flops(profile: Profile, config: GemmaConfig) -> tuple[PartFlops, ...]:
    """Count the model FLOPs of the planned step, as if every position were supervised."""
    training = profile.training
    lora = None if profile.lora is None else lora_settings(profile.lora)
    parts = flops_per_token(config, training.sequence_tokens, lora)
    positions = training.batch_rows * training.sequence_tokens
    return tuple(PartFlops(part=each.part, flops=positions * each.flops) for each in parts)


def state_bytes_moved(weights: int, state: int, *, remat: bool) -> int:
    """Return the least memory traffic of weights and optimizer in a step (roofline bound).

    Every weight is read forward and backward (and forward again with remat), and the state is read
    and written. A model that is worth a plan is larger than any cache.

    Units: bytes.
    """
    return (_REMAT_READINGS if remat else _READINGS) * weights + 2 * state


def logits_rows(module: Module, config: GemmaConfig, devices: int = 1) -> int:
    """Return how many rows of logits the compiled step holds at once, at most.

    They may lie as rows of the whole vocabulary, or as blocks of it: [blocks, ..., ids of one].
    On a mesh each device has its share of the vocabulary, of every row.
    """
    rows, vocabulary = [1], config.vocab_size // devices
    for array, _ in module.written():
        shape = list(array.shape)
        if vocabulary in shape:
            shape.remove(vocabulary)
            # [V, D] is the embedding or its gradient.
            if config.d_model not in shape:
                rows.append(math.prod(shape))
        elif len(shape) > 2 and shape[0] * shape[-1] == vocabulary:
            rows.append(math.prod(shape[1:-1]))
    return max(rows)


def size_bytes(tree: PyTree) -> int:
    """Sum the bytes of all arrays of a tree; where they lie on a mesh, of one device's shares."""
    return sum(map(_bytes_here, jax.tree.leaves(tree)))


def _shape_here(leaf: jax.ShapeDtypeStruct) -> tuple[int, ...]:
    sharding = getattr(leaf, "sharding", None)
    return leaf.shape if sharding is None else sharding.shard_shape(leaf.shape)


def _bytes_here(leaf: jax.ShapeDtypeStruct) -> int:
    return math.prod(_shape_here(leaf)) * leaf.dtype.itemsize


def count_rows(path: Path) -> int:
    """Count the rows of a file; blank lines are none, and a missing file has none.

    Whether the rows are good, the training says; it reads them all before its first step.
    """
    if not path.is_file():
        return 0
    if is_parquet(path):
        return count_parquet(path)
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def _arguments(state: PyTree, frozen: PyTree) -> Iterable[Buffer]:
    leaves = jax.tree_util.tree_leaves_with_path({"state": state, "frozen": frozen})
    named = [
        Buffer(name=_argument_name(path, leaf), size_bytes=_bytes_here(leaf))
        for path, leaf in leaves
    ]
    return sorted(named, key=lambda buffer: (-buffer.size_bytes, buffer.name))[:_LARGEST]


def _argument_name(path: tuple[object, ...], leaf: jax.ShapeDtypeStruct) -> str:
    shape = ",".join(map(str, _shape_here(leaf)))
    name = jax.tree_util.keystr(path, simple=True, separator=".")
    return f"{leaf.dtype}[{shape}] {name.removesuffix('.value')}"
