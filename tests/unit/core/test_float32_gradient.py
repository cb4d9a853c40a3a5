"""A weight beside its accumulator: the array as it is, and its gradient in float32."""

import jax
import jax.numpy as jnp
import pytest

from m43.core.numerics import float32_gradient, gradient_accumulator

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
    """600 parts of 1 are 600, and not the 256 at which bfloat16 stops counting."""

    def use(array: jax.Array) -> jax.Array:
        accumulator = gradient_accumulator(array)
        parts = (
            jnp.sum(float32_gradient(jax.lax.stop_gradient(array), accumulator)) for _ in range(600)
        )
        return sum(part.astype(jnp.float32) for part in parts)

    gradient = jax.grad(use)(jnp.ones((1,), BF16))
    assert gradient.astype(jnp.float32).tolist() == [600.0]


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
