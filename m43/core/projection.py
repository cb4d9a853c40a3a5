"""A projection of a layer: its matrix and, under LoRA, the adapter beside it."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from m43.core.adapter import Adapter
from m43.core.linear import linear
from m43.core.weight import normal


class Projection(nnx.Module):
    """Shapes: weight [O, I], [out, in] as in the files."""

    def __init__(
        self,
        outputs: int,
        inputs: int,
        *,
        rngs: nnx.Rngs,
        param_dtype: jnp.dtype,
        compute_dtype: jnp.dtype,
    ) -> None:
        self.compute_dtype = compute_dtype
        self.weight = normal(rngs, (outputs, inputs), param_dtype)
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
