"""Who may look at whom, against a loop."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from m43.core.attention import UNLIMITED, may_attend

ROWS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=6, max_size=6)


def mask_of(queries: list, keys: list, window: int) -> list:
    """Call with one row of (position, segment) pairs."""
    (query_positions, query_segments), (key_positions, key_segments) = (
        [jnp.asarray([column], jnp.int32) for column in zip(*row, strict=True)]
        for row in (queries, keys)
    )
    found = may_attend(
        query_positions, query_segments, key_positions, key_segments, jnp.int32(window)
    )
    return np.asarray(found)[0].tolist()


def test_a_window_of_two_sees_itself_and_the_one_before() -> None:
    """The example of the docstring."""
    row = [(0, 1), (1, 1), (2, 1)]
    assert mask_of(row, row, 2) == [[True, False, False], [True, True, False], [False, True, True]]


@settings(max_examples=40, deadline=None)
@given(queries=ROWS, keys=ROWS, window=st.sampled_from([1, 2, 5, UNLIMITED]))
def test_mask_equals_the_rule(queries: list, keys: list, window: int) -> None:
    """Same segment, not padding, not later, and nearer than the window; order does not matter."""
    expected = [
        [
            query_segment == key_segment != 0 and 0 <= query - key < window
            for key, key_segment in keys
        ]
        for query, query_segment in queries
    ]
    assert mask_of(queries, keys, window) == expected
