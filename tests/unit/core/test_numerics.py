"""Numerics: bitcasts, gradients in float32, the embedding look-up, and pytrees."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from m43.core.batch import Batch
from m43.core.numerics import (
    bitcast_bf16,
    bitcast_like,
    float32_gradient,
    gradient_accumulator,
    look_up,
)


def test_every_bfloat16_comes_back() -> None:
    """All 65,536 of them, infinities and NaN with their payload included."""
    bits = jnp.arange(1 << 16, dtype=jnp.uint16)
    values = bitcast_like(bits, jnp.zeros((0,), jnp.bfloat16))
    assert values.dtype == jnp.bfloat16
    assert (np.asarray(bitcast_bf16(values)) == np.asarray(bits)).all()


def test_other_dtypes_are_left_alone() -> None:
    """Only bfloat16 is moved with conversions."""
    tree = {"a": jnp.ones(2), "b": jnp.ones(2, jnp.bfloat16), "c": jnp.ones(2, jnp.int32)}
    moved = bitcast_bf16(tree)
    assert [leaf.dtype.name for leaf in moved.values()] == ["float32", "uint16", "int32"]
    assert bitcast_like(moved, tree)["b"].tolist() == [1.0, 1.0]


BF16 = jnp.dtype("bfloat16")


def scanned(stack: jax.Array) -> jax.Array:
    """Use every part of a stack twice, once through its accumulator."""

    def body(total: jax.Array, part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        weight = float32_gradient(*part)
        return total + jnp.sum(weight.astype(jnp.float32) ** 2), None

    return jax.lax.scan(
        body, jnp.float32(0.0), (jax.lax.stop_gradient(stack), gradient_accumulator(stack))
    )[0]


@pytest.mark.parametrize("dtype", [BF16, jnp.dtype("float32")])
def test_the_gradient_is_the_arrays_own(dtype: jnp.dtype) -> None:
    """Value and gradient are those of the array without an accumulator, in the array's dtype."""
    stack = jnp.asarray([[1.0, -2.0], [3.0, 0.5]], dtype)
    value, gradient = jax.value_and_grad(scanned)(stack)
    assert float(value) == 14.25
    assert (gradient.dtype, gradient.tolist()) == (dtype, [[2.0, -4.0], [6.0, 1.0]])


def test_parts_add_up_in_float32() -> None:
    """300 parts of 1 are 300, and not the 256 at which bfloat16 stops counting."""

    def use(array: jax.Array) -> jax.Array:
        accumulator = gradient_accumulator(array)
        parts = (
            jnp.sum(float32_gradient(jax.lax.stop_gradient(array), accumulator)) for _ in range(300)
        )
        return sum(part.astype(jnp.float32) for part in parts)

    gradient = jax.grad(use)(jnp.ones((1,), BF16))
    assert gradient.astype(jnp.float32).tolist() == [300.0]


def test_an_accumulator_is_never_allocated() -> None:
    """The compiled gradient holds the stack's gradient in float32, and no zeros beside it."""

    def linear(stack: jax.Array, factors: jax.Array) -> jax.Array:
        def body(total: jax.Array, part: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
            weight, accumulator, factor = part
            return total + factor * jnp.sum(
                float32_gradient(weight, accumulator).astype(jnp.float32)
            ), None

        taken = (jax.lax.stop_gradient(stack), gradient_accumulator(stack), factors)
        return jax.lax.scan(body, jnp.float32(0.0), taken)[0]

    stack = jax.ShapeDtypeStruct((64, 256, 256), BF16)
    factors = jax.ShapeDtypeStruct((64,), jnp.float32)
    compiled = jax.jit(jax.grad(linear)).lower(stack, factors).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 1.2 * 4 * 64 * 256 * 256


@pytest.mark.parametrize("dtype", [BF16, jnp.dtype("float32")])
def test_an_accumulator_and_what_it_receives_are_float32(dtype: jnp.dtype) -> None:
    """Whatever the dtype of the array, which comes out as it went in."""
    array = jnp.ones((2, 3), dtype)
    accumulator = gradient_accumulator(array)
    out, pull = jax.vjp(float32_gradient, array, accumulator)
    _, received = pull(out)
    assert (accumulator.dtype, received.dtype, out.dtype) == (jnp.float32, jnp.float32, dtype)


def test_look_up_takes_rows() -> None:
    """Token 1 is row 1; the accumulator has the shape of the table."""
    table = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    rows, accumulator = look_up(table, jnp.array([[1, 0, 1]]))
    assert rows.tolist() == [[[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]]
    assert accumulator.shape == table.shape


def test_gradient_of_a_frequent_token_is_whole() -> None:
    """600 times 1 is 600 even where the table is bfloat16, in which 256 + 1 is 256."""
    table = jnp.zeros((3, 1), jnp.bfloat16)
    tokens = jnp.full((1, 600), 2, jnp.int32)
    gradient = jax.grad(lambda table: jnp.sum(look_up(table, tokens)[0].astype(jnp.float32)))(table)
    assert gradient.dtype == jnp.bfloat16
    assert gradient.astype(jnp.float32).tolist() == [[0.0], [0.0], [600.0]]


def test_gradients_of_both_uses_meet() -> None:
    """The accumulator's gradient and the tokens' add up, and then are rounded once."""

    def use(table: jax.Array) -> jax.Array:
        rows, accumulator = look_up(table, jnp.array([[1, 1]]))
        return jnp.sum(rows).astype(jnp.float32) + 10.0 * jnp.sum(accumulator)

    assert jax.grad(use)(jnp.zeros((3, 1))).tolist() == [[10.0], [12.0], [10.0]]
    narrow = jax.grad(use)(jnp.zeros((3, 1), jnp.bfloat16))
    assert (narrow.dtype, narrow.tolist()) == (jnp.bfloat16, [[10.0], [12.0], [10.0]])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("token", [3, 1 << 20])
def test_a_token_outside_the_vocabulary_is_loud(dtype: type, token: int) -> None:
    """Its row is NaN, which no later step turns into a number; its neighbour's row is not."""
    rows, _ = look_up(jnp.ones((3, 2), dtype), jnp.array([[token, 0]]))
    assert rows.dtype == dtype
    assert jnp.isnan(rows).tolist() == [[[True, True], [False, False]]]


NAMES = ("tokens", "positions", "segments", "supervised")


def test_a_tree_of_stand_ins_is_rebuilt(make_batch: Callable[..., Batch]) -> None:
    """Strings, None and shapes pass through a batch; no check of shapes refuses them."""
    batch = make_batch()
    assert jax.tree.map(lambda _: "sharding", batch).tokens == "sharding"
    assert jax.tree.map(lambda leaf: leaf.shape, batch).supervised == (2, 12)
    assert jax.eval_shape(lambda batch: batch, batch).tokens.dtype == jnp.int32


def test_leaves_are_named_after_the_fields(make_batch: Callable[..., Batch]) -> None:
    """A checkpoint or an error can say which array it means."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(make_batch())]
    assert [jax.tree_util.keystr(path) for path in paths] == [f".{name}" for name in NAMES]


def test_a_batch_may_come_from_the_host_or_from_a_plan() -> None:
    """NumPy arrays and mere shapes make a batch; a wrong number of axes does not."""
    host = np.zeros((2, 3), np.int32)
    Batch(tokens=host, positions=host, segments=host, supervised=host > 0)
    plan = jax.ShapeDtypeStruct((2, 3), jnp.int32)
    marks = jax.ShapeDtypeStruct((2, 3), jnp.bool_)
    Batch(tokens=plan, positions=plan, segments=plan, supervised=marks)
    with pytest.raises(Exception, match="tokens"):
        Batch(tokens=host[0], positions=host, segments=host, supervised=host > 0)
