"""Settings worth having: the step of the model under each, its plan, its peak and its time.

    python -m tools.card_check.settings_child PLACE

An experiment, and so it reaches into the model's code from outside: what of it turns out to be
worth having belongs into `m43/core`.
"""

import contextlib
import functools
import gc
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal
from unittest import mock

import jax
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import PyTree

from m43.core import Batch, GemmaConfig, TrainState
from m43.core.attention import Attention
from m43.core.layer import FeedForward, geglu
from m43.records import LoraTable, profile_check
from m43.text import one_line
from m43.training.device import device_name, memory_bytes, peak_bytes
from m43.training.trainer import BuiltStep, build_abstract_step
from m43.training.weights import declared_dtype, read_model_config
from tools.card_check.children import place_of, tell
from tools.card_check.scale import Place, Setting, Tried

# As the contract has it of a plan: so much more than the peak must be free.
_SPARE = 1.15


def settings(rows: tuple[int, ...]) -> Iterator[Setting]:
    """List what is tried, in the order of worth."""
    first, *more = rows
    yield Setting(rows=first)
    yield Setting(rows=first, remat="all but q, k, v")
    yield Setting(rows=first, remat="all but q, k, v, gate, up")
    yield Setting(rows=first, attention="fused")
    yield Setting(rows=first, remat="none")
    yield from (Setting(rows=count) for count in more)
    yield Setting(rows=first, optimizer="adamw")
    for remat in ("full", "none"):
        yield Setting(rows=first, method="lora", optimizer="adamw", remat=remat)
    yield from (Setting(rows=count, remat="none") for count in more)


def main(place: Place) -> None:
    """Try one after the other, and tell each at once."""
    config, highest = read_model_config(place.base), 0
    for setting in settings(place.scale.tried_rows):
        tried = attempt(place, config, setting, highest)
        highest = max(highest, tried.peak_bytes)
        tell(str(setting), tried)
        gc.collect()


def attempt(place: Place, config: GemmaConfig, setting: Setting, highest: int) -> Tried:
    """Compile a step; take it where the plan lets it fit."""
    began = time.monotonic()
    tried = Tried(setting=setting)
    # Whatever a library says of a setting that it cannot do is the result.
    try:
        built = _built(place, config, setting)
        batch = _batch(setting.rows, place.scale.row_tokens, config.vocab_size)
        with under(setting, place):
            lowered = built.step.lower(built.abstract_state(), built.frozen, batch)
        compiled = lowered.compile()
        memory = compiled.memory_analysis()
        assert memory is not None
        kept = memory.argument_size_in_bytes + memory.output_size_in_bytes
        planned = kept - memory.alias_size_in_bytes + memory.temp_size_in_bytes
        tried = replace(
            tried, planned_bytes=planned, compile_s=time.monotonic() - began, reason="not taken"
        )
        device = jax.devices()[0]
        if _SPARE * planned > memory_bytes(device):
            return replace(tried, reason=f"does not fit {device_name(device)}")
        return replace(tried, **_taken(place, built, compiled, batch, highest), reason="")
    except Exception as error:  # noqa: BLE001
        return replace(tried, reason=f"{type(error).__name__}: {one_line(str(error), 200)}")


def _built(place: Place, config: GemmaConfig, setting: Setting) -> BuiltStep:
    profile = profile_check.load(place.profile)
    training = replace(
        profile.training,
        method=setting.method,
        optimizer=setting.optimizer,
        batch_rows=setting.rows,
        remat=setting.remat != "none",
    )
    lora = LoraTable(rank=16, alpha=32.0) if setting.method == "lora" else None
    profile = replace(profile, training=training, lora=lora)
    return build_abstract_step(profile, config, declared_dtype(place.base))


def _taken(
    place: Place, built: BuiltStep, compiled: jax.stages.Compiled, batch: Batch, highest: int
) -> dict[str, Any]:
    params, frozen = _draw(built.params), _draw(built.frozen)
    state = TrainState.start(params, built.optimizer)
    # Donated at the first step; another name would keep it.
    del params
    times, losses = [], []
    for _ in range(place.scale.tried_steps):
        start = time.monotonic()
        state, metrics = compiled(state, frozen, batch)
        losses.append(float(metrics.loss_sum_nats) / int(metrics.supervised_tokens))
        times.append(time.monotonic() - start)
    peak = peak_bytes(jax.devices()[0])
    # The device's own count never falls: a peak below an earlier one is not seen.
    seen = peak if peak > highest else 0
    return {"step_s": min(times[1:]), "peak_bytes": seen, "loss_nats": losses[0]}


def _draw(shapes: PyTree) -> PyTree:
    """Draw weights on the device: constants can compute faster than what a model holds.

    So that sums are of unit size, whatever the width: attention then has a say in the loss.
    """
    leaves, treedef = jax.tree.flatten(shapes)

    @jax.jit
    def draw() -> list[jax.Array]:
        keys = jax.random.split(jax.random.key(43), max(1, len(leaves)))
        pairs = zip(keys, leaves, strict=False)
        return [
            jax.random.normal(key, leaf.shape, leaf.dtype) * leaf.shape[-1] ** -0.5
            for key, leaf in pairs
        ]

    return jax.tree.unflatten(treedef, draw())


def _batch(rows: int, length: int, vocab_size: int) -> Batch:
    places = np.broadcast_to(np.arange(length, dtype=np.int32), (rows, length))
    tokens = np.random.default_rng(43).integers(3, vocab_size, places.shape, np.int32)
    return Batch(
        tokens=tokens, positions=places, segments=np.ones_like(tokens), supervised=places > 8
    )


@contextlib.contextmanager
def under(setting: Setting, place: Place) -> Iterator[None]:
    """Have the model traced as the setting says."""
    names = _KEPT.get(setting.remat)
    with contextlib.ExitStack() as stack:
        if names is not None:
            policy = jax.checkpoint_policies.save_only_these_names(*names)
            remat = functools.partial(jax.checkpoint, policy=policy)
            stack.enter_context(mock.patch.object(jax, "checkpoint", remat))
            stack.enter_context(mock.patch.object(Attention, "qkv", _named_qkv(Attention.qkv)))
            stack.enter_context(mock.patch.object(FeedForward, "__call__", _named_feed_forward))
        if setting.attention == "fused":
            # On a CPU the same call by XLA, so that a dry run runs it.
            by = "cudnn" if place.platform == "gpu" else "xla"
            attend = functools.partialmethod(_fused_attend, by)
            stack.enter_context(mock.patch.object(Attention, "attend", attend))
        yield


_KEPT = {
    "all but q, k, v": ("qkv",),
    "all but q, k, v, gate, up": ("qkv", "gate", "up"),
}
"""What a layer keeps for its backward pass, by the name of the policy."""


def _named_qkv(honest: object) -> object:
    def qkv(self: Attention, inputs: jax.Array, by: object) -> tuple[jax.Array, ...]:
        found = honest(self, inputs, by)  # type: ignore[operator]
        return tuple(checkpoint_name(each, "qkv") for each in found)

    return qkv


def _named_feed_forward(self: FeedForward, inputs: jax.Array) -> jax.Array:
    gate = checkpoint_name(self.gate(inputs).astype(self.compute_dtype), "gate")
    up = checkpoint_name(self.up(inputs).astype(self.compute_dtype), "up")
    return self.down(geglu(gate, up))


def _fused_attend(
    self: Attention,
    by: Literal["cudnn", "xla"],
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
) -> jax.Array:
    mixed = jax.nn.dot_product_attention(
        query, key, value, mask=mask[:, None], scale=self.config.query_scale, implementation=by
    )
    return self.output(mixed.reshape(*mixed.shape[:2], -1))


if __name__ == "__main__":
    main(place_of(sys.argv[1]))
