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


MULTIMODAL, MULTIMODAL_ARCHITECTURE = "gemma3", "Gemma3ForConditionalGeneration"
"""What config.json of Gemma 3 4B, 12B and 27B says: a vision tower beside the text model."""

BASE_CONFIG = "base_config.json"
"""In a trained folder: config.json of the multimodal base, from which that of the text follows."""

# What the published text_config leaves out.
# Source: transformers 5.24, Gemma3TextConfig; the rotation and the pattern in the spelling of 4.57.
_TEXT_DEFAULTS: Mapping[str, object] = {
    "vocab_size": 262_208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "hidden_activation": ACTIVATION,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-6,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "tie_word_embeddings": True,
}
_ROTATION: Mapping[str, object] = {"rope_theta": 1e6, "rope_local_base_freq": 1e4}
_PATTERN: Mapping[str, object] = {"sliding_window_pattern": 6}
_PATTERN_KEYS = ("layer_types", "_sliding_window_pattern")
_DTYPES = ("dtype", "torch_dtype")


def is_multimodal(config: Mapping[str, object]) -> bool:
    """Return whether config.json describes a model with a vision tower, which m43 leaves out."""
    return config.get("model_type") == MULTIMODAL


def text_part(config: Mapping[str, object]) -> Mapping[str, object]:
    """Return config.json of the text model that is trained, which of most folders is the whole.

    Of a multimodal folder it is `text_config`, completed by transformers' defaults. Which ids end
    a text and which dtype the weights have is said outside of it, for all parts.

    Example:
        >>> text_part({"model_type": "gemma3", "text_config": {"head_dim": 128}})["head_dim"]
        128
    """
    text = config.get("text_config")
    if not is_multimodal(config) or not isinstance(text, dict):
        return config
    defaults = dict(_TEXT_DEFAULTS)
    if text.get("rope_parameters") is None:
        defaults |= _ROTATION
    if all(text.get(key) is None for key in _PATTERN_KEYS):
        defaults |= _PATTERN
    whole = {key: config[key] for key in ("eos_token_id", *_DTYPES) if config.get(key) is not None}
    if any(key in whole for key in _DTYPES):
        text = {key: value for key, value in text.items() if key not in _DTYPES}
    family = "gemma3_text"
    named = {"model_type": family, "architectures": [ARCHITECTURES[family]]}
    return {**defaults, **text, **whole, **named}


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
