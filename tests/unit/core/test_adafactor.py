"""Adafactor in blocks is Adafactor, and keeps nothing as large as the gradient."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from m43.core import adafactor
from m43.core.adafactor import block_rows, factored_axes, scale_by_adafactor

DECAY, EPS, CLIP = 0.8, 1e-30, 1.0
SHAPES = {"stack": (3, 130, 256), "tall": (512, 128), "wide": (128, 384), "norm": (3, 64)}


def numpy_steps(gradients: list[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    """Take the steps by the paper, in float64, and give each update."""
    rows: dict[str, np.ndarray | float] = dict.fromkeys(SHAPES, 0.0)
    columns, wholes = dict(rows), dict(rows)
    for number, gradient in enumerate(gradients, start=1):
        norm = np.sqrt(sum((array**2).sum() for array in gradient.values()))
        kept, update = 1.0 - number**-DECAY, {}
        for name, array in gradient.items():
            clipped = array / max(1.0, norm / CLIP)
            square = clipped**2 + EPS
            if name == "norm":
                wholes[name] = kept * wholes[name] + (1 - kept) * square
                change = clipped / np.sqrt(wholes[name])
            else:
                rows[name] = kept * rows[name] + (1 - kept) * square.mean(-1, keepdims=True)
                columns[name] = kept * columns[name] + (1 - kept) * square.mean(-2, keepdims=True)
                estimate = rows[name] * columns[name] / rows[name].mean(-2, keepdims=True)
                change = clipped / np.sqrt(estimate)
            update[name] = change / max(1.0, np.sqrt((change**2).mean()))
        yield update


@pytest.mark.parametrize("largest", [1, 70_000, 1 << 22])
def test_steps_in_blocks_of_any_size_equal_the_definition(
    monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    """A row at a time, some, all.

    The second gradient is clipped, and so is what becomes of it; the third is clipped because of
    one array alone, so that what becomes of the others is not.
    """
    monkeypatch.setattr(adafactor, "LARGEST_BLOCK", largest)
    rng = np.random.default_rng(0)
    gradients = [
        {name: size * rng.normal(size=shape) for name, shape in SHAPES.items()}
        for size in (1e-5, 1.0, 0.1)
    ]
    gradients[-1]["stack"] *= 10.0
    optimizer = scale_by_adafactor(decay=DECAY, eps=EPS, clip_norm=CLIP)
    state = optimizer.init({name: jnp.zeros(shape) for name, shape in SHAPES.items()})
    for gradient, expected in zip(gradients, numpy_steps(gradients), strict=True):
        narrow = {name: jnp.asarray(array, jnp.float32) for name, array in gradient.items()}
        found, state = jax.jit(optimizer.update)(narrow, state)
        for name, update in expected.items():
            np.testing.assert_allclose(found[name], update, rtol=2e-4, atol=1e-6)
    assert int(state.count) == 3


def test_the_state_is_that_of_optax() -> None:
    """Shape by shape before and after a step, so that both take the same memory."""
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in SHAPES.items()}
    mine = scale_by_adafactor(decay=DECAY, eps=EPS, clip_norm=CLIP)
    before = jax.eval_shape(mine.init, params)
    expected = jax.eval_shape(optax.scale_by_factored_rms().init, params)
    _, after = jax.eval_shape(mine.update, params, before)
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (before, after)]
    assert shapes[0] == shapes[1] == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), expected)


def test_an_array_of_more_numbers_than_an_int32_counts_is_scaled() -> None:
    """The feed-forward weights of Gemma 2 9B, as its layers are stacked: 42 of 3584 by 14336."""
    params = {"up": jax.ShapeDtypeStruct((42, 3584, 14336), jnp.float32)}
    optimizer = scale_by_adafactor(decay=DECAY, eps=EPS, clip_norm=CLIP)
    update, _ = jax.eval_shape(optimizer.update, params, jax.eval_shape(optimizer.init, params))
    assert update["up"].shape == params["up"].shape


def test_on_a_cpu_nothing_as_large_as_the_gradient_is_made() -> None:
    """The update goes where the weights were: XLA's own count of what it needs beside them."""
    params = {"up": jnp.ones((16, 1024, 1024))}
    optimizer = scale_by_adafactor(decay=DECAY, eps=EPS, clip_norm=CLIP)

    def step(params: dict, state: optax.OptState, gradient: dict) -> tuple[dict, optax.OptState]:
        change, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, change), state

    state = jax.eval_shape(optimizer.init, params)
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params).compile()
    memory = compiled.memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 0.3 * params["up"].nbytes


def test_blocks_are_equal_parts_and_the_axes_are_the_largest() -> None:
    """By hand, with Gemma's own shapes."""
    assert block_rows((18, 16384, 2048)) == 1
    assert block_rows((256_000, 2048)) == 2048
    assert block_rows((1280, 128)) == 1280
    assert factored_axes((18, 256, 2048)) == (1, 2)
    assert factored_axes((256_000, 2048)) == (1, 0)
    assert factored_axes((18, 64)) is None
    assert factored_axes((2048,)) is None
