"""A Gemma decoder as numbers: everything that the three families differ in."""

from dataclasses import dataclass
from typing import Literal

GemmaFamily = Literal["gemma", "gemma2", "gemma3_text"]


@dataclass(frozen=True, kw_only=True)
class GemmaConfig:
    """The shape and the arithmetic of one decoder; the same for training and evaluation.

    Hashable, so that it can be a static part of a compiled function.

    Source: the config.json of each family; `m43.training.model_config` reads it.
    """

    family: GemmaFamily
    layers: int
    d_model: int
    d_ff: int
    q_heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    norm_eps: float
    query_scale: float
    """What an attention score is multiplied by: query_pre_attn_scalar ** -0.5."""
    rope_theta_global: float
    rope_theta_local: float
    sliding_window: int | None
    """A local layer sees this many tokens, itself included; None where no layer is local."""
    global_layers: tuple[bool, ...]
    """One per layer: does it see the whole context?"""
    attention_softcap: float | None
    final_softcap: float | None
    qk_norm: bool
    """Are queries and keys normalised (Gemma 3)?"""
    post_norms: bool
    """Is there a norm after attention and after the feed-forward (Gemma 2 and 3)?"""
    max_positions: int
    pad_id: int
    bos_id: int
    eos_ids: tuple[int, ...]

    @property
    def parameters(self) -> int:
        """Count the weights; the embedding is tied to the head and counts once.

        Example:
            Gemma 1 2B has 2,506,172,416, Gemma 3 270M 268,098,176.
        """
        attention = 2 * self.d_model * self.head_dim * (self.q_heads + self.kv_heads)
        feed_forward = 3 * self.d_model * self.d_ff
        norms = (4 if self.post_norms else 2) * self.d_model
        qk_norms = 2 * self.head_dim if self.qk_norm else 0
        layer = attention + feed_forward + norms + qk_norms
        return self.vocab_size * self.d_model + self.layers * layer + self.d_model
