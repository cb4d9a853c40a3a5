"""LoRA: nothing changes at first, what changes is what was defined, and the base stays put."""

import functools
import math
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx

from m43.core.batch import Batch
from m43.core.config import GemmaConfig
from m43.core.gemma import Gemma, LoraSettings, abstract_gemma, add_adapters, projections
from m43.core.linear import Adapter, AdapterWeight
from m43.core.optimizer import OptimizerSettings, make_optimizer, make_schedule
from m43.core.step import Step, TrainState, completion_loss, make_step
from m43.harness.process.xla_flags import XLA_FLAGS_ON_CPU
from tests.unit.fast_compile import FUSION, fast_flags

ALL = ("query", "key", "value", "output", "gate", "up", "down")
SETTINGS = LoraSettings(rank=3, alpha=6.0, targets=ALL)
MakeModel = Callable[..., Gemma]
MakeConfig = Callable[..., GemmaConfig]
LogitsOf = Callable[..., np.ndarray]


def learnt(model: Gemma, settings: LoraSettings = SETTINGS) -> Gemma:
    """Add adapters whose second matrix is no longer 0."""
    add_adapters(model, settings, seed=1)
    rng = np.random.default_rng(2)
    for projection in projections(model).values():
        if projection.adapter is not None:
            b = projection.adapter.b
            b[...] = jnp.asarray(rng.normal(size=b.shape) * 0.3, jnp.float32)
    return model


def merged(model: Gemma) -> Gemma:
    """Rebuild a model with its adapters inside its matrices."""
    _, adapters, weights = nnx.split(model, AdapterWeight, ...)
    del adapters
    plain = abstract_gemma(model.config, compute_dtype=model.compute_dtype)
    whole = nnx.merge(nnx.graphdef(plain), weights, copy=True)
    for name, projection in projections(whole).items():
        stack = [projections(model)[name].merged(layer) for layer in range(model.config.layers)]
        projection.weight[...] = jnp.stack(stack)
    return whole


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_before_the_first_step_the_answers_are_the_bases_bit_for_bit(
    make_model: MakeModel, make_config: MakeConfig, logits_of: LogitsOf, dtype: type
) -> None:
    """The second matrix of every adapter is 0."""
    config = make_config(qk_norm=True, post_norms=True)
    base = make_model(config, param_dtype=dtype, compute_dtype=dtype)
    adapted = make_model(config, param_dtype=dtype, compute_dtype=dtype)
    ids = np.arange(1, 13)[None, :]
    add_adapters(adapted, SETTINGS, seed=1)
    one, two = (logits_of(model, ids, ids - 1, ids * 0 + 1) for model in (base, adapted))
    assert one.tobytes() == two.tobytes()
    assert np.abs(one).max() > 0


def test_an_adapter_adds_the_scaled_product_of_its_matrices() -> None:
    """Against NumPy in float64, and against its own merged matrix."""
    adapter = Adapter((2, 5, 7), rank=3, scale=0.7, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    adapter.b[...] = jnp.asarray(rng.normal(size=(2, 5, 3)), jnp.float32)
    a, b = np.float64(adapter.a[...][1]), np.float64(adapter.b[...][1])
    weight, inputs = rng.normal(size=(5, 7)), rng.normal(size=(1, 4, 7))
    whole = adapter.merged(jnp.asarray(weight, jnp.float32), 1)
    np.testing.assert_allclose(whole, weight + 0.7 * b @ a, rtol=1e-5, atol=1e-6)
    one = nnx.merge(nnx.graphdef(adapter), jax.tree.map(lambda leaf: leaf[1], nnx.state(adapter)))
    added = one(jnp.asarray(inputs, jnp.float32), jnp.dtype("float32"))
    np.testing.assert_allclose(added, 0.7 * inputs @ a.T @ b.T, rtol=1e-5, atol=1e-5)


def test_where_nothing_was_learnt_a_merged_weight_keeps_its_bits() -> None:
    """Also the sign of zero."""
    adapter = Adapter((1, 2, 2), rank=1, scale=1.0, rngs=nnx.Rngs(0))
    weight = np.array([[-0.0, 0.0], [1.25, -3.0]], ml_dtypes.bfloat16)
    found = np.asarray(adapter.merged(jnp.asarray(weight), 0)).astype(ml_dtypes.bfloat16)
    assert found.tobytes() == weight.tobytes()


def test_a_merged_model_answers_as_the_adapted_one(
    make_model: MakeModel, make_config: MakeConfig, logits_of: LogitsOf
) -> None:
    """All seven projections, every layer its own adapter."""
    base, adapted = make_model(make_config()), learnt(make_model(make_config()))
    ids = np.arange(1, 13)[None, :]
    untouched, beside, inside = (
        logits_of(model, ids, ids - 1, ids * 0 + 1) for model in (base, adapted, merged(adapted))
    )
    np.testing.assert_allclose(beside, inside, rtol=1e-4, atol=1e-4)
    assert np.abs(beside - untouched).max() > 0.1


def test_adapters_get_the_gradient_that_the_chain_rule_gives_them(
    make_model: MakeModel, make_config: MakeConfig, make_batch: Callable[..., Batch]
) -> None:
    """From the gradient G of the merged matrix: scale * B.T @ G and scale * G @ A.T."""
    model, batch = learnt(make_model(make_config())), make_batch()

    def gradient(model: Gemma, trained: type) -> nnx.State:
        graphdef, params, rest = nnx.split(model, trained, ...)

        @jax.jit
        @jax.grad
        def loss(params: nnx.State) -> jax.Array:
            return completion_loss(nnx.merge(graphdef, params, rest), batch, chunk=4)[0]

        return loss(params)

    found, whole = gradient(model, AdapterWeight), gradient(merged(model), nnx.Param)
    for part, name in (("attention", "query"), ("attention", "output"), ("feed_forward", "down")):
        adapter = projections(model)[name].adapter
        assert adapter is not None
        of_whole = whole["layers"][part][name]["weight"][...]
        ours = found["layers"][part][name]["adapter"]
        close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-3)
        close(ours["a"][...], 2.0 * jnp.einsum("lor,loi->lri", adapter.b[...], of_whole))
        close(ours["b"][...], 2.0 * jnp.einsum("loi,lri->lor", of_whole, adapter.a[...]))


def test_adapters_are_float32_beside_a_bfloat16_base(
    make_model: MakeModel, make_config: MakeConfig
) -> None:
    """Drawn with deviation 1 / sqrt(inputs), every layer its own; the second matrix is 0."""
    model = make_model(make_config(d_model=256), param_dtype=jnp.bfloat16)
    add_adapters(model, LoraSettings(rank=8, alpha=8.0, targets=("up",)), seed=1)
    adapter = model.layers.feed_forward.up.adapter
    a = np.asarray(adapter.a[...])
    assert adapter.a.dtype == adapter.b.dtype == jnp.float32
    assert (a.shape, adapter.b.shape) == ((2, 8, 256), (2, 32, 8))
    assert a.std() == pytest.approx(1 / 16, rel=0.05)
    assert (a[0] != a[1]).all()
    assert not np.asarray(adapter.b[...]).any()
    assert model.layers.feed_forward.gate.adapter is None


def test_the_seed_alone_decides_what_is_drawn(
    make_model: MakeModel, make_config: MakeConfig
) -> None:
    """Neither the order of the targets nor an earlier draw."""

    def drawn(seed: int, *targets: str) -> np.ndarray:
        model = make_model(make_config())
        add_adapters(model, LoraSettings(rank=2, alpha=2.0, targets=targets), seed=seed)
        return np.asarray(model.layers.attention.query.adapter.a[...])

    assert (drawn(1, "query", "down") == drawn(1, "down", "query")).all()
    assert (drawn(1, "query") != drawn(2, "query")).all()


def compiled_step(config: GemmaConfig, *, accumulate: int) -> tuple[jax.stages.Compiled, int]:
    """Compile a LoRA step from shapes alone; give it and the bytes of its state."""

    def make() -> Gemma:
        model = Gemma(config, rngs=nnx.Rngs(0), param_dtype=jnp.bfloat16)
        add_adapters(model, SETTINGS, seed=1)
        return model

    graphdef, params, frozen = nnx.split(nnx.eval_shape(make), AdapterWeight, ...)
    settings = OptimizerSettings(
        name="adamw", learning_rate=0.1, warmup_steps=0, total_steps=9, clip_norm=1.0,
        end_learning_rate_ratio=0.1, weight_decay=0.0, beta1=0.9, beta2=0.95, eps=1e-8,
    )  # fmt: skip
    optimizer = make_optimizer(settings)
    state = jax.eval_shape(lambda params: TrainState.start(params, optimizer), params)
    ids = jax.ShapeDtypeStruct((accumulate, 32), jnp.int32)
    batch = Batch(
        tokens=ids, positions=ids, segments=ids, supervised=jax.ShapeDtypeStruct(ids.shape, bool)
    )
    step: Step = make_step(
        graphdef, optimizer, make_schedule(settings), chunk=16, accumulate=accumulate
    )
    option, _, value = XLA_FLAGS_ON_CPU.removeprefix("--").partition("=")
    # With fusion, which these tests otherwise go without: a run has it.
    options = {option: value, **({FUSION: True} if FUSION in " ".join(fast_flags()) else {})}
    compiled = step.lower(state, frozen, batch).compile(compiler_options=options)
    return compiled, sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)
    )


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_base_is_neither_differentiated_nor_copied(
    make_config: MakeConfig, accumulate: int
) -> None:
    """The compiled step's temporaries are smaller than any stack of base weights.

    No product or sum has the shape of a gradient of the base. What comes out is the state, in
    the memory of the state that went in.
    """
    config = make_config(layers=16, d_model=256, d_ff=1024, vocab_size=8192, head_dim=128)
    compiled, state_bytes = compiled_step(config, accumulate=accumulate)
    memory = compiled.memory_analysis()
    results = set(re.findall(r"= (f32\[[\d,]+\])\S* (?:dot|scatter)\(", compiled.as_text()))
    stack_bytes = 2 * config.layers * config.d_model * config.d_ff
    assert memory.alias_size_in_bytes >= state_bytes
    assert memory.output_size_in_bytes < state_bytes + 1000
    assert memory.temp_size_in_bytes < stack_bytes
    assert not results & {"f32[1024,256]", "f32[256,1024]", "f32[8192,256]", "f32[16,1024,256]"}
