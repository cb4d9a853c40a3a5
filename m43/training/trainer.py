"""The trainer: a model, its optimizer and one compiled step for each padded length."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
from flax import nnx

from m43.core.batch import Batch
from m43.core.gemma import Gemma
from m43.core.optimizer import OptimizerSettings, optimizer_steps
from m43.core.step import StepMetrics, TrainState
from m43.profile import TrainingTable
from m43.training import blueprint
from m43.training.device import device_of, give_back_memory


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
    """Owns the only copy of the state: a step gives its memory away to the next.

    Args:
        model: as it is before the first step; not to be used afterwards.
        settings: of the optimizer.
        trained: which weights are trained; the others are frozen.
        accumulate: into how many parts the rows of a batch are cut.
    """

    def __init__(
        self,
        model: Gemma,
        settings: OptimizerSettings,
        *,
        trained: nnx.filterlib.Filter,
        accumulate: int,
    ) -> None:
        drawn = blueprint.draw(model, settings, trained=trained, accumulate=accumulate)
        self._graphdef, self._frozen = drawn.graphdef, drawn.frozen
        self._state = TrainState.start(drawn.params, drawn.optimizer)
        # It is compiled here, shape by shape, rather than at its first call: the plan of a run
        # and the time of a step must not contain a compilation.
        self._step = drawn.step
        self._compiled: dict[int, jax.stages.Compiled] = {}

    def lower(self, batch: Batch) -> jax.stages.Lowered:
        """Trace the step for batches of this shape, without compiling or taking it."""
        return self._step.lower(self._state, self._frozen, batch)

    def compile(self, batch: Batch) -> None:
        """Compile the step for batches of this shape, without taking it."""
        self._compiled[batch.tokens.shape[1]] = self.lower(batch).compile()
        give_back_memory()

    def step(self, batch: Batch) -> StepMetrics:
        """Take one optimizer step; what it measured may still be under way on the device."""
        compiled = self._compiled[batch.tokens.shape[1]]
        self._state, metrics = compiled(self._state, self._frozen, batch)
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

    def model(self) -> Gemma:
        """The model with the weights as they are now."""
        model: Gemma = nnx.merge(self._graphdef, self._state.params, self._frozen)
        return model

    def _leaves(self) -> Iterable[jax.Array]:
        return jax.tree.leaves(self._state.params)


def computing_device() -> str:
    """Run a computation where JAX runs them by default, and name that device."""
    return device_of(jax.jit(jnp.sum)(jnp.ones((8, 8))))
