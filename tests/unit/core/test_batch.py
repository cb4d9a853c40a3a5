"""A batch that would train on something else than it says is refused."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest

from m43.core.batch import Batch, BatchError, check_batch


def test_a_good_batch_passes(make_batch: Callable[..., Batch]) -> None:
    """Packed rows, padding and all."""
    check_batch(make_batch(), vocab_size=40)


@pytest.mark.parametrize(
    ("name", "place", "value", "expected"),
    [
        ("tokens", (0, 1), 40, "token ids from 0 to 39"),
        ("tokens", (0, 1), -1, "token ids from 0 to 39"),
        ("segments", (1, 11), -1, "segments of 0"),
        ("positions", (0, 5), 5, "position 0 at the first token"),
        ("positions", (0, 3), 4, "count up by 1"),
        ("supervised", (1, 9), True, "no supervised padding"),
        ("supervised", (0, 5), True, "first token of a segment not supervised"),
    ],
)
def test_each_rule_is_enforced(
    make_batch: Callable[..., Batch], name: str, place: tuple, value: int, expected: str
) -> None:
    """One changed number is named by the rule that it breaks and the place where it stands."""
    batch = make_batch()
    changed = np.asarray(getattr(batch, name)).copy()
    changed[place] = value
    with pytest.raises(BatchError, match=expected) as caught:
        check_batch(Batch(**vars(batch) | {name: jnp.asarray(changed)}), vocab_size=40)
    assert f"row {place[0]}" in str(caught.value)


def test_all_problems_are_told_at_once(make_batch: Callable[..., Batch]) -> None:
    """A wrong id and no supervised token are two problems of one error."""
    batch = make_batch()
    none = jnp.zeros_like(batch.supervised)
    with pytest.raises(BatchError) as caught:
        check_batch(Batch(**vars(batch) | {"supervised": none}), vocab_size=3)
    assert len(caught.value.problems) == 2


def test_arrays_of_different_shapes_are_refused() -> None:
    """A shape is told before anything that would need it."""
    one, two = np.zeros((1, 4), np.int32), np.zeros((1, 5), np.int32)
    batch = object.__new__(Batch)
    for name, array in (
        ("tokens", one),
        ("positions", two),
        ("segments", one),
        ("supervised", one > 0),
    ):
        object.__setattr__(batch, name, array)
    with pytest.raises(BatchError, match="one shape"):
        check_batch(batch, vocab_size=40)
