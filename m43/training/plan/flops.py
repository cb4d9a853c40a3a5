"""Model FLOPs of a step by part, the head over the vocabulary included (the numerator of MFU)."""

from collections.abc import Iterator

from m43.core import GemmaConfig, LoraSettings
from m43.records import PartFlops

# A product forward, and in the backward pass the gradients of both of its operands; the gradient
# of a frozen weight is never made.
_TRAINED_PASSES, _FROZEN_PASSES = 3, 2


def flops_per_token(
    config: GemmaConfig, length: int, lora: LoraSettings | None
) -> tuple[PartFlops, ...]:
    """Count what one token of a row of `length` tokens takes, forward and backward.

    Multiplications and additions of matrix products; norms, softmax and rotations are left out, as
    is what rematerialisation computes again: these are the FLOPs of MFU, not of HFU.
    Attention is causal, so a token attends to (length + 1) / 2 tokens on the average. Under LoRA
    the products of scores and values count like those with frozen weights, forward and one
    backward; they are 0.4 % of a 2B step at 512 tokens.

    Units: FLOPs per token.
    Source: Kaplan et al. 2020, section 2.1 (2 per weight and token forward, 4 backward);
    Chowdhery et al. 2022, PaLM, appendix B (attention, and MFU).

    Example:
        Gemma 1 2B at 512: 15.15e9 with all weights trained, 10.22e9 with LoRA of rank 16.
    """
    passes = _TRAINED_PASSES if lora is None else _FROZEN_PASSES
    parts = [PartFlops(part=part, flops=2 * passes * weights) for part, weights in _weights(config)]
    per_pair = 2 * 2 * config.q_heads * config.head_dim
    seen = sum(_seen(config, length, is_global=each) for each in config.global_layers)
    parts.insert(1, PartFlops(part="attention", flops=round(passes * per_pair * seen)))
    if lora is not None:
        flops = 2 * _TRAINED_PASSES * adapter_weights(config, lora)
        parts.append(PartFlops(part="adapters", flops=flops))
    return tuple(parts)


def _weights(config: GemmaConfig) -> Iterator[tuple[str, int]]:
    """Yield the weights that a token is multiplied by, part by part."""
    heads = config.q_heads + config.kv_heads
    yield "attention projections", config.layers * 2 * config.d_model * config.head_dim * heads
    yield "feed-forward", config.layers * 3 * config.d_model * config.d_ff
    yield "head", config.vocab_size * config.d_model


def _seen(config: GemmaConfig, length: int, *, is_global: bool) -> float:
    """Return how many tokens one attends to on the average, itself included."""
    window = length if is_global or config.sliding_window is None else config.sliding_window
    full = min(length, window)
    # The first `full` tokens see 1, 2, ..., full; the others see a whole window.
    return (full * (full + 1) / 2 + (length - full) * full) / length


def adapter_weights(config: GemmaConfig, lora: LoraSettings) -> int:
    """Count the weights of all adapters.

    Example:
        Gemma 1 2B, rank 16 beside all seven projections: 19,611,648.
    """
    queries, keys = config.q_heads * config.head_dim, config.kv_heads * config.head_dim
    sides = {
        "query": config.d_model + queries,
        "key": config.d_model + keys,
        "value": config.d_model + keys,
        "output": queries + config.d_model,
        "gate": config.d_model + config.d_ff,
        "up": config.d_model + config.d_ff,
        "down": config.d_ff + config.d_model,
    }
    return config.layers * lora.rank * sum(sides[target] for target in lora.targets)
