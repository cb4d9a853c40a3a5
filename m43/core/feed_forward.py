"""The gated feed-forward of a layer."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from m43.core.gated import gated_gelu
from m43.core.gemma_config import GemmaConfig
from m43.core.projection import Projection


class FeedForward(nnx.Module):
    """Two projections up, one gating the other, and one down.

    Shapes: gate and up [F, D], down [D, F]: [out, in], as in the files.
    """

    def __init__(
        self,
        config: GemmaConfig,
        *,
        rngs: nnx.Rngs,
        param_dtype: jnp.dtype,
        compute_dtype: jnp.dtype,
    ) -> None:
        self.compute_dtype = compute_dtype
        dtypes = {"param_dtype": param_dtype, "compute_dtype": compute_dtype}
        self.gate = Projection(config.d_ff, config.d_model, rngs=rngs, **dtypes)
        self.up = Projection(config.d_ff, config.d_model, rngs=rngs, **dtypes)
        self.down = Projection(config.d_model, config.d_ff, rngs=rngs, **dtypes)

    def __call__(self, inputs: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
        """Return down(gelu(gate(x)) * up(x)) in float32."""
        gate = self.gate(inputs).astype(self.compute_dtype)
        up = self.up(inputs).astype(self.compute_dtype)
        return self.down(gated_gelu(gate, up))
