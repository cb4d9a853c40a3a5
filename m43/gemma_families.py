"""The three Gemma families as config.json names them, and how many weights a model of each has."""

from collections.abc import Iterator, Mapping
from typing import Literal

GemmaFamily = Literal["gemma", "gemma2", "gemma3_text"]

# Source: transformers 5.23, `model_type` and `architectures` of the published configurations.
ARCHITECTURES: Mapping[str, str] = {
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
}

# Source: as above; what each size is called in config.json.
SHAPES: Mapping[str, str] = {
    "layers": "num_hidden_layers",
    "d_model": "hidden_size",
    "d_ff": "intermediate_size",
    "q_heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "vocab_size": "vocab_size",
}


ACTIVATION = "gelu_pytorch_tanh"
"""Of every Gemma; Gemma 1 was published with "gelu" and means this one all the same."""


def family_of(architecture: str) -> str:
    """Name the family, as `model_type` in config.json does, of one of the architectures."""
    return next(family for family, named in ARCHITECTURES.items() if named == architecture)


def has_post_norms(family: str) -> bool:
    """Tell whether there is a norm after attention and after the feed-forward."""
    return family != "gemma"


def has_qk_norm(family: str) -> bool:
    """Tell whether queries and keys are normalised."""
    return family == "gemma3_text"


def count_parameters(
    *,
    layers: int,
    d_model: int,
    d_ff: int,
    q_heads: int,
    kv_heads: int,
    head_dim: int,
    vocab_size: int,
    family: str,
) -> int:
    """Count the weights of a decoder; the embedding is tied to the head and counts once.

    Example:
        Gemma 1 2B has 2,506,172,416, Gemma 3 270M 268,098,176.
    """
    attention = 2 * d_model * head_dim * (q_heads + kv_heads)
    feed_forward = 3 * d_model * d_ff
    norms = (4 if has_post_norms(family) else 2) * d_model
    qk_norms = 2 * head_dim if has_qk_norm(family) else 0
    layer = attention + feed_forward + norms + qk_norms
    return vocab_size * d_model + layers * layer + d_model


def uneven_sizes(sizes: Mapping[str, int], fsdp: int, tensor: int) -> Iterator[tuple[str, int]]:
    """Yield each size of a model that a mesh cannot share evenly, with what has to divide it.

    Each matrix is cut by its rows [out, in]; query heads, feed-forward and vocabulary by `tensor`
    as well. Sizes that are not known are not looked at.

    Args:
        sizes: by the names of `SHAPES`.
        fsdp: of the mesh.
        tensor: of the mesh.

    Example:
        >>> list(uneven_sizes({"d_model": 2048, "vocab_size": 257}, 2, 1))
        [('vocab_size', 2)]
    """
    every = fsdp * tensor
    known = dict(sizes)
    if "head_dim" in known:
        # Rows of the projections: a head itself may be cut by fsdp, and never by tensor.
        for heads in ("q_heads", "kv_heads"):
            if heads in known and known[heads] * known["head_dim"] % fsdp:
                yield heads, fsdp
    rules = (("d_model", fsdp), ("d_ff", every), ("vocab_size", every), ("q_heads", tensor))
    yield from ((name, parts) for name, parts in rules if known.get(name, 0) % parts)
