"""Packed rows teach what the same rows teach apart: shown on bundled rows with the toy Gemma."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from m43.core.batch import Batch, check_batch
from m43.core.gemma import Gemma
from m43.core.step import completion_loss
from m43.records import profile_check as profiles
from m43.rehearsal.toy_gemma import write_toy_gemma
from m43.training.data.batches import PlannedBatch, assemble, plan_batches
from m43.training.data.examples import Example, read_examples
from m43.training.data.template import Template
from m43.training.data.tokenizer import read_tokenizer
from m43.training.weights.config_json import read_model_config
from m43.training.weights.read_write import read_weights

PROFILE = Path(__file__).parents[3] / "acceptance" / "rehearsal.toml"
ROWS, SEQUENCES, LENGTH = 40, 4, 192
# Sums of float32 in another order: seen 5e-8 in the loss and 6e-7 in the gradients.
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-6, 1e-5


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The toy in float32, bundled rows, and a packed batch of them."""

    model: Gemma
    examples: tuple[Example, ...]
    packed: PlannedBatch

    def batch(self, plan: PlannedBatch) -> Batch:
        """Lay a batch out."""
        return assemble(plan, self.examples, self.model.config.pad_id)

    def apart(self) -> Iterator[PlannedBatch]:
        """Plan the examples of the packed batch one by one, in one length to be compiled once."""
        for index in self.packed.examples:
            yield PlannedBatch(rows=((index,),), length=LENGTH)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Read the first bundled rows as a rehearsal does, and pack them."""
    folder = tmp_path_factory.mktemp("packed")
    write_toy_gemma(folder / "model")
    profile = profiles.load(PROFILE)
    lines = profile.data.train.read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "train.jsonl").write_text("".join(lines[:ROWS]), encoding="utf-8")
    config = read_model_config(folder / "model")
    template = Template(profile.template, read_tokenizer(folder / "model", config), config)
    examples = read_examples(folder / "train.jsonl", template, LENGTH).rows
    (packed,) = plan_batches(
        [len(each.tokens) for each in examples],
        steps=1,
        batch_rows=SEQUENCES,
        longest=LENGTH,
        packing=True,
        seed=43,
    )
    model = read_weights(
        folder / "model", config, jnp.float32, compute_dtype=jnp.float32, remat=False
    )
    return Bench(model=model, examples=examples, packed=packed)


def test_packing_changes_neither_loss_nor_gradient(bench: Bench) -> None:
    """Summed loss, count and gradient of packed rows are those of the rows one by one."""
    graphdef, weights = nnx.split(bench.model)
    measure = jax.jit(
        jax.value_and_grad(
            lambda weights, batch: completion_loss(nnx.merge(graphdef, weights), batch, chunk=32),
            has_aux=True,
        )
    )
    assert len(bench.packed.examples) > 2 * SEQUENCES
    check_batch(bench.batch(bench.packed), vocab_size=bench.model.config.vocab_size)

    (packed_loss, packed_count), packed_gradient = measure(weights, bench.batch(bench.packed))

    loss, count, gradient = 0.0, 0, jax.tree.map(jnp.zeros_like, weights)
    for plan in bench.apart():
        (one_loss, one_count), one_gradient = measure(weights, bench.batch(plan))
        loss, count = loss + float(one_loss), count + int(one_count)
        gradient = jax.tree.map(jnp.add, gradient, one_gradient)
    assert int(packed_count) == count
    assert float(packed_loss) == pytest.approx(loss, rel=LOSS_TOLERANCE)
    for found, expected in zip(
        jax.tree.leaves(packed_gradient), jax.tree.leaves(gradient), strict=True
    ):
        scale = float(jnp.abs(expected).max())
        assert float(jnp.abs(found - expected).max()) <= GRADIENT_TOLERANCE * scale


def test_one_segment_never_reaches_another(bench: Bench) -> None:
    """All tokens of one packed example changed: the others' logits keep every bit."""
    batch = bench.batch(bench.packed)
    segments = np.asarray(batch.segments)
    changed = segments[0] == 2
    tokens = np.asarray(batch.tokens).copy()
    tokens[0, changed] = (tokens[0, changed] + 7) % bench.model.config.vocab_size
    forward = nnx.jit(lambda model, batch: _logits(model, batch))

    before = np.asarray(forward(bench.model, batch))
    after = np.asarray(forward(bench.model, replace(batch, tokens=jnp.asarray(tokens))))

    others = segments != 0
    others[0] &= ~changed
    assert changed.any()
    assert others[0].any()
    np.testing.assert_array_equal(before[others], after[others])
    assert (before[0, changed] != after[0, changed]).any()


def _logits(model: Gemma, batch: Batch) -> jax.Array:
    return model.logits(model.hidden(batch.tokens, batch.positions, batch.segments))
