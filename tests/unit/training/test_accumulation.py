"""Accumulated equals whole: on the bundled rows, in loss and in every gradient."""

import functools
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from m43.core.batch import Batch
from m43.core.gemma import Gemma, LoraSettings, add_adapters, projections
from m43.core.linear import AdapterWeight
from m43.core.step import Step, StepMetrics, TrainState, make_step
from m43.records import profile_check
from m43.rehearsal.toy_gemma import write_toy_gemma
from m43.training.data.batches import assemble, plan_batches
from m43.training.data.examples import read_examples
from m43.training.data.template import Template
from m43.training.data.tokenizer import read_tokenizer
from m43.training.weights.config_json import read_model_config
from m43.training.weights.read_write import read_weights

PROFILE = Path(__file__).parents[3] / "acceptance" / "rehearsal.toml"
ROWS, LENGTH = 8, 192
TARGETS = ("query", "key", "value", "output", "gate", "up", "down")


class Remembered(NamedTuple):
    """The state of an optimizer that changes nothing and keeps the gradient that it was given."""

    count: jax.Array
    gradient: optax.Params


REMEMBER = optax.GradientTransformation(
    lambda params: Remembered(jnp.int32(0), jax.tree.map(jnp.zeros_like, params)),
    lambda gradient, state, _: (
        jax.tree.map(jnp.zeros_like, gradient),
        Remembered(state.count + 1, gradient),
    ),
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy Gemma's folder."""
    folder = tmp_path_factory.mktemp("toy")
    write_toy_gemma(folder)
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["padded", "packed"])
def batch(
    request: pytest.FixtureRequest, toy: Path, tmp_path_factory: pytest.TempPathFactory
) -> Batch:
    """The first bundled training rows, as a rehearsal lays them out."""
    profile, gemma = profile_check.load(PROFILE), read_model_config(toy)
    folder = tmp_path_factory.mktemp("rows")
    with profile.data.train.open(encoding="utf-8") as file:
        (folder / "rows.jsonl").write_text("".join(islice(file, 8 * ROWS)), encoding="utf-8")
    template = Template(profile.template, read_tokenizer(toy, gemma), gemma)
    examples = read_examples(folder / "rows.jsonl", template, LENGTH).rows
    (planned,) = plan_batches(
        [len(example.tokens) for example in examples],
        steps=1,
        batch_rows=ROWS,
        longest=LENGTH,
        packing=request.param,
        seed=43,
    )
    # Padded or packed, of one length: their step is compiled once.
    return assemble(replace(planned, length=LENGTH), examples, gemma.pad_id)


def model_of(toy: Path, *, lora: bool) -> Gemma:
    """Read the toy to compute in float32, with adapters that already changed something."""
    gemma = read_model_config(toy)
    model = read_weights(toy, gemma, jnp.float32, compute_dtype=jnp.float32, remat=False)
    if lora:
        add_adapters(model, LoraSettings(rank=4, alpha=8.0, targets=TARGETS), seed=1)
        for projection in projections(model).values():
            shape = projection.adapter.b.shape
            projection.adapter.b[...] = jax.random.normal(jax.random.key(2), shape) * 0.05
    return model


def no_rate(_: jax.Array) -> jax.Array:
    """Be a schedule for an optimizer that only remembers."""
    return jnp.float32(0.0)


class Taken(NamedTuple):
    """A compiled step that changes nothing, and what it begins with."""

    step: Step
    params: nnx.State
    frozen: nnx.State


@functools.cache
def compiled(toy: Path, *, lora: bool, accumulate: int) -> Taken:
    """Make the step of a method once for all batches."""
    trained = AdapterWeight if lora else nnx.Param
    graphdef, params, frozen = nnx.split(model_of(toy, lora=lora), trained, ...)
    step = make_step(graphdef, REMEMBER, no_rate, chunk=32, accumulate=accumulate)
    return Taken(step, params, frozen)


def one_step(
    toy: Path, batch: Batch, *, lora: bool, accumulate: int
) -> tuple[StepMetrics, nnx.State]:
    """Take a step that changes nothing; give what it measured, and its gradient."""
    step, params, frozen = compiled(toy, lora=lora, accumulate=accumulate)
    # A step destroys the state that it is given.
    start = TrainState.start(jax.tree.map(jnp.copy, params), REMEMBER)
    state, metrics = step(start, frozen, batch)
    return metrics, state.opt_state.gradient


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_accumulated_is_whole_on_real_rows(toy: Path, batch: Batch, lora: bool) -> None:
    """Parts count different numbers of supervised tokens, and are weighted by them.

    To 1e-5 of the largest entry of each gradient: float32 sums in another order.
    """
    counts = np.asarray(batch.supervised).reshape(4, -1).sum(axis=1)
    whole, expected = one_step(toy, batch, lora=lora, accumulate=1)
    parts, found = one_step(toy, batch, lora=lora, accumulate=4)

    assert len(set(counts.tolist())) > 1
    assert int(parts.supervised_tokens) == int(whole.supervised_tokens) == counts.sum()
    assert float(parts.loss_sum_nats) == pytest.approx(float(whole.loss_sum_nats), rel=1e-6)
    assert float(parts.gradient_norm) == pytest.approx(float(whole.gradient_norm), rel=1e-5)
    for one, two in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        size = np.abs(one).max()
        assert size > 0
        np.testing.assert_allclose(two, one, rtol=0, atol=1e-5 * size)
