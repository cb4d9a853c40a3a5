"""The trainer: a model, its optimizer and one compiled step for each padded length.

A step is built from a model of arrays or from one of shapes alone, and cannot tell the
difference: so the step that is planned is the step that is taken.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jaxtyping import PyTree

from m43.core import (
    AdapterWeight,
    Batch,
    Gemma,
    GemmaConfig,
    LoraSettings,
    OptimizerSettings,
    StepMetrics,
    TrainState,
    add_adapters,
    make_optimizer,
    make_schedule,
    make_step,
    optimizer_steps,
    shardings,
)
from m43.records import LoraTable, MeshTable, Profile, TrainingTable
from m43.training.device import device_of, give_back_memory
from m43.training.mesh import mesh_of, rows_on, shapes_on, shared, spread, table_of
from m43.training.weights import PROJECTIONS, model_digest, read_weights

# Rows of logits that exist at once. Completions are short: a batch seldom has more supervised
# tokens than this, and the rest of the last chunk is padding.
CHUNK = 128


@dataclass(frozen=True, kw_only=True)
class BuiltStep:
    """The step of a profile, and the weights that it is for.

    Attributes:
        params: the trained weights, arrays or shapes.
        frozen: the others.
        mesh: that the step runs on; None for one device.
    """

    graphdef: nnx.GraphDef = field(repr=False)
    params: PyTree = field(repr=False)
    frozen: PyTree = field(repr=False)
    optimizer: optax.GradientTransformation = field(repr=False)
    step: jax.stages.Wrapped = field(repr=False)
    mesh: Mesh | None = None

    def abstract_state(self) -> TrainState:
        """Return the state before the first step as shapes; nothing is allocated."""
        return shapes_on(self.mesh, _abstract_state(self.params, self.optimizer))

    def abstract_frozen(self) -> PyTree:
        """Return the frozen weights as shapes."""
        return shapes_on(self.mesh, self.frozen)

    def start(self) -> TrainState:
        """Return the state before the first step, each array where it belongs."""
        if self.mesh is None:
            return TrainState.start(self.params, self.optimizer)
        placed = shardings(self.abstract_state(), self.mesh)
        initial = jax.jit(self.optimizer.init, out_shardings=placed.opt_state)
        params = jax.device_put(self.params, placed.params)
        return TrainState(params=params, opt_state=initial(params))

    def start_frozen(self) -> PyTree:
        """Return the frozen weights, each where it belongs."""
        if self.mesh is None:
            return self.frozen
        return jax.device_put(self.frozen, shardings(self.frozen, self.mesh))

    def lower(self, state: TrainState, frozen: PyTree, batch: Batch) -> jax.stages.Lowered:
        """Trace the step for arrays or shapes, without compiling or taking it."""
        with contextlib.nullcontext() if self.mesh is None else jax.set_mesh(self.mesh):
            return self.step.lower(state, frozen, batch)

    def spread(self, batch: Batch) -> Batch:
        """Put a batch where the step reads it."""
        return spread(batch, self.mesh)


def _abstract_state(params: PyTree, optimizer: optax.GradientTransformation) -> TrainState:
    state: TrainState = jax.eval_shape(lambda params: TrainState.start(params, optimizer), params)
    return state


def build_step(
    model: Gemma,
    settings: OptimizerSettings,
    *,
    trained: nnx.filterlib.Filter,
    accumulate: int,
    chunk: int = CHUNK,
    mesh: Mesh | None = None,
) -> BuiltStep:
    """Build the step of a model.

    Args:
        model: of arrays or of shapes.
        settings: of the optimizer.
        trained: which weights are trained; the others are frozen.
        accumulate: into how many parts the rows of a batch are cut.
        chunk: rows of logits that exist at once.
        mesh: of the devices that share the state; None for one device.
    """
    optimizer = make_optimizer(settings)
    graphdef, *states = nnx.split(model, trained, ...)
    params, frozen = states
    step = make_step(
        graphdef,
        optimizer,
        make_schedule(settings),
        chunk=chunk,
        accumulate=accumulate,
        placed=None if mesh is None else shardings(_abstract_state(params, optimizer), mesh),
    )
    return BuiltStep(
        graphdef=graphdef,
        params=params,
        frozen=frozen,
        optimizer=optimizer,
        step=cast("jax.stages.Wrapped", step),
        mesh=mesh,
    )


def optimizer_settings(table: TrainingTable, steps: int) -> OptimizerSettings:
    """Complete the profile's optimizer with what the papers that made it recommend.

    Source: Kingma and Ba 2014, Adam (beta1 0.9, eps 1e-8), with beta2 0.95 as is usual for
    language models (Touvron et al. 2023, Llama 2), since 300 steps are too few for a mean
    over 1000; Shazeer and Stern 2018, Adafactor (no momentum, decay 0.8, eps 1e-30).
    """
    adam = table.optimizer == "adamw"
    return OptimizerSettings(
        name=table.optimizer,
        learning_rate=table.learning_rate,
        warmup_steps=table.warmup_steps,
        total_steps=steps,
        end_learning_rate_ratio=table.end_learning_rate_ratio,
        weight_decay=table.weight_decay,
        beta1=0.9 if adam else 0.0,
        beta2=0.95 if adam else 0.8,
        eps=1e-8 if adam else 1e-30,
        clip_norm=table.clip_norm,
    )


class Trainer:
    """Own the only copy of the state: each step donates it to the next.

    Args:
        model: as it is before the first step; not to be used afterwards.
        settings: of the optimizer.
        trained: which weights are trained; the others are frozen.
        accumulate: into how many parts the rows of a batch are cut.
        mesh: of the devices that share the state; None for one device.
    """

    def __init__(
        self,
        model: Gemma,
        settings: OptimizerSettings,
        *,
        trained: nnx.filterlib.Filter,
        accumulate: int,
        mesh: Mesh | None = None,
    ) -> None:
        built = build_step(model, settings, trained=trained, accumulate=accumulate, mesh=mesh)
        self._graphdef, self._frozen = built.graphdef, built.start_frozen()
        self._state = built.start()
        # It is compiled here, shape by shape, rather than at its first call: the plan of a run
        # and the time of a step must not contain a compilation.
        self._built = replace(built, params=None, frozen=None)
        self._compiled: dict[int, jax.stages.Compiled] = {}
        # Of the weights that the model was read with; empty where it was not read from a folder.
        self.base_sha256 = ""

    def lower(self, batch: Batch) -> jax.stages.Lowered:
        """Trace the step for batches of this shape, without compiling or taking it."""
        return self._built.lower(self._state, self._frozen, rows_on(self._built.mesh, batch))

    def compile(self, batch: Batch) -> None:
        """Compile the step for batches of this shape, without taking it."""
        self._compiled[batch.tokens.shape[1]] = self.lower(batch).compile()
        give_back_memory()

    def step(self, batch: Batch) -> StepMetrics:
        """Take one optimizer step; what it measured may still be under way on the device."""
        compiled = self._compiled[batch.tokens.shape[1]]
        self._state, metrics = compiled(self._state, self._frozen, self._built.spread(batch))
        return metrics

    @property
    def steps(self) -> int:
        """The optimizer's own count of its updates."""
        return optimizer_steps(self._state.opt_state)

    @property
    def trained_parameters(self) -> int:
        """How many single weights are trained."""
        return sum(leaf.size for leaf in self._leaves())

    @property
    def device(self) -> str:
        """Where the trained weights lie, as platform:kind; all of them."""
        return ", ".join(sorted({device_of(leaf) for leaf in self._leaves()}))

    @property
    def devices(self) -> int:
        """On how many devices parts of the trained weights lie."""
        return len({device for leaf in self._leaves() for device in leaf.devices()})

    @property
    def mesh(self) -> MeshTable:
        """By which mesh they lie there; of the arrays themselves."""
        sharding = next(iter(self._leaves())).sharding
        return table_of(sharding.mesh if isinstance(sharding, NamedSharding) else None)

    def model(self) -> Gemma:
        """The model with the weights as they are now."""
        model: Gemma = nnx.merge(self._graphdef, self._state.params, self._frozen)
        return model

    def _leaves(self) -> Iterable[jax.Array]:
        return jax.tree.leaves(self._state.params)


def computing_device() -> str:
    """Run a computation where JAX runs them by default, and name that device."""
    return device_of(jax.jit(jnp.sum)(jnp.ones((8, 8))))


MASTERS = np.dtype(np.float32)
"""Of the weights that a run trains: most updates at small rates would be lost to bfloat16's
rounding."""


def build_trainer(
    profile: Profile,
    folder: Path,
    config: GemmaConfig,
    *,
    masters: np.dtype = MASTERS,
) -> Trainer:
    """Read the base model and make what the profile's method trains of it.

    Args:
        profile: says which method, and how.
        folder: of the base model.
        config: of the base model.
        masters: in which dtype weights are trained; the benchmarks train in bfloat16 beside
            others who do.
    """
    training, lora = profile.training, profile.lora
    full = profile.lora is None
    dtype = masters if full else None
    mesh = mesh_of(profile, config)
    model = read_weights(
        folder, config, dtype, remat=training.remat, donated=full, placed=shared(mesh)
    )
    # Of what was read, not of the files: those can be exchanged before and after.
    base_sha256 = model_digest(model, folder)
    if lora is not None:
        add_adapters(model, lora_settings(lora), seed=training.seed)
    trainer = Trainer(
        model,
        optimizer_settings(training, profile.contract.optimizer_steps),
        trained=_trained(profile),
        accumulate=training.accumulate,
        mesh=mesh,
    )
    trainer.base_sha256 = base_sha256
    give_back_memory()
    return trainer


def build_abstract_step(
    profile: Profile, config: GemmaConfig, stored: np.dtype, mesh: Mesh | None = None
) -> BuiltStep:
    """Build the very step that `build_trainer` compiles, of shapes alone, before a weight is read.

    Args:
        profile: says the method.
        config: of the model.
        stored: the dtype of the model's files.
        mesh: of the devices that it is for; None for one device.
    """
    training, lora = profile.training, profile.lora

    def build() -> Gemma:
        # What is frozen is not updated, and stays in the dtype of its files.
        dtype = MASTERS if lora is None else stored
        model = Gemma(config, rngs=nnx.Rngs(0), param_dtype=dtype, remat=training.remat)
        if lora is not None:
            add_adapters(model, lora_settings(lora), seed=training.seed)
        return model

    return build_step(
        nnx.eval_shape(build),
        optimizer_settings(training, profile.contract.optimizer_steps),
        trained=_trained(profile),
        accumulate=training.accumulate,
        mesh=mesh,
    )


def _trained(profile: Profile) -> nnx.filterlib.Filter:
    return nnx.Param if profile.lora is None else AdapterWeight


def lora_settings(table: LoraTable) -> LoraSettings:
    """Translate the profile's names of projections to the model's.

    Example:
        q_proj is query, gate_proj is gate.
    """
    names = {name.rpartition(".")[2]: leaf for name, (_, leaf) in PROJECTIONS.items()}
    targets = tuple(names[target] for target in table.targets)
    return LoraSettings(rank=table.rank, alpha=table.alpha, targets=targets)
