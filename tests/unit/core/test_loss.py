"""The fused loss against the plain definition and NumPy, and what it never allocates."""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from m43.core.batch import Batch
from m43.core.config import GemmaConfig
from m43.core.gemma import Gemma, abstract_gemma
from m43.core.loss import (
    Blocking,
    HeadInputs,
    HeadSettings,
    HeadSums,
    card_blocking,
    cpu_block,
    cpu_blocking,
    fused_sums,
)
from m43.core.step import completion_loss

Measured = tuple[tuple[jax.Array, jax.Array], nnx.State]


def plain_loss(logits: np.ndarray, targets: np.ndarray, counted: np.ndarray) -> float:
    """Sum minus log softmax of the target, in float64."""
    logits = logits.astype(np.float64)
    top = logits.max(-1, keepdims=True)
    log_sum = np.log(np.exp(logits - top).sum(-1)) + top[..., 0]
    of_target = np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    return float((log_sum - of_target)[counted].sum())


def next_token_loss(
    logits: Float[Array, "B L V"], targets: Int[Array, "B L"], counted: Bool[Array, "B L"]
) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Sum the cross-entropy over the counted targets, and count them.

    Sum and count are returned apart: the mean of batch means is not the mean
    over tokens when batches count different numbers of targets.

    Shapes: B batch, L length, V vocabulary.  Units: nats, tokens.
    Source: optax 0.2.8, softmax_cross_entropy_with_integer_labels.
    """
    # float32: in bfloat16 a log-sum-exp over 256 000 logits keeps under 3 digits.
    losses = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), targets)
    return jnp.sum(losses, where=counted), jnp.sum(counted)


def test_next_token_loss_equals_the_definition() -> None:
    """Sum and count over the counted targets, in nats; large logits do not overflow."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 5, 7)).astype(np.float32) * 100
    targets, counted = rng.integers(0, 7, (2, 5)), rng.integers(0, 2, (2, 5)).astype(bool)
    total, count = next_token_loss(*(jnp.asarray(a) for a in (logits, targets, counted)))
    assert float(total) == pytest.approx(plain_loss(logits, targets, counted), rel=1e-5)
    assert int(count) == counted.sum()


def test_next_token_loss_by_hand() -> None:
    """Two equal logits cost ln 2; a token that is not counted costs nothing."""
    total, count = next_token_loss(
        jnp.zeros((1, 2, 2)), jnp.array([[0, 1]]), jnp.array([[True, False]])
    )
    assert (float(total), int(count)) == (pytest.approx(np.log(2)), 1)


@pytest.mark.parametrize("chunk", [1, 4, 5, 512])
def test_completion_loss_equals_the_definition(
    toy: Gemma, make_batch: Callable[..., Batch], logits_of: Callable[..., np.ndarray], chunk: int
) -> None:
    """For any chunk: the loss of whole logits, targets one place to the left."""
    batch = make_batch()
    logits = logits_of(toy, batch.tokens, batch.positions, batch.segments)
    expected = plain_loss(
        logits[:, :-1], np.asarray(batch.tokens)[:, 1:], np.asarray(batch.supervised)[:, 1:]
    )
    (total, count), _ = measured(toy, batch, chunk)
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert int(count) == int(batch.supervised.sum()) == 14


def gradients(model: Gemma, batch: Batch, chunk: int | None) -> nnx.State:
    """Differentiate the chunked loss, or plain autodiff of whole logits where chunk is None."""
    return measured(model, batch, chunk)[1]


def measured(model: Gemma, batch: Batch, chunk: int | None) -> Measured:
    """Return loss, count and gradient, compiled once for each model, shape and chunk."""
    return _measure(*nnx.split(model), batch, chunk)


@functools.partial(jax.jit, static_argnums=(0, 3))
def _measure(
    graphdef: nnx.GraphDef, weights: nnx.State, batch: Batch, chunk: int | None
) -> Measured:
    def loss(weights: nnx.State) -> tuple[jax.Array, jax.Array]:
        model = nnx.merge(graphdef, weights)
        if chunk is not None:
            return completion_loss(model, batch, chunk=chunk)
        logits = model.logits(model.hidden(batch.tokens, batch.positions, batch.segments))
        return next_token_loss(logits[:, :-1], batch.tokens[:, 1:], batch.supervised[:, 1:])

    return jax.value_and_grad(loss, has_aux=True)(weights)


def assert_near(found: nnx.State, expected: nnx.State, rtol: float = 1e-4) -> None:
    """Compare every parameter's gradient, as a share of its largest value."""
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        difference = np.abs(np.asarray(one, np.float64) - np.asarray(two, np.float64)).max()
        assert difference <= rtol * np.abs(np.asarray(two, np.float64)).max()


@pytest.mark.parametrize("softcap", [None, 1.0])
def test_gradient_equals_plain_autodiff(
    make_model: Callable[..., Gemma],
    make_config: Callable[..., GemmaConfig],
    make_batch: Callable[..., Batch],
    softcap: float | None,
) -> None:
    """The gradient that the forward pass makes is the one that autodiff finds, cap included."""
    model, batch = make_model(make_config(final_softcap=softcap)), make_batch()
    assert_near(gradients(model, batch, 5), gradients(model, batch, None))


def test_packing_changes_no_gradient(toy: Gemma, make_batch: Callable[..., Batch]) -> None:
    """Three examples in two rows give the gradient of three rows with one each."""
    batch = make_batch()
    cuts = [(0, slice(0, 5)), (0, slice(5, 12)), (1, slice(0, 12))]

    def apart(name: str) -> jax.Array:
        whole = np.asarray(getattr(batch, name))
        rows = [np.resize(np.pad(whole[row, cut], (0, 12)), 12) for row, cut in cuts]
        return jnp.asarray(np.stack(rows))

    names = ("tokens", "positions", "segments", "supervised")
    assert_near(
        gradients(toy, Batch(**{name: apart(name) for name in names}), 4),
        gradients(toy, batch, 4),
    )


def test_no_supervised_token_gives_zero(toy: Gemma, make_batch: Callable[..., Batch]) -> None:
    """Sum 0 and count 0, and no NaN: the caller decides what a mean of nothing is."""
    batch = make_batch()
    nothing = Batch(**vars(batch) | {"supervised": jnp.zeros_like(batch.supervised)})
    (total, count), gradient = measured(toy, nothing, 4)
    assert (float(total), int(count)) == (0.0, 0)
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))


def arrays_in(jaxpr: jax.extend.core.Jaxpr) -> Iterator[tuple[int, ...]]:
    """List the shape of everything that a program computes."""
    for equation in equations_in(jaxpr):
        yield from (var.aval.shape for var in equation.outvars)


def products_in(jaxpr: jax.extend.core.Jaxpr) -> Iterator[jax.extend.core.Var]:
    """List the results of every product."""
    for equation in equations_in(jaxpr):
        if equation.primitive.name == "dot_general":
            yield from equation.outvars


def equations_in(jaxpr: jax.extend.core.Jaxpr) -> Iterator[jax.extend.core.JaxprEqn]:
    """List every equation, inside loops too."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from equations_in(inner)


ODD_VOCABULARY = 37


@pytest.mark.parametrize("frozen_embedding", [False, True])
def test_whole_logits_never_exist(
    make_config: Callable[..., GemmaConfig],
    make_batch: Callable[..., Batch],
    frozen_embedding: bool,
) -> None:
    """Nothing of the step has a vocabulary axis and more rows than a chunk.

    And where the embedding is frozen, no product has its shape: its gradient is not made and thrown
    away.
    """
    chunk, d_model = 3, 16
    model = abstract_gemma(make_config(vocab_size=ODD_VOCABULARY))
    trained = nnx.All(nnx.Param, lambda path, _: not (frozen_embedding and "embedding" in path))
    graphdef, params, frozen = nnx.split(model, trained, ...)

    def loss(params: nnx.State, frozen: nnx.State) -> jax.Array:
        batch = make_batch(vocab_size=ODD_VOCABULARY)
        return completion_loss(nnx.merge(graphdef, params, frozen), batch, chunk=chunk)[0]

    jaxpr = jax.make_jaxpr(jax.grad(loss))(params, frozen).jaxpr
    shapes = {shape for shape in arrays_in(jaxpr) if ODD_VOCABULARY in shape}
    assert (1, chunk, ODD_VOCABULARY) in shapes
    rows = {int(np.prod(shape)) // ODD_VOCABULARY for shape in shapes - {(ODD_VOCABULARY, d_model)}}
    assert max(rows) <= chunk
    products = [var.aval.shape for var in products_in(jaxpr)]
    assert (1, chunk, ODD_VOCABULARY) in products
    assert ((ODD_VOCABULARY, d_model) in products) is not frozen_embedding


ROWS, MODEL, VOCABULARY, CHUNK = 12, 6, 28, 4
WEIGHT = 0.25
WHOLE = Blocking(ids=VOCABULARY, rows=(CHUNK,))
"""Whole rows of logits: one block, and one count of rows."""
FOUR = Blocking(ids=7, rows=(1, 2, 3, 4))


def sums(
    settings: HeadSettings, inputs: HeadInputs, blocking: Blocking, *, trained: bool = True
) -> HeadSums:
    """Compile the sums once for each way to cut them."""
    return _compiled(settings, blocking, trained)(inputs)


@functools.cache
def _compiled(settings: HeadSettings, blocking: Blocking, trained: bool) -> jax.stages.Wrapped:
    return jax.jit(functools.partial(fused_sums, settings, trained=trained, blocking=blocking))


def inputs_of(count: int, seed: int, dtype: type = jnp.float32) -> HeadInputs:
    """Draw rows, of which those from `count` on are poison."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(ROWS, MODEL))
    rows[count:] = 1e30
    return HeadInputs(
        rows=jnp.asarray(rows, dtype),
        embedding=jnp.asarray(rng.normal(size=(VOCABULARY, MODEL)), dtype),
        targets=jnp.asarray(rng.integers(0, VOCABULARY, ROWS), jnp.int32),
        counted=jnp.int32(count),
        weight=jnp.float32(WEIGHT),
    )


def by_definition(
    inputs: HeadInputs, softcap: float | None
) -> tuple[float, np.ndarray, np.ndarray]:
    """Loss and both gradients in float64, the counted rows only."""
    count = int(inputs.counted)
    rows = np.asarray(inputs.rows, np.float64)[:count]
    table, targets = np.asarray(inputs.embedding, np.float64), np.asarray(inputs.targets)[:count]
    raw = rows @ table.T
    logits = raw if softcap is None else softcap * np.tanh(raw / softcap)
    share = np.exp(logits - logits.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    loss = -np.log(share[np.arange(count), targets]).sum() * WEIGHT
    share[np.arange(count), targets] -= 1
    if softcap is not None:
        share *= 1 - (logits / softcap) ** 2
    share *= WEIGHT
    d_rows = np.zeros((ROWS, MODEL))
    d_rows[:count] = share @ table
    return float(loss), d_rows, share.T @ rows


def settings(dtype: str, softcap: float | None = None, chunk: int = CHUNK) -> HeadSettings:
    """Describe the head of these tests."""
    return HeadSettings(final_softcap=softcap, compute_dtype=jnp.dtype(dtype), chunk=chunk)


@pytest.mark.parametrize("blocking", [FOUR, WHOLE, Blocking(ids=14, rows=(CHUNK,))])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("count", [1, 4, 6, 12])
def test_blocks_of_any_size_equal_the_definition(
    blocking: Blocking, softcap: float | None, count: int
) -> None:
    """For any number of counted rows; what stands in the others changes nothing."""
    inputs = inputs_of(count, seed=count)
    found = sums(settings("float32", softcap), inputs, blocking)
    loss, d_rows, d_embedding = by_definition(inputs, softcap)
    assert float(found.loss) == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(found.d_rows, d_rows, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.d_embedding, d_embedding, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("count", range(ROWS + 1))
def test_no_row_that_counts_is_left_out_of_a_quarter(count: int) -> None:
    """Of a chunk of 12, products are of 3, 6, 9 or 12 rows."""
    inputs = inputs_of(count, seed=20 + count)
    blocking = Blocking(ids=7, rows=cpu_blocking(VOCABULARY, ROWS).rows)
    found = sums(settings("float32", chunk=ROWS), inputs, blocking)
    _, d_rows, d_embedding = by_definition(inputs, None)
    np.testing.assert_allclose(found.d_rows, d_rows, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.d_embedding, d_embedding, rtol=1e-4, atol=1e-6)


def test_blocks_and_whole_rows_agree_in_bfloat16() -> None:
    """Operands are rounded alike, so that only the order of the sums differs."""
    inputs = inputs_of(9, seed=3, dtype=jnp.bfloat16)
    one, two = (sums(settings("bfloat16"), inputs, blocking) for blocking in (FOUR, WHOLE))
    assert float(one.loss) == pytest.approx(float(two.loss), rel=1e-5)
    np.testing.assert_allclose(one.d_embedding, two.d_embedding, rtol=1e-2, atol=1e-4)
    assert one.d_embedding.dtype == jnp.float32
    wide = (np.asarray(each.d_rows, np.float32) for each in (one, two))
    np.testing.assert_allclose(*wide, rtol=2e-2, atol=1e-3)


def test_an_embedding_that_is_not_trained_gets_no_gradient() -> None:
    """Its array is not made, and the rest is the same."""
    inputs = inputs_of(9, seed=4)
    found, other = (
        sums(settings("float32"), inputs, FOUR, trained=trained) for trained in (False, True)
    )
    assert found.d_embedding is None
    assert (found.d_rows == other.d_rows).all()


def test_blocks_divide_the_vocabularies_of_gemma() -> None:
    """Every id is in one block: 2B, 270M and 1B, multimodal; a prime has blocks of 1."""
    assert [cpu_block(size) for size in (256_000, 262_144, 262_208)] == [4000, 4096, 3856]
    assert cpu_block(8191) == 1


def test_a_card_has_whole_rows_of_a_frozen_embedding() -> None:
    """A trained one's gradient is made in blocks, beside the sum that is there anyway."""
    assert card_blocking(256_000, 128, trained=False) == Blocking(ids=256_000, rows=(128,))
    assert card_blocking(256_000, 128, trained=True) == Blocking(ids=32_000, rows=(128,))
