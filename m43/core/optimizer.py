"""The optimizer: AdamW or Adafactor behind a clipped gradient, a warm-up and a cosine."""

import functools
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from m43.core.adafactor import scale_by_adafactor
from m43.errors import M43Error


class OptimizerStateError(M43Error):
    """An optimizer state without a step counter, or with two that disagree."""


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """Everything an update depends on but the gradient; the ranges stand in `profile_check`.

    Attributes:
        learning_rate: at the top, after the warm-up.
        warmup_steps: the rate rises in equal parts over so many steps; none of them has rate 0.
        total_steps: the cosine ends here.
        end_learning_rate_ratio: the rate at the end, as a share of `learning_rate`.
        weight_decay: per step and unit of learning rate, on matrices only.
        beta1: decay of the mean gradient. Adafactor keeps none at 0.
        beta2: AdamW: decay of the mean square. Adafactor: the exponent c of its decay
            1 - step ** -c, 0.8 in the paper.
        eps: AdamW: added to the root, 1e-8. Adafactor: added to the square, 1e-30.
        clip_norm: the gradient's global norm is cut to this.
    """

    name: Literal["adamw", "adafactor"]
    learning_rate: float
    warmup_steps: int
    total_steps: int
    end_learning_rate_ratio: float
    weight_decay: float
    beta1: float
    beta2: float
    eps: float
    clip_norm: float


def make_schedule(settings: OptimizerSettings) -> optax.Schedule:
    """Return the learning rate of the step that follows `count` finished steps.

    The first step has rate learning_rate / warmup_steps, not 0: a step that moves nothing would
    be counted as one of the promised steps.

    Source: Loshchilov and Hutter 2017, SGDR, equation 5, one cycle.

    Example:
        warmup_steps 2, total_steps 4, learning_rate 1, end ratio 0 give 0.5, 1, 1, 0.5.
    """
    peak, end = settings.learning_rate, settings.learning_rate * settings.end_learning_rate_ratio
    warmup, total = settings.warmup_steps, settings.total_steps

    def schedule(count: Int[Array, ""] | int) -> Float[Array, ""]:
        step = jnp.asarray(count, jnp.float32)
        rising = peak * (step + 1.0) / max(1, warmup)
        progress = jnp.clip((step - warmup) / max(1, total - warmup), 0.0, 1.0)
        falling = end + (peak - end) * 0.5 * (1.0 + jnp.cos(jnp.pi * progress))
        return jnp.where(step < warmup, rising, falling)

    return schedule


def make_optimizer(settings: OptimizerSettings) -> optax.GradientTransformation:
    """Chain clipping, AdamW or Adafactor, weight decay and the schedule.

    Adafactor here does not multiply the rate by the size of the weights, which optax does by
    default and transformers does not: the same rate means the same step in both.

    Source: optax 0.2.8, adamw and adafactor; Shazeer and Stern 2018, Adafactor.
    """
    scales: tuple[optax.GradientTransformation, ...]
    if settings.name == "adamw":
        scales = (
            clip_by_global_norm(settings.clip_norm),
            scale_by_adam(settings.beta1, settings.beta2, settings.eps),
        )
    else:
        scales = (
            scale_by_adafactor(
                decay=settings.beta2, eps=settings.eps, clip_norm=settings.clip_norm
            ),
            optax.ema(settings.beta1, debias=False) if settings.beta1 else optax.identity(),
        )
    chained = optax.chain(
        *scales,
        optax.add_decayed_weights(settings.weight_decay, mask=decayed),
        optax.scale_by_learning_rate(make_schedule(settings)),
    )

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        # In float32 whatever the dtypes of weights and moments: in bfloat16 every operation would
        # round, and on a CPU each rounding takes longer than the memory does.
        known = state if settings.name == "adamw" else _widened(state)
        # optax raises a Python float to an int32 array, which strict promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            change, after = chained.update(_widened(updates), known, _widened(params))
        return change, jax.tree.map(lambda new, old: new.astype(old.dtype), after, state)

    return optax.GradientTransformation(chained.init, update)


def _widened(tree: PyTree) -> PyTree:
    return jax.tree.map(
        lambda leaf: leaf.astype(jnp.float32) if leaf.dtype == jnp.bfloat16 else leaf, tree
    )


def scale_by_adam(beta1: float, beta2: float, eps: float) -> optax.GradientTransformation:
    """Divide the mean gradient by the root of its mean square, in float32.

    As optax's own, except that the change is made of the means as they are stored. On a CPU they
    are written first and then read: a change made of the means before, which are overwritten in
    the same step, has XLA copy all of them each time.

    Source: Kingma and Ba 2014, Adam, algorithm 1; optax 0.2.8, scale_by_adam.
    """
    plain = optax.scale_by_adam(b1=beta1, b2=beta2, eps=eps)

    def update(
        updates: optax.Updates,
        state: optax.ScaleByAdamState,
        params: optax.Params | None = None,
    ) -> tuple[optax.Updates, optax.ScaleByAdamState]:
        del params

        def mean(decay: float, old: Array, new: Array) -> Array:
            wide = decay * old.astype(jnp.float32) + (1.0 - decay) * new
            return wide.astype(old.dtype)

        mu = jax.tree.map(functools.partial(mean, beta1), state.mu, updates)
        squares = jax.tree.map(jnp.square, updates)
        nu = jax.tree.map(functools.partial(mean, beta2), state.nu, squares)
        stored = jax.lax.platform_dependent(mu, nu, cpu=_written, default=lambda mu, nu: (mu, nu))
        count = optax.safe_increment(state.count)
        steps = count.astype(jnp.float32)
        of_mu, of_nu = 1.0 - beta1**steps, 1.0 - beta2**steps

        def scaled(mu: Array, nu: Array) -> Array:
            root = jnp.sqrt(nu.astype(jnp.float32) / of_nu)
            return mu.astype(jnp.float32) / of_mu / (root + eps)

        change = jax.tree.map(scaled, *stored)
        return change, optax.ScaleByAdamState(count=count, mu=stored[0], nu=stored[1])

    return optax.GradientTransformation(plain.init, update)


def _written(mu: optax.Updates, nu: optax.Updates) -> tuple[optax.Updates, optax.Updates]:
    written: tuple[optax.Updates, optax.Updates] = jax.lax.optimization_barrier((mu, nu))
    return written


def clip_by_global_norm(most: float) -> optax.GradientTransformation:
    """Scale the gradient down to a global norm of `most`; a smaller one stays as it is.

    optax's own chooses between the gradient and a scaled copy, which XLA then writes out: two
    more passes over all weights. A factor is fused into what comes after.

    Source: Pascanu et al. 2013, algorithm 1.
    """

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        del params
        factor = most / jnp.maximum(optax.tree.norm(updates), most)
        return jax.tree.map(lambda part: part * factor.astype(part.dtype), updates), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


def decayed(params: optax.Params) -> optax.Params:
    """Mark the matrices; norms are left alone, and Gemma has no biases.

    By name: a stack of norms over the layers has two axes, like a matrix.
    """

    def is_matrix(path: tuple[object, ...], _: object) -> bool:
        return not any(str(getattr(key, "key", "")).endswith("norm") for key in path)

    return jax.tree_util.tree_map_with_path(is_matrix, params)


def step_count(opt_state: optax.OptState) -> Int[Array, ""]:
    """Return the optimizer's own counter of finished updates; works inside a compiled step.

    Raises:
        OptimizerStateError: if it keeps none.
    """
    counts = _counts(opt_state)
    if not counts:
        raise _counters_error("no step counter")
    return counts[0]


def optimizer_steps(opt_state: optax.OptState) -> int:
    """Read how many updates the optimizer has made.

    Raises:
        OptimizerStateError: if it keeps no counter, or if two disagree.
    """
    counts = [int(count) for count in _counts(opt_state)]
    if len(set(counts)) != 1:
        raise _counters_error(f"step counters {counts}")
    return counts[0]


def _counts(opt_state: optax.OptState) -> list[Array]:
    return [count for _, count in optax.tree_utils.tree_get_all_with_path(opt_state, "count")]


def _counters_error(found: str) -> OptimizerStateError:
    return OptimizerStateError(
        found=found,
        expected="at least one counter, all the same",
        where="optimizer state",
        action="pass the state that the step returned, whole",
    )
