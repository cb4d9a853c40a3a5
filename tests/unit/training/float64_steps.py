"""Steps of a small Gemma in float64: NumPy alone, and every derivative written out by hand.

The reference of the venv gate's numerics check. It shares with m43 the settings, the weights, the
tokens and the signs of `small_gemma`, and not one line of arithmetic.

    python -m tests.unit.training.float64_steps    writes m43/training/numerics/float64.json again

Shapes: B batch, L length, V vocabulary, D model, N query heads, K key heads, G = N / K,
H head size, F feed-forward. A weight of a layer has one axis in front over the layers.

Source: transformers 5.23, modeling_gemma, modeling_gemma2 and modeling_gemma3; Kingma and Ba 2014,
algorithm 1 (without weight decay AdamW is Adam); Shazeer and Stern 2018, algorithm 4.
"""

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from m43.core.batch import Batch
from m43.core.config import GemmaConfig
from m43.core.optimizer import OptimizerSettings
from m43.training.numerics import small_gemma
from m43.training.numerics.small_gemma import STEPS, Reference, SmallStep, WeightReference

Weights = dict[str, np.ndarray]
Pull = Callable[[np.ndarray], np.ndarray]


class Loss(NamedTuple):
    """The mean loss over the supervised tokens, and its gradient."""

    nats: float
    gradient: Weights


def start(config: GemmaConfig) -> Weights:
    """Return the weights before the first step."""
    wide, narrow = config.q_heads * config.head_dim, config.kv_heads * config.head_dim
    of_layer: dict[str, tuple[int, ...]] = {
        "attention.key.weight": (narrow, config.d_model),
        "attention.output.weight": (config.d_model, wide),
        "attention.query.weight": (wide, config.d_model),
        "attention.value.weight": (narrow, config.d_model),
        "feed_forward.down.weight": (config.d_model, config.d_ff),
        "feed_forward.gate.weight": (config.d_ff, config.d_model),
        "feed_forward.up.weight": (config.d_ff, config.d_model),
        "pre_attention_norm": (config.d_model,),
        "pre_feed_forward_norm": (config.d_model,),
    }
    if config.family != "gemma":
        of_layer |= {
            "post_attention_norm": (config.d_model,),
            "post_feed_forward_norm": (config.d_model,),
        }
    if config.family == "gemma3_text":
        of_layer |= {
            "attention.key_norm": (config.head_dim,),
            "attention.query_norm": (config.head_dim,),
        }
    shapes = {
        "embedding": (config.vocab_size, config.d_model),
        "final_norm": (config.d_model,),
        **{f"layers.{name}": (config.layers, *shape) for name, shape in of_layer.items()},
    }
    return {name: small_gemma.weight(name, shape) for name, shape in shapes.items()}


class _Pass:
    """One forward pass; each part leaves how its derivative is pulled back."""

    def __init__(self, config: GemmaConfig, weights: Weights, batch: Batch) -> None:
        self.config, self.weights = config, weights
        self.gradient = {name: np.zeros_like(weight) for name, weight in weights.items()}
        self.positions = np.asarray(batch.positions)
        self.segments = np.asarray(batch.segments)

    def part(self, name: str, layer: int | None) -> tuple[np.ndarray, Pull]:
        """Return a weight, and what adds to its gradient."""
        whole, at = (name, ...) if layer is None else (f"layers.{name}", layer)

        def add(cotangent: np.ndarray) -> np.ndarray:
            self.gradient[whole][at] += cotangent
            return cotangent

        return self.weights[whole][at], add

    def norm(self, x: np.ndarray, name: str, layer: int | None) -> tuple[np.ndarray, Pull]:
        """Return x / rms(x) * (1 + weight), over the last axis."""
        weight, add = self.part(name, layer)
        root = 1.0 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.config.norm_eps)
        unit = x * root

        def pull(d: np.ndarray) -> np.ndarray:
            add(np.sum(d * unit, axis=tuple(range(d.ndim - 1))))
            d = d * (1.0 + weight)
            return root * (d - unit * np.mean(d * unit, axis=-1, keepdims=True))

        return unit * (1.0 + weight), pull

    def linear(self, x: np.ndarray, name: str, layer: int) -> tuple[np.ndarray, Pull]:
        """Return x @ weight.T, the weight as [out, in]."""
        weight, add = self.part(name, layer)

        def pull(d: np.ndarray) -> np.ndarray:
            add(np.einsum("blo,bli->oi", d, x))
            return d @ weight

        return x @ weight.T, pull

    def angles(self, layer: int) -> tuple[np.ndarray, np.ndarray]:
        """Return sine and cosine of position * theta ** (-2i / H). Shapes: [B, L, 1, H/2]."""
        config = self.config
        everywhere = config.global_layers[layer]
        theta = config.rope_theta_global if everywhere else config.rope_theta_local
        frequencies = theta ** (-np.arange(0, config.head_dim, 2) / config.head_dim)
        angles = self.positions[:, :, None, None] * frequencies
        return np.sin(angles), np.cos(angles)

    def attention(self, x: np.ndarray, layer: int) -> tuple[np.ndarray, Pull]:
        """Grouped heads: query head n reads key head n // G."""
        config, (batch, length, _) = self.config, x.shape
        groups = config.q_heads // config.kv_heads
        sin, cos = self.angles(layer)
        heads, pulls = {}, {}
        for name in ("query", "key", "value"):
            flat, pulls[name] = self.linear(x, f"attention.{name}.weight", layer)
            heads[name] = flat.reshape(batch, length, -1, config.head_dim)
        norms: dict[str, Pull] = {}
        for name in ("query", "key"):
            if config.family == "gemma3_text":
                normed = self.norm(heads[name], f"attention.{name}_norm", layer)
                heads[name], norms[name] = normed
            heads[name] = _rotated(heads[name], sin, cos)
        query = heads["query"].reshape(batch, length, -1, groups, config.head_dim)
        key, value = heads["key"], heads["value"]

        raw = np.einsum("blkgh,bskh->bkgls", query, key) * config.query_scale
        scores, uncap = _capped(raw, config.attention_softcap)
        masked = np.where(self.visible(layer)[:, None, None], scores, -np.inf)
        # Nobody may look from padding; any finite row will do, nothing depends on it.
        masked = np.where(np.isfinite(masked).any(axis=-1, keepdims=True), masked, 0.0)
        shares = np.exp(masked - masked.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        mixed = np.einsum("bkgls,bskh->blkgh", shares, value)
        out, pull_out = self.linear(
            mixed.reshape(batch, length, -1), "attention.output.weight", layer
        )

        def pull(d: np.ndarray) -> np.ndarray:
            d_mixed = pull_out(d).reshape(mixed.shape)
            d_shares = np.einsum("blkgh,bskh->bkgls", d_mixed, value)
            d_scores = shares * (d_shares - np.sum(d_shares * shares, axis=-1, keepdims=True))
            d_raw = uncap(d_scores) * config.query_scale
            of = {
                "query": np.einsum("bkgls,bskh->blkgh", d_raw, key).reshape(heads["query"].shape),
                "key": np.einsum("bkgls,blkgh->bskh", d_raw, query),
                "value": np.einsum("bkgls,blkgh->bskh", shares, d_mixed),
            }
            for name in ("query", "key"):
                of[name] = _rotated(of[name], -sin, cos)
                if name in norms:
                    of[name] = norms[name](of[name])
            return sum(pulls[name](each.reshape(batch, length, -1)) for name, each in of.items())

        return out, pull

    def visible(self, layer: int) -> np.ndarray:
        """Return who may look at whom. Shapes: [B, L, S]."""
        distance = self.positions[:, :, None] - self.positions[:, None, :]
        same = (self.segments[:, :, None] == self.segments[:, None, :]) & (
            self.segments[:, None, :] != 0
        )
        window = np.inf if self.config.global_layers[layer] else self.config.sliding_window
        return same & (distance >= 0) & (distance < window)

    def feed_forward(self, x: np.ndarray, layer: int) -> tuple[np.ndarray, Pull]:
        """down(gelu(gate(x)) * up(x)), the GELU by its tanh form."""
        gate, pull_gate = self.linear(x, "feed_forward.gate.weight", layer)
        up, pull_up = self.linear(x, "feed_forward.up.weight", layer)
        slope = np.sqrt(2.0 / np.pi)
        tanh = np.tanh(slope * (gate + 0.044715 * gate**3))
        gelu = 0.5 * gate * (1.0 + tanh)
        out, pull_out = self.linear(gelu * up, "feed_forward.down.weight", layer)

        def pull(d: np.ndarray) -> np.ndarray:
            d = pull_out(d)
            inner = slope * (1.0 + 3 * 0.044715 * gate**2)
            d_gelu = 0.5 * (1.0 + tanh) + 0.5 * gate * (1.0 - tanh**2) * inner
            return pull_gate(d * up * d_gelu) + pull_up(d * gelu)

        return out, pull

    def block(
        self,
        stream: np.ndarray,
        layer: int,
        work: Callable[[np.ndarray, int], tuple[np.ndarray, Pull]],
        name: str,
    ) -> tuple[np.ndarray, Pull]:
        """Add attention or the feed-forward to the residual stream, between its norms."""
        normed, pull_before = self.norm(stream, f"pre_{name}_norm", layer)
        out, pull_work = work(normed, layer)
        pull_after: Pull = lambda d: d  # noqa: E731
        if self.config.family != "gemma":
            out, pull_after = self.norm(out, f"post_{name}_norm", layer)
        return stream + out, lambda d: d + pull_before(pull_work(pull_after(d)))


def _rotated(heads: np.ndarray, sin: np.ndarray, cos: np.ndarray) -> np.ndarray:
    first, second = np.split(heads, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def _capped(values: np.ndarray, cap: float | None) -> tuple[np.ndarray, Pull]:
    if cap is None:
        return values, lambda d: d
    tanh = np.tanh(values / cap)
    return tanh * cap, lambda d: d * (1.0 - tanh**2)


def loss(config: GemmaConfig, weights: Weights, batch: Batch) -> Loss:
    """Return the mean cross-entropy over the supervised tokens, and its gradient."""
    run = _Pass(config, weights, batch)
    tokens = np.asarray(batch.tokens)
    scale = np.sqrt(config.d_model)
    stream = weights["embedding"][tokens] * scale
    pulls = []
    for layer in range(config.layers):
        for work, name in ((run.attention, "attention"), (run.feed_forward, "feed_forward")):
            stream, pull = run.block(stream, layer, work, name)
            pulls.append(pull)
    hidden, pull_norm = run.norm(stream, "final_norm", None)

    rows, places = np.nonzero(np.asarray(batch.supervised)[:, 1:])
    states, targets = hidden[rows, places], tokens[rows, places + 1]
    logits, uncap = _capped(states @ weights["embedding"].T, config.final_softcap)
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    picked = np.arange(targets.size), targets
    nats = -np.mean(np.log(shares[picked]))

    d_logits = shares.copy()
    d_logits[picked] -= 1.0
    d_logits = uncap(d_logits / targets.size)
    d_hidden = np.zeros_like(hidden)
    np.add.at(d_hidden, (rows, places), d_logits @ weights["embedding"])
    d_stream = pull_norm(d_hidden)
    for pull in reversed(pulls):
        d_stream = pull(d_stream)
    run.gradient["embedding"] += d_logits.T @ states
    np.add.at(run.gradient["embedding"], tokens, d_stream * scale)
    return Loss(float(nats), run.gradient)


def rate(settings: OptimizerSettings, step: int) -> float:
    """Return the learning rate of a step, from 1; the small steps end within the warm-up."""
    return settings.learning_rate * step / settings.warmup_steps


class Optimizer:
    """AdamW or Adafactor with the moments of every weight."""

    def __init__(self, settings: OptimizerSettings) -> None:
        self.settings, self.step = settings, 0
        self.moments: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def update(self, weights: Weights, gradient: Weights) -> Weights:
        """Return the weights after one more step."""
        self.step += 1
        settings = self.settings
        norm = np.sqrt(sum(np.sum(part**2) for part in gradient.values()))
        clip = settings.clip_norm / max(norm, settings.clip_norm)
        scaled = self._adam if settings.name == "adamw" else self._adafactor
        after = {}
        for name, weight in weights.items():
            change = scaled(name, gradient[name] * clip)
            after[name] = weight - rate(settings, self.step) * change
        return after

    def _adam(self, name: str, gradient: np.ndarray) -> np.ndarray:
        settings, zero = self.settings, np.zeros_like(gradient)
        mean, square = self.moments.get(name, (zero, zero))
        mean = settings.beta1 * mean + (1 - settings.beta1) * gradient
        square = settings.beta2 * square + (1 - settings.beta2) * gradient**2
        self.moments[name] = mean, square
        root = np.sqrt(square / (1 - settings.beta2**self.step))
        return mean / (1 - settings.beta1**self.step) / (root + settings.eps)

    def _adafactor(self, name: str, gradient: np.ndarray) -> np.ndarray:
        squares = gradient**2 + self.settings.eps
        matrix = gradient.ndim > 1 and min(gradient.shape[-2:]) >= 128
        # Rows and columns of a matrix; of anything else every number by itself.
        new = (squares.mean(-1), squares.mean(-2)) if matrix else (squares, squares)
        kept = 1.0 - self.step**-self.settings.beta2
        old = self.moments.get(name, new)
        row, column = (kept * a + (1 - kept) * b for a, b in zip(old, new, strict=True))
        self.moments[name] = row, column
        second = row
        if matrix:
            of_row = row / row.mean(-1, keepdims=True)
            second = of_row[..., :, None] * column[..., None, :]
        update = gradient / np.sqrt(second)
        return update / max(1.0, float(np.sqrt(np.mean(update**2))))


def take(small: SmallStep) -> Reference:
    """Take the steps of one model, and return what is stored of them."""
    weights, batch = start(small.config), small_gemma.batch()
    optimizer = Optimizer(small.optimizer)
    losses, told = [], {}
    for _ in range(STEPS):
        now = loss(small.config, weights, batch)
        after = optimizer.update(weights, now.gradient)
        losses.append(now.nats)
        if not told:
            told = {
                name: WeightReference(
                    norm=float(np.linalg.norm(part)),
                    projections=tuple(small_gemma.signs(name, part.size) @ part.ravel()),
                    descent=float(np.vdot(after[name] - weights[name], part)),
                )
                for name, part in now.gradient.items()
            }
        weights = after
    return Reference(tuple(losses), told)


def references() -> Mapping[str, Reference]:
    """Take the steps of every family."""
    return {small.config.family: take(small) for small in small_gemma.SMALL_STEPS}


def document(told: Mapping[str, Reference]) -> str:
    """Write the file of references, with twelve digits: machines agree on no more."""
    table = {
        family: {
            "losses_nats": each.losses_nats,
            "weights": {name: weight._asdict() for name, weight in each.weights.items()},
        }
        for family, each in told.items()
    }
    short = json.loads(json.dumps(table), parse_float=lambda text: float(f"{float(text):.12g}"))
    return json.dumps(short, indent=1) + "\n"


if __name__ == "__main__":
    small_gemma.REFERENCE.write_text(document(references()), encoding="utf-8")
