"""One optimizer step: the loss of a batch, its gradient, the update; the state is donated."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, PyTree

from m43.core.batch import Batch
from m43.core.gemma import Gemma
from m43.core.loss import HeadSettings, weighted_loss
from m43.core.numerics import register_pytree
from m43.core.optimizer import step_count
from m43.core.sharding import FSDP, pin

DEFAULT_CHUNK = 512
"""Rows of logits that exist at once; 512 of 256 000 in float32 are 0.5 GB."""


def completion_loss(
    model: Gemma,
    batch: Batch,
    *,
    chunk: int = DEFAULT_CHUNK,
    weight: Float[Array, ""] | float = 1.0,
) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Sum the loss of every supervised token of a batch, and count them.

    Equal to the cross-entropy of the whole logits, the targets one place to the left. The hidden
    states that predict a supervised token are gathered to the front, and only as many chunks of
    them as there are get logits: the cost follows the completions, not the padding.

    Args:
        model: as trained, or with any part of it frozen.
        batch: rows of examples.
        chunk: how many rows of logits exist at once.
        weight: what the sum is multiplied by. To differentiate a mean, give 1 / count here
            rather than divide by it: that spares a pass over the gradient of the embedding.

    Units: nats, tokens.
    """
    arrays = jax.tree.map(jnp.asarray, batch)
    hidden, accumulator = model.hidden_and_accumulator(
        arrays.tokens, arrays.positions, arrays.segments
    )
    targets = arrays.tokens[:, 1:].reshape(-1)
    counted = arrays.supervised[:, 1:].reshape(-1)
    count = jnp.sum(counted)
    # Rounded up to whole chunks; places past the end gather zeros and scatter nowhere.
    size = -(-targets.size // chunk) * chunk
    (places,) = jnp.nonzero(counted, size=size, fill_value=targets.size)
    rows = hidden[:, :-1].reshape(targets.size, -1).at[places].get(mode="fill", fill_value=0)
    chosen = targets.at[places].get(mode="fill", fill_value=0)
    head = HeadSettings(
        final_softcap=model.config.final_softcap, compute_dtype=model.compute_dtype, chunk=chunk
    )
    table = jax.lax.stop_gradient(model.embedding[...])
    total = weighted_loss(
        head, rows, table, accumulator, chosen, count, jnp.asarray(weight, jnp.float32)
    )
    return total, count


@register_pytree
@dataclass(frozen=True, kw_only=True)
class TrainState:
    """The state of the training: what a step takes and returns.

    Attributes:
        params: the trained weights, the masters: float32 unless the model was read otherwise.
        opt_state: what the optimizer's moments and its count of steps.
    """

    params: PyTree
    opt_state: PyTree

    @classmethod
    def start(cls, params: PyTree, optimizer: optax.GradientTransformation) -> "TrainState":
        """Return the state of these weights before the first step."""
        return cls(params=params, opt_state=optimizer.init(params))


@register_pytree
@dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """What one step measured. Units: nats, tokens.

    Attributes:
        gradient_norm: global, of the mean loss, before clipping.
        finite: are the mean loss and the gradient norm finite, and is it a mean over anything?
            If not, the weights are spoilt.
    """

    loss_sum_nats: Float[Array, ""]
    supervised_tokens: Int[Array, ""]
    learning_rate: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    finite: Bool[Array, ""]


Step = Callable[[TrainState, PyTree, Batch], tuple[TrainState, StepMetrics]]
"""Takes the state, the frozen weights (an empty tree where all are trained) and a batch."""


def make_step(
    graphdef: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    *,
    chunk: int = DEFAULT_CHUNK,
    accumulate: int = 1,
    placed: TrainState | None = None,
) -> Step:
    """Compile a step that takes the gradient of the mean loss over supervised tokens.

    The state that goes in is donated: only the state that comes out may be used afterwards. The
    frozen weights are neither donated nor returned: memory that is aliased with NumPy would be
    copied before it is donated.

    Args:
        graphdef: the model without its weights, split into trained and frozen ones.
        optimizer: from `make_optimizer`.
        schedule: the one inside the optimizer; it is asked again only to report the rate.
        chunk: rows of logits that exist at once.
        accumulate: cut the rows of the batch into so many parts and add up their gradients;
            the result is the same, the activations of one part exist at a time.
        placed: on a mesh, the sharding of each array of the state, which stays where it is.
    """

    def mean_part(params: PyTree, frozen: PyTree, batch: Batch, weight: Array) -> Array:
        model = nnx.merge(graphdef, params, frozen)
        return completion_loss(model, batch, chunk=chunk, weight=weight)[0]

    def step(state: TrainState, frozen: PyTree, batch: Batch) -> tuple[TrainState, StepMetrics]:
        count = jnp.sum(jnp.asarray(batch.supervised)[:, 1:])
        tokens = count.astype(jnp.float32)
        differentiate = functools.partial(
            jax.value_and_grad(mean_part), state.params, frozen, weight=1.0 / tokens
        )
        if accumulate == 1:
            loss, gradient = differentiate(batch)
        else:
            loss, gradient = _accumulated(differentiate, state.params, batch, accumulate)
        norm = optax.tree.norm(gradient)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        metrics = StepMetrics(
            loss_sum_nats=loss * tokens,
            supervised_tokens=count,
            learning_rate=schedule(step_count(state.opt_state)),
            gradient_norm=norm,
            finite=jnp.isfinite(loss) & jnp.isfinite(norm) & (count > 0),
        )
        params = optax.apply_updates(state.params, updates)
        return TrainState(params=params, opt_state=opt_state), metrics

    if placed is None:
        return jax.jit(step, donate_argnames="state")
    everywhere = NamedSharding(jax.tree.leaves(placed)[0].mesh, PartitionSpec())
    return jax.jit(step, donate_argnames="state", out_shardings=(placed, everywhere))


def _accumulated(
    differentiate: Callable[[Batch], tuple[Array, PyTree]],
    params: PyTree,
    batch: Batch,
    parts: int,
) -> tuple[Array, PyTree]:
    """Accumulate loss and gradient over the parts of a batch, the gradients in float32."""
    cut = jax.tree.map(
        lambda rows: pin(rows.reshape(parts, -1, *rows.shape[1:]), None, FSDP), batch
    )
    zeros = jax.tree.map(lambda weight: jnp.zeros(weight.shape, jnp.float32), params)

    def add(total: tuple[Array, PyTree], part: Batch) -> tuple[tuple[Array, PyTree], None]:
        found = differentiate(part)
        return jax.tree.map(lambda one, two: one + two.astype(one.dtype), total, found), None

    total, _ = jax.lax.scan(add, (jnp.float32(0.0), zeros), cut)
    return total
