"""One step: what it changes, what it counts, what it reports."""

import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from m43.core.batch import Batch
from m43.core.gemma import Gemma
from m43.core.optimizer import OptimizerSettings, make_optimizer, make_schedule, optimizer_steps
from m43.core.step import Step, TrainState, completion_loss, make_step

SETTINGS = OptimizerSettings(
    name="adamw",
    learning_rate=0.02,
    warmup_steps=2,
    total_steps=20,
    end_learning_rate_ratio=0.1,
    weight_decay=0.0,
    beta1=0.9,
    beta2=0.95,
    eps=1e-8,
    clip_norm=1.0,
)
CHUNK = 4
NOTHING = nnx.State({})
"""The frozen weights of a model that is trained as a whole."""


@pytest.fixture(scope="module")
def compiled(toy: Gemma) -> Step:
    """Compile one step of the toy for the whole file."""
    graphdef = nnx.graphdef(toy)
    return make_step(graphdef, make_optimizer(SETTINGS), make_schedule(SETTINGS), chunk=CHUNK)


@pytest.fixture
def start(toy: Gemma) -> TrainState:
    """Copy the toy's weights: a step destroys the state that it is given."""
    copy = nnx.merge(nnx.graphdef(toy), jax.tree.map(jnp.copy, nnx.state(toy)))
    return TrainState.start(nnx.state(copy), make_optimizer(SETTINGS))


def test_steps_learn_the_batch(
    compiled: Step, start: TrainState, make_batch: Callable[..., Batch]
) -> None:
    """12 steps on one batch: the loss falls, and all three counts of steps agree."""
    state, losses, rates = start, [], []
    for _ in range(12):
        state, metrics = compiled(state, NOTHING, make_batch())
        losses.append(float(metrics.loss_sum_nats) / int(metrics.supervised_tokens))
        rates.append(float(metrics.learning_rate))
        assert bool(metrics.finite)
    assert losses[-1] < 0.5 * losses[0]
    assert rates == pytest.approx([float(make_schedule(SETTINGS)(step)) for step in range(12)])
    assert optimizer_steps(state.opt_state) == 12


def test_a_step_takes_the_gradient_of_the_mean(
    toy: Gemma, compiled: Step, start: TrainState, make_batch: Callable[..., Batch]
) -> None:
    """Loss, count and norm are those of the mean loss, and the update is the optimizer's."""
    batch = make_batch()
    graphdef, params = nnx.split(toy)

    @jax.jit
    @jax.grad
    def mean(params: nnx.State) -> jax.Array:
        total, count = completion_loss(nnx.merge(graphdef, params), batch, chunk=CHUNK)
        return total / count.astype(jnp.float32)

    gradient = mean(params)
    optimizer = make_optimizer(SETTINGS)
    change, _ = optimizer.update(gradient, optimizer.init(params), params)
    expected = optax.apply_updates(params, change)
    state, metrics = compiled(start, NOTHING, batch)
    assert float(metrics.gradient_norm) == pytest.approx(float(optax.tree.norm(gradient)), 1e-5)
    assert int(metrics.supervised_tokens) == 14
    # Adam divides by the gradient's own size: where that is tiny, rounding decides its sign.
    for one, two in zip(jax.tree.leaves(state.params), jax.tree.leaves(expected), strict=True):
        assert np.mean(np.isclose(one, two, rtol=1e-3, atol=1e-5)) > 0.999


def test_the_state_is_donated(
    compiled: Step, start: TrainState, make_batch: Callable[..., Batch]
) -> None:
    """No array of the old state is left: weights and moments exist once, not twice."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled(start, NOTHING, make_batch())
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((start.params, start.opt_state)))


def test_accumulation_changes_nothing(
    toy: Gemma, compiled: Step, start: TrainState, make_batch: Callable[..., Batch]
) -> None:
    """Two parts of one row, with different counts, give the step of the two rows together."""
    other = jax.tree.map(jnp.copy, start)
    accumulated = make_step(
        nnx.graphdef(toy),
        make_optimizer(SETTINGS),
        make_schedule(SETTINGS),
        chunk=CHUNK,
        accumulate=2,
    )
    (one, first), (two, second) = (
        compiled(start, NOTHING, make_batch()),
        accumulated(other, NOTHING, make_batch()),
    )
    assert float(first.gradient_norm) == pytest.approx(float(second.gradient_norm), rel=1e-4)
    assert float(first.loss_sum_nats) == pytest.approx(float(second.loss_sum_nats), rel=1e-5)
    assert int(first.supervised_tokens) == int(second.supervised_tokens)
    for left, right in zip(jax.tree.leaves(one.params), jax.tree.leaves(two.params), strict=True):
        assert np.mean(np.isclose(left, right, rtol=1e-3, atol=1e-5)) > 0.999


def test_a_spoilt_weight_is_reported(
    compiled: Step, start: TrainState, make_batch: Callable[..., Batch]
) -> None:
    """One infinite weight makes the step say that it is not finite."""
    spoilt = start.params["final_norm"][...].at[0].set(jnp.inf)
    start.params["final_norm"] = start.params["final_norm"].replace(spoilt)
    _, metrics = compiled(start, NOTHING, make_batch())
    assert not bool(metrics.finite)


def test_a_batch_without_completions_is_not_finite(
    compiled: Step, start: TrainState, make_batch: Callable[..., Batch]
) -> None:
    """A mean over nothing is reported, not taken for 0."""
    batch = make_batch()
    nothing = Batch(**vars(batch) | {"supervised": jnp.zeros_like(batch.supervised)})
    _, metrics = compiled(start, NOTHING, nothing)
    assert not bool(metrics.finite)


def test_frozen_weights_stay(toy: Gemma, make_batch: Callable[..., Batch]) -> None:
    """A filter chooses what is trained; the rest lies where it lay, bit for bit."""
    model = nnx.merge(nnx.graphdef(toy), jax.tree.map(jnp.copy, nnx.state(toy)))
    optimizer = make_optimizer(SETTINGS)
    graphdef, params, frozen = nnx.split(model, lambda path, _: "feed_forward" in path, ...)
    before = jax.tree.map(np.array, (params, frozen))
    step = make_step(graphdef, optimizer, make_schedule(SETTINGS), chunk=CHUNK)
    after, _ = step(TrainState.start(params, optimizer), frozen, make_batch())
    for one, two in zip(*map(jax.tree.leaves, (before[1], frozen)), strict=True):
        np.testing.assert_array_equal(one, two)
    for one, two in zip(*map(jax.tree.leaves, (before[0], after.params)), strict=True):
        assert np.all(one != two)
    assert len(jax.tree.leaves(after.params)) == 3
