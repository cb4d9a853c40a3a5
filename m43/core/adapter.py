"""The low-rank change that LoRA trains beside one projection."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from m43.core.linear import linear


class AdapterWeight(nnx.Variable):
    """A weight that LoRA trains; the base's are `nnx.Param`, so that a filter tells them apart."""


class Adapter(nnx.Module):
    """A change of scale * b @ a of a matrix; b starts at 0, so that nothing changes at first.

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
