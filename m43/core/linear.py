"""Matrix products that stay in bfloat16 with float32 results, forward and backward."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from m43.core.bits import restored, to_bits


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def product(
    spec: str, left: Float[Array, "..."], right: Float[Array, "..."], dtype: jnp.dtype
) -> Float[Array, "..."]:
    """Multiply two arrays as an einsum: operands rounded to `dtype`, the result in float32.

    Plain autodiff of `dot(bf16, bf16) -> f32` hands float32 cotangents to the backward
    products, which then leave the fast bfloat16 path. Here the cotangent is rounded to
    `dtype` first. Gradients come out in the dtype of the operand they belong to, so a
    float32 master weight receives a gradient that was never rounded to bfloat16.

    Every index of an operand must be in the other operand or in the result.

    Example:
        >>> rows, weight = jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 4.0], [5.0, 6.0]])
        >>> product("LI,OI->LO", rows, weight, jnp.dtype("bfloat16")).tolist()
        [[11.0, 17.0]]
    """
    return _einsum(spec, left.astype(dtype), right.astype(dtype))


def _einsum(spec: str, left: Array, right: Array) -> Array:
    # Asked for float32, a GPU would otherwise round the operands to TF32's ten bits.
    exact = lax.Precision.HIGHEST if left.dtype == jnp.float32 else None
    return jnp.einsum(spec, left, right, precision=exact, preferred_element_type=jnp.float32)


def _product_forward(
    spec: str, left: Array, right: Array, dtype: jnp.dtype
) -> tuple[Array, tuple[Array, Array]]:
    # As bits the activations; a weight is kept as it is, which costs nothing.
    return product(spec, left, right, dtype), (to_bits(left), right)


def _product_backward(
    spec: str, dtype: jnp.dtype, operands: tuple[Array, Array], cotangent: Array
) -> tuple[Array, Array]:
    left, right = restored(operands[0]), operands[1]
    indices, result = spec.split("->")
    left_indices, right_indices = indices.split(",")
    rounded = cotangent.astype(dtype)
    d_left = _einsum(f"{result},{right_indices}->{left_indices}", rounded, right.astype(dtype))
    d_right = _einsum(f"{result},{left_indices}->{right_indices}", rounded, left.astype(dtype))
    return d_left.astype(left.dtype), d_right.astype(right.dtype)


product.defvjp(_product_forward, _product_backward)


def linear(
    inputs: Float[Array, "B L I"], weight: Float[Array, "O I"], dtype: jnp.dtype
) -> Float[Array, "B L O"]:
    """Apply a weight stored as [out, in], the order of the files, so that none is transposed.

    Shapes: B batch, L length, I inputs, O outputs.  The result is float32.
    """
    return product("BLI,OI->BLO", inputs, weight, dtype)
