"""Linear layers: bfloat16 products with float32 results, and LoRA adapters beside them."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from m43.core.numerics import bitcast_back, bitcast_bf16


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
    return product(spec, left, right, dtype), (bitcast_bf16(left), right)


def _product_backward(
    spec: str, dtype: jnp.dtype, operands: tuple[Array, Array], cotangent: Array
) -> tuple[Array, Array]:
    left, right = bitcast_back(operands[0]), operands[1]
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


STANDARD_DEVIATION = 0.02
"""Source: transformers 5.23, GemmaConfig.initializer_range."""


def normal(rngs: nnx.Rngs, shape: tuple[int, ...], dtype: jnp.dtype) -> nnx.Param:
    """Draw a matrix from a normal distribution."""
    return nnx.Param(jax.random.normal(rngs.params(), shape, dtype) * STANDARD_DEVIATION)


def zeros(shape: tuple[int, ...], dtype: jnp.dtype) -> nnx.Param:
    """Return the weight of a norm: it is stored around 0, and 0 means scale 1."""
    return nnx.Param(jnp.zeros(shape, dtype))


@dataclass(frozen=True, kw_only=True)
class NewWeights:
    """What the weights of a new model are made with.

    Attributes:
        param_dtype: that they are stored in.
        compute_dtype: of the operands of every product with them.
    """

    rngs: nnx.Rngs
    param_dtype: jnp.dtype
    compute_dtype: jnp.dtype


class AdapterWeight(nnx.Variable):
    """A weight that LoRA trains; the base's are `nnx.Param`, so that a filter tells them apart."""


class Adapter(nnx.Module):
    """A low-rank update scale * b @ a of a matrix; b starts at 0, so that nothing changes at first.

    The weights are float32 masters, whatever the base is stored in. a is drawn so that a @ x is
    as long as the mean of x's values.

    Shapes: a [R, I], b [O, R] for a matrix [O, I], with one axis in front in a stack of layers.
    Source: Hu et al. 2021, LoRA, section 4.1; Hayou et al. 2024, The Impact of Initialization on
    LoRA Finetuning Dynamics, Init[A], for the deviation.
    """

    def __init__(self, shape: tuple[int, ...], *, rank: int, scale: float, rngs: nnx.Rngs) -> None:
        *stack, outputs, inputs = shape
        drawn = jax.random.normal(rngs.params(), (*stack, rank, inputs), jnp.float32)
        self.a = AdapterWeight(drawn * inputs**-0.5)
        self.b = AdapterWeight(jnp.zeros((*stack, outputs, rank), jnp.float32))
        self.scale = scale

    def __call__(self, inputs: Float[Array, "B L I"], dtype: jnp.dtype) -> Float[Array, "B L O"]:
        """Return what is added to the projection of the inputs, in float32.

        The matrix b @ a is never made: through the rank it is fewer multiplications.
        """
        narrow = linear(inputs, self.a[...], dtype)
        return linear(narrow * self.scale, self.b[...], dtype)

    def merged(self, weight: Float[Array, "O I"], layer: int) -> Float[Array, "O I"]:
        """Add the change of one layer to its weight, in float32.

        Where nothing was learnt the weight keeps its bits: -0.0 + 0.0 would be 0.0.
        """
        # A GPU would otherwise round the operands to 10 bits.
        product = jnp.matmul(self.b[...][layer], self.a[...][layer], precision="highest")
        change, base = product * self.scale, weight.astype(jnp.float32)
        return jnp.where(change == 0.0, base, base + change)


class Projection(nnx.Module):
    """Shapes: weight [O, I], [out, in] as in the files."""

    def __init__(self, outputs: int, inputs: int, new: NewWeights) -> None:
        self.compute_dtype = new.compute_dtype
        self.weight = normal(new.rngs, (outputs, inputs), new.param_dtype)
        self.adapter: Adapter | None = nnx.data(None)

    def __call__(self, inputs: Float[Array, "B L I"]) -> Float[Array, "B L O"]:
        """Project in the compute dtype; the result is float32."""
        outputs = linear(inputs, self.weight[...], self.compute_dtype)
        if self.adapter is None:
            return outputs
        return outputs + self.adapter(inputs, self.compute_dtype)

    def merged(self, layer: int) -> Float[Array, "O I"]:
        """Return one layer of a stack as one matrix, the adapter included."""
        weight = self.weight[...][layer]
        return weight if self.adapter is None else self.adapter.merged(weight, layer)
