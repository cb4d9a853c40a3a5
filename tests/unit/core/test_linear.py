"""The matrix product: rounded operands, float32 results, in both directions."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from m43.core.batch import Batch
from m43.core.config import GemmaConfig
from m43.core.gemma import abstract_gemma
from m43.core.linear import linear, product
from m43.core.step import completion_loss

BF16 = jnp.dtype("bfloat16")


def test_linear_multiplies_by_the_transposed_weight() -> None:
    """A weight of [out, in] maps in to out."""
    found = linear(jnp.array([[[1.0, 2.0]]]), jnp.array([[3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]), BF16)
    assert found.tolist() == [[[11.0, 17.0, 23.0]]]


@pytest.mark.parametrize(
    ("spec", "left", "right"),
    [
        ("BLI,OI->BLO", (2, 3, 4), (5, 4)),
        ("BLKGH,BSKH->BKGLS", (2, 3, 1, 2, 4), (2, 5, 1, 4)),
        ("BKGLS,BSKH->BLKGH", (2, 2, 2, 3, 5), (2, 5, 2, 4)),
    ],
)
def test_product_and_its_gradients_equal_numpy(spec: str, left: tuple, right: tuple) -> None:
    """In float32 the product and both gradients are those of a float64 einsum."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=left), rng.normal(size=right)
    arrays = jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)
    found, back = jax.vjp(lambda x, y: product(spec, x, y, jnp.dtype("float32")), *arrays)
    g = rng.normal(size=found.shape)
    ins, out = spec.split("->")
    one, two = ins.split(",")
    np.testing.assert_allclose(found, np.einsum(spec, a, b), rtol=1e-5, atol=1e-5)
    d_left, d_right = back(jnp.asarray(g, jnp.float32))
    np.testing.assert_allclose(d_left, np.einsum(f"{out},{two}->{one}", g, b), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        d_right, np.einsum(f"{out},{one}->{two}", g, a), rtol=1e-5, atol=1e-5
    )


def test_a_float32_weight_gets_a_gradient_that_was_never_bfloat16() -> None:
    """Only operands are rounded: 1 + 2**-9 survives as a sum and would not as a bfloat16."""
    inputs = jnp.array([[[1.0], [2.0**-9]]])
    gradient = jax.grad(lambda w: jnp.sum(linear(inputs, w, BF16)))(jnp.ones((1, 1)))
    assert gradient.dtype == jnp.float32
    assert gradient.item() == 1.0 + 2.0**-9


def product_equations(jaxpr: jax.extend.core.Jaxpr) -> Iterator[jax.extend.core.JaxprEqn]:
    """Find every product, inside loops and branches too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from product_equations(inner)


def products(jaxpr: jax.extend.core.Jaxpr) -> Iterator[tuple[str, ...]]:
    """List operand and result dtypes of every product."""
    for equation in product_equations(jaxpr):
        yield tuple(str(var.aval.dtype) for var in (*equation.invars, *equation.outvars))


@pytest.mark.parametrize("remat", [False, True])
def test_no_product_of_a_training_step_leaves_bfloat16(
    make_config: Callable[..., GemmaConfig], make_batch: Callable[..., Batch], remat: bool
) -> None:
    """Forward, recomputation and backward of the whole loss multiply bfloat16 into float32 only."""
    config = make_config(
        family="gemma2", attention_softcap=5.0, final_softcap=5.0, qk_norm=True, post_norms=True
    )
    graphdef, weights = nnx.split(abstract_gemma(config, remat=remat))

    def loss(weights: nnx.State) -> jax.Array:
        return completion_loss(nnx.merge(graphdef, weights), make_batch(), chunk=8)[0]

    found = list(products(jax.make_jaxpr(jax.grad(loss))(weights).jaxpr))
    # 9 products in a layer: forward, with remat once more, and two gradients each. The head's
    # three stand there for a CPU, in four sizes, and for a card, in blocks of another size.
    assert len(found) == (4 if remat else 3) * 9 + (4 + 1) * 3
    assert set(found) == {("bfloat16", "bfloat16", "float32")}


def test_plain_autodiff_would_leave_bfloat16() -> None:
    """The check above can fail: an einsum's own gradient multiplies float32."""

    def plain(weight: jax.Array) -> jax.Array:
        inputs = jnp.ones((1, 2, 2), BF16)
        return jnp.sum(
            jnp.einsum("BLI,OI->BLO", inputs, weight, preferred_element_type=jnp.float32)
        )

    found = list(products(jax.make_jaxpr(jax.grad(plain))(jnp.ones((2, 2), BF16)).jaxpr))
    assert any("float32" in one[:2] for one in found)


def test_float32_is_float32_on_every_device() -> None:
    """No product of float32 operands may be rounded to TF32; bfloat16's need no such order."""

    def precisions(dtype: str) -> set[object]:
        def both(x: jax.Array, y: jax.Array) -> tuple[jax.Array, ...]:
            found, back = jax.vjp(lambda a, b: product("LI,OI->LO", a, b, jnp.dtype(dtype)), x, y)
            return found, *back(jnp.ones_like(found))

        program = jax.make_jaxpr(both)(jnp.ones((2, 3)), jnp.ones((4, 3)))
        return {found.params["precision"] for found in product_equations(program.jaxpr)}

    highest = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)
    assert precisions("float32") == {highest}
    assert precisions("bfloat16") == {None}
