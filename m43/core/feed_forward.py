"""The gated feed-forward of a layer."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

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
        dtypes = {"param_dtype": param_dtype, "compute_dtype": compute_dtype}
        self.gate = Projection(config.d_ff, config.d_model, rngs=rngs, **dtypes)
        self.up = Projection(config.d_ff, config.d_model, rngs=rngs, **dtypes)
        self.down = Projection(config.d_model, config.d_ff, rngs=rngs, **dtypes)

    def __call__(self, inputs: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
        """Return down(gelu(gate(x)) * up(x)) in float32.

        The tanh form of GELU, also where a config.json of Gemma 1 says "gelu".

        Source: transformers 5.23, GemmaMLP and GemmaConfig.__post_init__.
        """
        gated = jax.nn.gelu(self.gate(inputs), approximate=True) * self.up(inputs)
        return self.down(gated)
