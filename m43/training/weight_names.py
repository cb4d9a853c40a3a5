"""Where every tensor of a Hugging Face Gemma folder belongs in the scanned decoder."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from m43.core.gemma_config import GemmaConfig

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
"""Some tools save the tied head a second time; it must then equal the embedding."""

# Source: transformers 5.23, the attribute names in modeling_gemma.py, modeling_gemma2.py and
# modeling_gemma3.py, which are the names in the files.
PROJECTIONS: Mapping[str, tuple[str, str]] = {
    "self_attn.q_proj": ("attention", "query"),
    "self_attn.k_proj": ("attention", "key"),
    "self_attn.v_proj": ("attention", "value"),
    "self_attn.o_proj": ("attention", "output"),
    "mlp.gate_proj": ("feed_forward", "gate"),
    "mlp.up_proj": ("feed_forward", "up"),
    "mlp.down_proj": ("feed_forward", "down"),
}
"""What each projection of a layer is called in the files, and where it is in the model."""
_NORMS: Mapping[str, tuple[str, ...]] = {"input_layernorm": ("pre_attention_norm",)}
# One name, two norms: GemmaDecoderLayer.forward applies it before the feed-forward,
# Gemma2DecoderLayer.forward and Gemma3DecoderLayer.forward after attention.
_GEMMA1_NORMS: Mapping[str, tuple[str, ...]] = {
    "post_attention_layernorm": ("pre_feed_forward_norm",),
}
_POST_NORMS: Mapping[str, tuple[str, ...]] = {
    "post_attention_layernorm": ("post_attention_norm",),
    "pre_feedforward_layernorm": ("pre_feed_forward_norm",),
    "post_feedforward_layernorm": ("post_feed_forward_norm",),
}
_QK_NORMS: Mapping[str, tuple[str, ...]] = {
    "self_attn.q_norm": ("attention", "query_norm"),
    "self_attn.k_norm": ("attention", "key_norm"),
}


@dataclass(frozen=True, kw_only=True)
class TensorPlace:
    """One tensor of the files and its place in the model.

    Attributes:
        name: in the files.
        leaf: the path of the parameter in the model.
        layer: the index along the parameter's first axis, or None where the tensor is all of it.
        shape: of the tensor. A Linear is [out, in] here and there: nothing is transposed.
    """

    name: str
    leaf: tuple[str, ...]
    layer: int | None
    shape: tuple[int, ...]


def tensor_places(config: GemmaConfig) -> Iterator[TensorPlace]:
    """List every tensor that a folder of this model must have.

    Example:
        In Gemma 1 `model.layers.3.post_attention_layernorm.weight` is row 3 of
        `layers.pre_feed_forward_norm`.
    """
    table = (config.vocab_size, config.d_model)
    yield TensorPlace(name=EMBEDDING, leaf=("embedding",), layer=None, shape=table)
    names: dict[str, tuple[str, ...]] = {
        **{name: (*path, "weight") for name, path in PROJECTIONS.items()},
        **_NORMS,
        **(_POST_NORMS if config.post_norms else _GEMMA1_NORMS),
        **(_QK_NORMS if config.qk_norm else {}),
    }
    shapes = _shapes(config)
    for layer in range(config.layers):
        for name, path in names.items():
            yield TensorPlace(
                name=f"model.layers.{layer}.{name}.weight",
                leaf=("layers", *path),
                layer=layer,
                shape=shapes.get(name, (config.d_model,)),
            )
    yield TensorPlace(
        name="model.norm.weight", leaf=("final_norm",), layer=None, shape=(config.d_model,)
    )


def _shapes(config: GemmaConfig) -> Mapping[str, tuple[int, ...]]:
    """Give the shapes of everything in a layer but the norms over D."""
    queries, keys = config.q_heads * config.head_dim, config.kv_heads * config.head_dim
    return {
        "self_attn.q_proj": (queries, config.d_model),
        "self_attn.k_proj": (keys, config.d_model),
        "self_attn.v_proj": (keys, config.d_model),
        "self_attn.o_proj": (config.d_model, queries),
        "mlp.gate_proj": (config.d_ff, config.d_model),
        "mlp.up_proj": (config.d_ff, config.d_model),
        "mlp.down_proj": (config.d_model, config.d_ff),
        "self_attn.q_norm": (config.head_dim,),
        "self_attn.k_norm": (config.head_dim,),
    }
