"""The Gemma decoder: one scanned stack of layers for Gemma 1, 2 and 3 text; LoRA beside it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float, Int, PyTree

from m43.core.attention import UNLIMITED, Rotation, may_attend, rms_norm, rotation, soft_cap
from m43.core.config import GemmaConfig
from m43.core.layer import Layer
from m43.core.linear import (
    Adapter,
    AdapterWeight,
    NewWeights,
    Projection,
    linear,
    normal,
    zeros,
)
from m43.core.numerics import (
    bitcast_bf16,
    bitcast_like,
    float32_gradient,
    gradient_accumulator,
    look_up,
    register_pytree,
)
from m43.core.sharding import FSDP, gathered, pin

Carry = TypeVar("Carry")
Output = TypeVar("Output")


@register_pytree
@dataclass(frozen=True, kw_only=True)
class LayerView:
    """What one layer sees of the context, or with one axis more what each layer sees.

    Arrays, so that the stack of layers can be scanned along with its weights.
    """

    index: Int[Array, "*layers"]
    is_global: Bool[Array, "*layers"]
    window: Int[Array, "*layers"]


class Gemma(nnx.Module):
    """A decoder with tied embeddings, described by a `GemmaConfig`.

    Every weight of a layer is one array with a leading axis over the layers, and the layers run
    in one `lax.scan`: the compiled step does not grow with depth, and local and global layers
    share it because window and rotation are chosen by scanned values.

    Attributes:
        compute_dtype: of the residual stream and of the operands of every matrix product;
            norms, softmax and sums are float32 whatever it is.
        remat: whether the backward pass computes each layer again instead of keeping it.
    """

    def __init__(
        self,
        config: GemmaConfig,
        *,
        rngs: nnx.Rngs,
        param_dtype: jnp.dtype | type = jnp.float32,
        compute_dtype: jnp.dtype | type = jnp.bfloat16,
        remat: bool = True,
    ) -> None:
        self.config = config
        self.compute_dtype = jnp.dtype(compute_dtype)
        self.remat = remat
        param_dtype = jnp.dtype(param_dtype)

        @nnx.split_rngs(splits=config.layers)
        @nnx.vmap
        def stack(rngs: nnx.Rngs) -> Layer:
            new = NewWeights(rngs=rngs, param_dtype=param_dtype, compute_dtype=self.compute_dtype)
            return Layer(config, new)

        self.embedding = normal(rngs, (config.vocab_size, config.d_model), param_dtype)
        self.layers = stack(rngs)
        self.final_norm = zeros((config.d_model,), param_dtype)

    def hidden(
        self,
        tokens: Int[Array, "B L"],
        positions: Int[Array, "B L"],
        segments: Int[Array, "B L"],
    ) -> Float[Array, "B L D"]:
        """Return the normalised last hidden states, in the compute dtype.

        Segment 0 is padding, which nothing attends to; tokens of one other segment attend to one
        another causally by position. What comes out at padding is finite and means nothing.

        Shapes: B batch, L length, D model.
        """
        return self.hidden_and_accumulator(tokens, positions, segments)[0]

    def hidden_and_accumulator(
        self,
        tokens: Int[Array, "B L"],
        positions: Int[Array, "B L"],
        segments: Int[Array, "B L"],
    ) -> tuple[Float[Array, "B L D"], Float[Array, "V D"]]:
        """Return the hidden states, and where the head accumulates the embedding's gradient.

        See `look_up` for why both of the embedding's gradients go through one place.
        """
        rotations = Rotations.at(positions, self.config)

        def body(
            layer: Layer, view: LayerView, stream: Float[Array, "B L D"]
        ) -> tuple[Float[Array, "B L D"], None]:
            query, key, value = layer.qkv(stream, rotations.of(view))
            mask = may_attend(positions, segments, positions, segments, view.window)
            return layer.finish(stream, query, key, value, mask), None

        rows, accumulator = self.embed(tokens)
        stream, _ = self.scan_layers(body, rows)
        return self.finish(stream), accumulator

    def embed(self, tokens: Int[Array, "B L"]) -> tuple[Float[Array, "B L D"], Float[Array, "V D"]]:
        """Look up the tokens and scale them by sqrt(d_model), rounded to the compute dtype.

        Source: transformers 5.23, GemmaTextScaledWordEmbedding (bf16(sqrt 2048) = 45.25).
        """
        rows, accumulator = look_up(self.embedding[...], tokens)
        scale = jnp.asarray(math.sqrt(self.config.d_model), self.compute_dtype)
        return pin(rows.astype(self.compute_dtype) * scale, FSDP), accumulator

    def scan_layers(
        self,
        body: Callable[[Layer, LayerView, Carry], tuple[Carry, Output]],
        carry: Carry,
        *,
        differentiable: bool = True,
    ) -> tuple[Carry, Output]:
        """Scan over the layers: carry a value through them, and stack what each puts out.

        Args:
            body: run once per layer.
            carry: what the first layer receives.
            differentiable: false where no gradient is ever asked for; it is then faster on a CPU.
        """
        config = self.config
        windows = [UNLIMITED if glob else config.sliding_window for glob in config.global_layers]
        views = LayerView(
            index=jnp.arange(config.layers),
            is_global=jnp.asarray(config.global_layers),
            window=jnp.asarray(windows, jnp.int32),
        )
        graphdef, weights = nnx.split(self.layers)

        leaves, treedef = jax.tree.flatten(weights)
        paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(weights)]
        totals = self._accumulators(leaves) if differentiable else [None] * len(leaves)

        def step(carry: Carry, scanned: tuple[PyTree, PyTree, LayerView]) -> tuple[Carry, Output]:
            parts, of_totals, view = scanned
            layer = [
                part if total is None else float32_gradient(part, total)
                for part, total in zip(
                    gathered(paths, bitcast_like(parts, leaves)), of_totals, strict=True
                )
            ]
            carry = jax.tree.map(lambda part: pin(part, FSDP), carry)
            return body(nnx.merge(graphdef, jax.tree.unflatten(treedef, layer)), view, carry)

        if self.remat and differentiable:
            # In a scan nothing can be merged across the recomputation, so no barrier is needed.
            step = jax.checkpoint(step, prevent_cse=False)
        # Where the accumulator has the gradient, the weight itself has none.
        stacked = [
            leaf if total is None else stop_gradient(leaf)
            for leaf, total in zip(leaves, totals, strict=True)
        ]
        return jax.lax.scan(
            step, carry, (stacked if differentiable else bitcast_bf16(leaves), totals, views)
        )

    def _accumulators(self, leaves: list[Array]) -> list[Array | None]:
        """Make accumulators for bfloat16 weights that are trained: beside adapters none is.

        One for a frozen weight would keep a copy of that for the backward pass.
        """
        adapters = jax.tree.leaves(nnx.state(self.layers, AdapterWeight))
        wanted = [not adapters and leaf.dtype == jnp.bfloat16 for leaf in leaves]
        return [
            gradient_accumulator(leaf) if want else None
            for leaf, want in zip(leaves, wanted, strict=True)
        ]

    def finish(self, stream: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
        """Apply the final norm to the residual stream."""
        normed = rms_norm(stream, self.final_norm[...], self.config.norm_eps)
        return normed.astype(self.compute_dtype)

    def logits(self, hidden: Float[Array, "B L D"]) -> Float[Array, "B L V"]:
        """Score every token of the vocabulary, in float32, soft cap included.

        The whole [B, L, V] array exists: for a loss over a large vocabulary use
        `m43.core.step.completion_loss`, which never makes it.
        """
        return head_logits(
            hidden, self.embedding[...], self.config.final_softcap, self.compute_dtype
        )


def head_logits(
    hidden: Float[Array, "B L D"],
    embedding: Float[Array, "V D"],
    final_softcap: float | None,
    dtype: jnp.dtype,
) -> Float[Array, "B L V"]:
    """Multiply by the tied embedding and apply the final soft cap, if there is one."""
    scores = linear(hidden, embedding, dtype)
    return scores if final_softcap is None else soft_cap(scores, final_softcap)


@register_pytree
@dataclass(frozen=True, kw_only=True)
class Rotations:
    """The rotations of global and of local layers, computed once for the whole stack."""

    of_global: Rotation
    of_local: Rotation

    @classmethod
    def at(cls, positions: Int[Array, "B L"], config: GemmaConfig) -> "Rotations":
        """Compute both for these positions."""
        return cls(
            of_global=rotation(
                positions, config.head_dim, config.rope_theta_global, config.rope_factor
            ),
            of_local=rotation(positions, config.head_dim, config.rope_theta_local),
        )

    def of(self, view: LayerView) -> Rotation:
        """Select the one that a layer uses."""
        return jax.tree.map(
            lambda of_global, of_local: jnp.where(view.is_global, of_global, of_local),
            self.of_global,
            self.of_local,
        )


def abstract_gemma(
    config: GemmaConfig,
    param_dtype: jnp.dtype | type = jnp.float32,
    *,
    compute_dtype: jnp.dtype | type = jnp.bfloat16,
    remat: bool = True,
) -> Gemma:
    """Build the model with shapes in place of weights; it costs no memory at any size."""
    return nnx.eval_shape(
        lambda: Gemma(
            config,
            rngs=nnx.Rngs(0),
            param_dtype=param_dtype,
            compute_dtype=compute_dtype,
            remat=remat,
        )
    )


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """What adapters there are; the ranges stand in `profile_check`.

    Attributes:
        rank: R, the width of every adapter.
        alpha: the change is scaled by alpha / rank.
        targets: names of projections of a layer, such as query and gate.
    """

    rank: int
    alpha: float
    targets: tuple[str, ...]

    @property
    def scale(self) -> float:
        """What the product of the two matrices is multiplied by."""
        return self.alpha / self.rank


def projections(model: Gemma) -> Mapping[str, Projection]:
    """Return the projections of a layer by name; each holds the stack of all layers.

    Example:
        query, key, value, output, gate, up and down in a Gemma.
    """
    parts = (model.layers.attention, model.layers.feed_forward)
    return {
        name: value
        for part in parts
        for name, value in vars(part).items()
        if isinstance(value, Projection)
    }


def add_adapters(model: Gemma, settings: LoraSettings, *, seed: int) -> None:
    """Add an adapter to every targeted projection of a model; its outputs stay the same."""
    found = projections(model)
    rngs = nnx.Rngs(params=seed)
    # Sorted, so that neither the order of the targets nor of the model changes an adapter.
    for name in sorted(settings.targets):
        shape = found[name].weight.shape
        found[name].adapter = Adapter(shape, rank=settings.rank, scale=settings.scale, rngs=rngs)
