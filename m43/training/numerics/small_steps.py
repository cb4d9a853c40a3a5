"""Small steps: two optimizer steps of a small Gemma of each family, compared with float64.

What a run compiles is compiled here at a size that takes a second: `make_step` over `Gemma` with
the loss, the optimizer and the dtypes of a run.

How far right numbers lie apart. A rounding to bfloat16 is off by 2**-9 at most, by 0.11 % in the
root mean square. Behind the gradient of a weight lie some 50 of them one after the other (12 a
layer each way), so 0.8 %, and twice that where differences of a softmax's shares cancel. Another
device rounds at the same places or at fewer and adds up in another order, so it is as far off by
other numbers; a GPU's TF32 keeps three bits more than bfloat16. Over five draws of all weights, on
a CPU, the worst weight's gradient was off by 1.8 %, a loss by 0.07 %, an update along its gradient
(it forgives a sign where the gradient is next to nothing) by 0.3 %; all in float32 by 3e-6. The
contract allows 6 %, 0.2 % and 2 %: three to six times as much.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import PyTree

from m43.core import (
    Batch,
    Step,
    StepMetrics,
    TrainState,
    abstract_gemma,
    make_optimizer,
    make_schedule,
    make_step,
)
from m43.records import StepNumerics
from m43.training.numerics.small_gemma import (
    SMALL_STEPS,
    STEPS,
    Reference,
    SmallStep,
    WeightReference,
    batch,
    read_references,
    signs,
    weight,
)
from m43.training.trainer import MASTERS

_CHUNK = 18  # fewer rows than are supervised, and no multiple of 4: one branch to compile on a CPU


def take_small_steps() -> tuple[StepNumerics, ...]:
    """Take the steps of every family on the default device, and compare them with float64."""
    references = read_references()
    # One by one for a card, as a run is compiled. As one program for a CPU: its compiler emits a
    # kernel once, however often a program has it, which spares a quarter of its time.
    together = jax.default_backend() == "cpu"
    groups = (SMALL_STEPS,) if together else tuple((small,) for small in SMALL_STEPS)
    lowered = [lower(group) for group in groups]
    # Most of the time is the compiler's, which leaves Python to the others.
    with ThreadPoolExecutor(len(lowered)) as pool:
        compiled = list(pool.map(compile_small, lowered))
    taken = [each for pair in zip(lowered, compiled, strict=True) for each in take(*pair)]
    return tuple(
        compare(small, steps, references[small.config.family])
        for small, steps in zip(SMALL_STEPS, taken, strict=True)
    )


class _Kept(NamedTuple):
    """The optimizer's state, and the gradient that the step handed it."""

    gradient: PyTree
    state: optax.OptState


def _keeping_gradient(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    def init(params: optax.Params) -> _Kept:
        return _Kept(jax.tree.map(jnp.zeros_like, params), optimizer.init(params))

    def update(
        updates: optax.Updates, kept: _Kept, params: optax.Params | None = None
    ) -> tuple[optax.Updates, _Kept]:
        change, state = optimizer.update(updates, kept.state, params)
        return change, _Kept(updates, state)

    return optax.GradientTransformation(init, update)


class Lowered(NamedTuple):
    """The steps of some models, traced as one program, and what each begins with."""

    steps: jax.stages.Lowered
    states: tuple[TrainState, ...]
    frozen: tuple[PyTree, ...]


class _Begun(NamedTuple):
    """One model before its first step."""

    step: Step
    state: TrainState
    frozen: PyTree


def lower(smalls: Sequence[SmallStep], compute_dtype: jnp.dtype | type = jnp.bfloat16) -> Lowered:
    """Trace the steps of some models over the weights that they begin with."""
    begun = [_begin(small, compute_dtype) for small in smalls]
    states, frozen = tuple(each.state for each in begun), tuple(each.frozen for each in begun)

    def steps(
        states: tuple[TrainState, ...], frozen: tuple[PyTree, ...], fed: Batch
    ) -> list[tuple[TrainState, StepMetrics]]:
        return [
            each.step(state, rest, fed)
            for each, state, rest in zip(begun, states, frozen, strict=True)
        ]

    lowered = jax.jit(steps, donate_argnames="states").lower(states, frozen, batch())
    return Lowered(lowered, states, frozen)


def _begin(small: SmallStep, compute_dtype: jnp.dtype | type) -> _Begun:
    model = abstract_gemma(small.config, jnp.dtype(MASTERS), compute_dtype=compute_dtype)
    graphdef, *states = nnx.split(model, nnx.Param, ...)
    shapes, frozen = states
    arrays = [
        jnp.asarray(weight(name, leaf.shape), MASTERS) for name, leaf in named(shapes).items()
    ]
    optimizer = _keeping_gradient(make_optimizer(small.optimizer))
    state = TrainState.start(jax.tree.unflatten(jax.tree.structure(shapes), arrays), optimizer)
    step = make_step(graphdef, optimizer, make_schedule(small.optimizer), chunk=_CHUNK)
    return _Begun(step, state, frozen)


def compile_small(lowered: Lowered) -> jax.stages.Compiled:
    """Compile steps: for a card as a run does, for a CPU without LLVM's optimiser.

    With it the three take 18 s of a processor, and what is then looked for are errors of the
    card's compiler.
    """
    options: dict[str, str | bool] = {}
    if jax.default_backend() == "cpu":
        options["xla_backend_optimization_level"] = "0"
        if jax.__version_info__ < (0, 11):  # Later ones have no other emitters, and no such option.
            options["xla_cpu_use_fusion_emitters"] = False
    return lowered.steps.compile(options)


class Taken(NamedTuple):
    """What the steps gave, in float64: losses, and of the first step by the name of a weight."""

    losses_nats: tuple[float, ...]
    gradients: dict[str, np.ndarray]
    updates: dict[str, np.ndarray]


def take(lowered: Lowered, steps: jax.stages.Compiled) -> tuple[Taken, ...]:
    """Take the steps of every model, each with the state that the one before returned."""
    after = steps(lowered.states, lowered.frozen, batch())
    losses = [[_loss(metrics)] for _, metrics in after]
    # Copied before the next step takes them.
    gradients = [_copied(state.opt_state.gradient) for state, _ in after]
    weights = [_copied(state.params) for state, _ in after]
    for _ in range(1, STEPS):
        after = steps(tuple(state for state, _ in after), lowered.frozen, batch())
        for known, (_, metrics) in zip(losses, after, strict=True):
            known.append(_loss(metrics))
    return tuple(
        Taken(
            tuple(nats),
            gradient,
            {name: array - weight(name, array.shape) for name, array in changed.items()},
        )
        for nats, gradient, changed in zip(losses, gradients, weights, strict=True)
    )


def compare(small: SmallStep, taken: Taken, reference: Reference) -> StepNumerics:
    """Hold what was taken against float64, weight by weight."""
    gradients = {
        name: _gradient_error(name, taken.gradients[name], told)
        for name, told in reference.weights.items()
    }
    # Along the gradient: where that is next to nothing, the sign of its update is anybody's.
    updates = {
        name: abs(float(np.vdot(taken.updates[name], taken.gradients[name])) / told.descent - 1.0)
        for name, told in reference.weights.items()
    }
    gradient_worst, update_worst = _worst(gradients), _worst(updates)
    return StepNumerics(
        family=small.config.family,
        optimizer=small.optimizer.name,
        losses_nats=tuple(finite(loss) for loss in taken.losses_nats),
        reference_losses_nats=reference.losses_nats,
        gradient_relative_error=finite(gradients[gradient_worst]),
        gradient_worst=gradient_worst,
        update_relative_error=finite(updates[update_worst]),
        update_worst=update_worst,
    )


def named(tree: PyTree) -> dict[str, jax.Array]:
    """Return the leaves of a tree by the names of their places, such as layers.key.weight."""
    return {
        ".".join(str(part.key) for part in path if hasattr(part, "key")): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _copied(tree: PyTree) -> dict[str, np.ndarray]:
    return {name: np.array(leaf, np.float64) for name, leaf in named(tree).items()}


def _loss(metrics: StepMetrics) -> float:
    return float(metrics.loss_sum_nats) / int(metrics.supervised_tokens)


def _gradient_error(name: str, found: np.ndarray, told: WeightReference) -> float:
    differ = signs(name, found.size) @ found.ravel() - told.projections
    return float(np.sqrt(np.mean(np.square(differ))) / told.norm)


def finite(error: float) -> float:
    """JSON has no infinity and no NaN; what is not finite is as wrong as can be."""
    return error if np.isfinite(error) else float(np.finfo(np.float64).max)


def _worst(errors: Mapping[str, float]) -> str:
    return max(errors, key=lambda name: finite(errors[name]))
