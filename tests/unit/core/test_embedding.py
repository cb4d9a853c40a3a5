"""Looking up, and a gradient that does not lose what it adds."""

import jax
import jax.numpy as jnp
import pytest

from m43.core.numerics import look_up


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
