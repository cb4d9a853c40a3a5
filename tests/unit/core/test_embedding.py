"""Looking up, and a gradient that does not lose what it adds."""

import jax
import jax.numpy as jnp

from m43.core.embedding import look_up


def test_look_up_takes_rows() -> None:
    """Token 1 is row 1."""
    table = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    assert look_up(table, jnp.array([[1, 0, 1]])).tolist() == [[[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]]


def test_gradient_of_a_frequent_token_is_whole() -> None:
    """600 times 1 is 600 even where the table is bfloat16, in which 256 + 1 is 256."""
    table = jnp.zeros((3, 1), jnp.bfloat16)
    tokens = jnp.full((1, 600), 2, jnp.int32)
    gradient = jax.grad(lambda table: jnp.sum(look_up(table, tokens).astype(jnp.float32)))(table)
    assert gradient.dtype == jnp.bfloat16
    assert gradient.astype(jnp.float32).tolist() == [[0.0], [0.0], [600.0]]
