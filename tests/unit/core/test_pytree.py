"""Dataclasses of arrays that may hold what stands in for arrays."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from m43.core.batch import Batch

NAMES = ("tokens", "positions", "segments", "supervised")


def test_a_tree_of_stand_ins_is_rebuilt(make_batch: Callable[..., Batch]) -> None:
    """Strings, None and shapes pass through a batch; no check of shapes refuses them."""
    batch = make_batch()
    assert jax.tree.map(lambda _: "sharding", batch).tokens == "sharding"
    assert jax.tree.map(lambda leaf: leaf.shape, batch).supervised == (2, 12)
    assert jax.eval_shape(lambda batch: batch, batch).tokens.dtype == jnp.int32


def test_leaves_are_named_after_the_fields(make_batch: Callable[..., Batch]) -> None:
    """A checkpoint or an error can say which array it means."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(make_batch())]
    assert [jax.tree_util.keystr(path) for path in paths] == [f".{name}" for name in NAMES]


def test_a_batch_may_come_from_the_host_or_from_a_plan() -> None:
    """NumPy arrays and mere shapes make a batch; a wrong number of axes does not."""
    host = np.zeros((2, 3), np.int32)
    Batch(tokens=host, positions=host, segments=host, supervised=host > 0)
    plan = jax.ShapeDtypeStruct((2, 3), jnp.int32)
    marks = jax.ShapeDtypeStruct((2, 3), jnp.bool_)
    Batch(tokens=plan, positions=plan, segments=plan, supervised=marks)
    with pytest.raises(Exception, match="tokens"):
        Batch(tokens=host[0], positions=host, segments=host, supervised=host > 0)
