"""Which token may look at which: causal, inside one segment, inside a layer's window."""

from jaxtyping import Array, Bool, Int

UNLIMITED = 2**31 - 1
"""The window of a global layer: more than any difference of two positions."""


def may_attend(
    query_positions: Int[Array, "B L"],
    query_segments: Int[Array, "B L"],
    key_positions: Int[Array, "B S"],
    key_segments: Int[Array, "B S"],
    window: Int[Array, ""],
) -> Bool[Array, "B L S"]:
    """Tell for every query and key whether the one may look at the other.

    Only positions and segments decide, never the place in the array: a packed row, a padded
    row and a cache with gaps all follow the same rule. Segment 0 is padding; nothing looks at
    it. A window of 1 sees the token itself only.

    Shapes: B batch, L queries, S keys.
    Source: transformers 5.23, masking_utils.sliding_window_overlay (key > query - window).

    Example:
        >>> import jax.numpy as jnp
        >>> positions, segments = jnp.array([[0, 1, 2]]), jnp.array([[1, 1, 1]])
        >>> may_attend(positions, segments, positions, segments, jnp.int32(2)).astype(int).tolist()
        [[[1, 0, 0], [1, 1, 0], [0, 1, 1]]]
    """
    distance = query_positions[:, :, None] - key_positions[:, None, :]
    same = query_segments[:, :, None] == key_segments[:, None, :]
    real = (key_segments != 0)[:, None, :]
    return same & real & (distance >= 0) & (distance < window)
