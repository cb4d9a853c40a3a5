"""The blueprint of a step: what the trainer runs and the plan compiles, from one construction.

It is drawn from a model of arrays or from one of shapes alone, and cannot tell the difference: so
the step that is planned is the step that is taken.
"""

from dataclasses import dataclass, field
from typing import cast

import jax
import optax
from flax import nnx
from jaxtyping import PyTree

from m43.core.gemma import Gemma
from m43.core.optimizer import OptimizerSettings, make_optimizer, make_schedule
from m43.core.step import TrainState, make_step

# Rows of logits that exist at once. Completions are short: a batch seldom has more supervised
# tokens than this, and what the last chunk lacks is computed in vain.
CHUNK = 128


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """The step of a profile, and the weights that it is for.

    Attributes:
        params: the trained weights, arrays or shapes.
        frozen: the others.
    """

    graphdef: nnx.GraphDef = field(repr=False)
    params: PyTree = field(repr=False)
    frozen: PyTree = field(repr=False)
    optimizer: optax.GradientTransformation = field(repr=False)
    step: jax.stages.Wrapped = field(repr=False)

    def abstract_state(self) -> TrainState:
        """Give the state before the first step as shapes; nothing is allocated."""
        state: TrainState = jax.eval_shape(
            lambda params: TrainState.start(params, self.optimizer), self.params
        )
        return state


def draw(
    model: Gemma,
    settings: OptimizerSettings,
    *,
    trained: nnx.filterlib.Filter,
    accumulate: int,
    chunk: int = CHUNK,
) -> Blueprint:
    """Draw the step of a model.

    Args:
        model: of arrays or of shapes.
        settings: of the optimizer.
        trained: which weights are trained; the others are frozen.
        accumulate: into how many parts the rows of a batch are cut.
        chunk: rows of logits that exist at once.
    """
    optimizer = make_optimizer(settings)
    graphdef, *states = nnx.split(model, trained, ...)
    params, frozen = states
    step = make_step(
        graphdef, optimizer, make_schedule(settings), chunk=chunk, accumulate=accumulate
    )
    return Blueprint(
        graphdef=graphdef,
        params=params,
        frozen=frozen,
        optimizer=optimizer,
        step=cast("jax.stages.Wrapped", step),
    )
