"""The optimizer against AdamW and Adafactor written out in NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from m43.core.optimizer import (
    OptimizerSettings,
    OptimizerStateError,
    make_optimizer,
    make_schedule,
    optimizer_steps,
    step_count,
)

ADAMW = OptimizerSettings(
    name="adamw",
    learning_rate=0.1,
    warmup_steps=2,
    total_steps=4,
    end_learning_rate_ratio=0.0,
    weight_decay=0.5,
    beta1=0.9,
    beta2=0.95,
    eps=1e-8,
    clip_norm=1.0,
)
ADAFACTOR = dataclasses.replace(
    ADAMW, name="adafactor", beta1=0.0, beta2=0.8, eps=1e-30, weight_decay=0.0
)
RATES = [0.05, 0.1, 0.1, 0.05]


def test_schedule_by_hand() -> None:
    """Rise over the warm-up without a step of rate 0, then half a cosine, then the end rate."""
    schedule = make_schedule(ADAMW)
    assert [float(schedule(step)) for step in range(4)] == pytest.approx(RATES)
    assert float(schedule(1000)) == pytest.approx(0.0)
    half = make_schedule(dataclasses.replace(ADAMW, end_learning_rate_ratio=0.5))
    assert float(half(4)) == pytest.approx(0.05)


def test_schedule_without_warmup_starts_at_the_top() -> None:
    """No warm-up means the full rate at once."""
    schedule = make_schedule(dataclasses.replace(ADAMW, warmup_steps=0))
    assert float(schedule(0)) == pytest.approx(0.1)


def updates_of(settings: OptimizerSettings, params: dict, gradients: list[dict]) -> dict:
    """Apply every gradient in turn."""
    optimizer = make_optimizer(settings)
    state = optimizer.init(params)
    for gradient in gradients:
        change, state = optimizer.update(gradient, state, params)
        # What is added to bfloat16 weights is float32.
        with jax.numpy_dtype_promotion("standard"):
            params = optax.apply_updates(params, change)
    assert optimizer_steps(state) == int(step_count(state)) == len(gradients)
    return params


def test_adamw_equals_its_definition() -> None:
    """Four steps with clipping, decay of the matrix only, and the schedule's rates."""
    rng = np.random.default_rng(0)
    start = {"up": rng.normal(size=(3, 2)), "final_norm": rng.normal(size=2)}
    gradients = [{name: rng.normal(size=a.shape) for name, a in start.items()} for _ in RATES]
    expected = {name: array.copy() for name, array in start.items()}
    mean = dict.fromkeys(start, 0.0)
    square = dict.fromkeys(start, 0.0)
    for number, (rate, gradient) in enumerate(zip(RATES, gradients, strict=True), start=1):
        norm = np.sqrt(sum((array**2).sum() for array in gradient.values()))
        for name, array in gradient.items():
            clipped = array / max(1.0, norm)
            mean[name] = 0.9 * mean[name] + 0.1 * clipped
            square[name] = 0.95 * square[name] + 0.05 * clipped**2
            step = mean[name] / (1 - 0.9**number)
            step = step / (np.sqrt(square[name] / (1 - 0.95**number)) + 1e-8)
            decay = 0.5 * expected[name] if name == "up" else 0.0
            expected[name] = expected[name] - rate * (step + decay)
    as_jax = lambda tree: jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), tree)  # noqa: E731
    found = updates_of(ADAMW, as_jax(start), [as_jax(gradient) for gradient in gradients])
    for name in start:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)


def test_adamw_of_bfloat16_weights_computes_in_float32() -> None:
    """Means and weights are rounded once a step, and the change is made of the stored means."""
    rng = np.random.default_rng(1)
    rounded = lambda array: np.asarray(jnp.asarray(array, jnp.bfloat16), np.float64)  # noqa: E731
    weight = rounded(rng.normal(size=(4, 8)))
    gradients = [rounded(0.01 * rng.normal(size=weight.shape)) for _ in RATES]
    as_jax = lambda array: {"up": jnp.asarray(array, jnp.bfloat16)}  # noqa: E731
    found = updates_of(ADAMW, as_jax(weight), [as_jax(gradient) for gradient in gradients])
    mean = square = np.zeros_like(weight)
    for number, (rate, gradient) in enumerate(zip(RATES, gradients, strict=True), start=1):
        mean = rounded(0.9 * mean + 0.1 * gradient)
        square = rounded(0.95 * square + 0.05 * gradient**2)
        step = mean / (1 - 0.9**number) / (np.sqrt(square / (1 - 0.95**number)) + 1e-8)
        weight = rounded(weight - rate * (step + 0.5 * weight))
    # A float32 that lies between two bfloat16 may be rounded to the other one.
    np.testing.assert_allclose(np.asarray(found["up"], np.float64), weight, rtol=2**-7, atol=1e-3)


def test_adafactor_steps_by_the_rate_not_by_the_size_of_the_weights() -> None:
    """Weights of 100 and of 1 move equally far: by the rate, in a first step."""
    for size in (1.0, 100.0):
        params = {"up": jnp.full((4, 4), size)}
        moved = updates_of(ADAFACTOR, params, [{"up": jnp.full((4, 4), 0.01)}])
        np.testing.assert_allclose(params["up"] - moved["up"], RATES[0], rtol=1e-3)


def test_counters_that_disagree_are_refused() -> None:
    """A state put together from two runs does not get to say how many steps it took."""
    optimizer = make_optimizer(ADAMW)
    params = {"up": jnp.ones((2, 2))}
    fresh = optimizer.init(params)
    _, later = optimizer.update(params, fresh, params)
    mixed = (fresh[0], later[1], *fresh[2:])
    with pytest.raises(OptimizerStateError, match=r"counters \[1, 0\]"):
        optimizer_steps(mixed)
    with pytest.raises(OptimizerStateError, match="counter"):
        optimizer_steps(())
    with pytest.raises(OptimizerStateError, match="no step counter"):
        step_count(())
