"""What the loss of gathered rows takes and gives, however it is computed."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """What is fixed when the head is compiled.

    Attributes:
        chunk: rows of logits that exist at once.
    """

    final_softcap: float | None
    compute_dtype: jnp.dtype
    chunk: int

    def chunks(self, count: Int[Array, ""]) -> Int[Array, ""]:
        """Tell how many chunks hold so many rows."""
        return (count + self.chunk - 1) // self.chunk


class HeadInputs(NamedTuple):
    """The arrays of `weighted_loss`. Shapes: R rows, D model, V vocabulary."""

    rows: Float[Array, "R D"]
    embedding: Float[Array, "V D"]
    targets: Int[Array, " R"]
    counted: Int[Array, ""]
    weight: Float[Array, ""]


class HeadSums(NamedTuple):
    """What the chunks add up to; a gradient is None where nobody asks for it.

    Shapes: R rows, D model, V vocabulary.
    """

    loss: Float[Array, ""]
    d_rows: Float[Array, "R D"]
    d_embedding: Float[Array, "V D"] | None
