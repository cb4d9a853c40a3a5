"""The chunked loss against the plain definition, and what it never allocates."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from m43.core.batch import Batch
from m43.core.config import GemmaConfig
from m43.core.gemma import Gemma, abstract_gemma
from m43.core.loss import completion_loss, next_token_loss


def plain_loss(logits: np.ndarray, targets: np.ndarray, counted: np.ndarray) -> float:
    """Sum minus log softmax of the target, in float64."""
    logits = logits.astype(np.float64)
    top = logits.max(-1, keepdims=True)
    log_sum = np.log(np.exp(logits - top).sum(-1)) + top[..., 0]
    of_target = np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    return float((log_sum - of_target)[counted].sum())


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
    total, count = completion_loss(toy, batch, chunk=chunk)
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert int(count) == int(batch.supervised.sum()) == 14


def gradients(model: Gemma, batch: Batch, chunk: int | None) -> nnx.State:
    """Differentiate the chunked loss, or plain autodiff of whole logits where chunk is None."""
    graphdef, weights = nnx.split(model)

    def loss(weights: nnx.State) -> jax.Array:
        model = nnx.merge(graphdef, weights)
        if chunk is not None:
            return completion_loss(model, batch, chunk=chunk)[0]
        logits = model.logits(model.hidden(batch.tokens, batch.positions, batch.segments))
        return next_token_loss(logits[:, :-1], batch.tokens[:, 1:], batch.supervised[:, 1:])[0]

    return jax.jit(jax.grad(loss))(weights)


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
    total, count = completion_loss(toy, nothing, chunk=4)
    assert (float(total), int(count)) == (0.0, 0)
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradients(toy, nothing, 4)))


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


VOCABULARY = 37


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
    model = abstract_gemma(make_config(vocab_size=VOCABULARY))
    trained = nnx.All(nnx.Param, lambda path, _: not (frozen_embedding and "embedding" in path))
    graphdef, params, frozen = nnx.split(model, trained, ...)

    def loss(params: nnx.State, frozen: nnx.State) -> jax.Array:
        batch = make_batch(vocab_size=VOCABULARY)
        return completion_loss(nnx.merge(graphdef, params, frozen), batch, chunk=chunk)[0]

    jaxpr = jax.make_jaxpr(jax.grad(loss))(params, frozen).jaxpr
    shapes = {shape for shape in arrays_in(jaxpr) if VOCABULARY in shape}
    assert (1, chunk, VOCABULARY) in shapes
    rows = {int(np.prod(shape)) // VOCABULARY for shape in shapes - {(VOCABULARY, d_model)}}
    assert max(rows) <= chunk
    products = [var.aval.shape for var in products_in(jaxpr)]
    assert (1, chunk, VOCABULARY) in products
    assert ((VOCABULARY, d_model) in products) is not frozen_embedding
