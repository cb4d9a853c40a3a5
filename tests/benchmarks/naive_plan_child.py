"""The child of test_cards that plans the loss as it is usually written: all logits at once."""

import sys
from pathlib import Path

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from m43.core import step
from m43.core.batch import Batch
from m43.core.gemma import Gemma
from m43.training.plan import child as plan_child


def naive_loss(
    model: Gemma, batch: Batch, *, chunk: int, weight: Float[Array, ""] | float = 1.0
) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Stand where `completion_loss` does, and hold the logits of the whole batch."""
    del chunk
    hidden = model.hidden(batch.tokens, batch.positions, batch.segments)
    losses = optax.softmax_cross_entropy_with_integer_labels(
        model.logits(hidden)[:, :-1], batch.tokens[:, 1:]
    )
    counted = batch.supervised[:, 1:]
    return jnp.sum(losses, where=counted) * weight, jnp.sum(counted)


if __name__ == "__main__":
    step.completion_loss = naive_loss
    sys.exit(plan_child.answer(Path(sys.argv[1]), sys.stdout))
