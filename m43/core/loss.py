"""The loss on completions, without ever holding the logits of a whole batch."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from m43.core.batch import Batch
from m43.core.chunked_head import weighted_loss
from m43.core.gemma import Gemma
from m43.core.head import HeadSettings

DEFAULT_CHUNK = 512
"""Rows of logits that exist at once; 512 of 256 000 in float32 are 0.5 GB."""


def next_token_loss(
    logits: Float[Array, "B L V"], targets: Int[Array, "B L"], counted: Bool[Array, "B L"]
) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Sum the cross-entropy over the counted targets, and count them.

    Sum and count are returned apart: the mean of batch means is not the mean
    over tokens when batches count different numbers of targets.

    Shapes: B batch, L length, V vocabulary.  Units: nats, tokens.
    Source: optax 0.2.8, softmax_cross_entropy_with_integer_labels.
    """
    # float32: in bfloat16 a log-sum-exp over 256 000 logits keeps under 3 digits.
    losses = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), targets)
    return jnp.sum(losses, where=counted), jnp.sum(counted)


def completion_loss(
    model: Gemma,
    batch: Batch,
    *,
    chunk: int = DEFAULT_CHUNK,
    weight: Float[Array, ""] | float = 1.0,
) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Sum the loss of every supervised token of a batch, and count them.

    Equal to `next_token_loss` of the whole logits, the targets one place to the left. The hidden
    states that predict a supervised token are gathered to the front, and only as many chunks of
    them as there are get logits: the cost follows the completions, not the padding.

    Args:
        model: as trained, or with any part of it frozen.
        batch: rows of examples.
        chunk: how many rows of logits exist at once.
        weight: what the sum is multiplied by. To differentiate a mean, give 1 / count here
            rather than divide by it: that spares a pass over the gradient of the embedding.

    Units: nats, tokens.
    """
    arrays = jax.tree.map(jnp.asarray, batch)
    hidden, tap = model.hidden_and_tap(arrays.tokens, arrays.positions, arrays.segments)
    targets = arrays.tokens[:, 1:].reshape(-1)
    counted = arrays.supervised[:, 1:].reshape(-1)
    count = jnp.sum(counted)
    # Rounded up to whole chunks; places past the end gather zeros and scatter nowhere.
    size = -(-targets.size // chunk) * chunk
    (places,) = jnp.nonzero(counted, size=size, fill_value=targets.size)
    rows = hidden[:, :-1].reshape(targets.size, -1).at[places].get(mode="fill", fill_value=0)
    chosen = targets.at[places].get(mode="fill", fill_value=0)
    head = HeadSettings(
        final_softcap=model.config.final_softcap, compute_dtype=model.compute_dtype, chunk=chunk
    )
    table = jax.lax.stop_gradient(model.embedding[...])
    loss = weighted_loss(head, rows, table, tap, chosen, count, jnp.asarray(weight, jnp.float32))
    return loss, count
