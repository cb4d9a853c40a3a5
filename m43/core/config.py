"""The configuration of a Gemma decoder: everything that the three families differ in."""

from dataclasses import dataclass

from m43.gemma_families import ARCHITECTURES, GemmaFamily, count_parameters


@dataclass(frozen=True, kw_only=True)
class GemmaConfig:
    """The shape and the arithmetic of one decoder; the same for training and evaluation.

    Hashable, so that it can be a static part of a compiled function.

    Source: the config.json of each family; `m43.training.weights.config_json` reads it.
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
    rope_factor: float = 1.0
    """What global layers divide a position by: 8 in Gemma 3 from 4B on."""

    @property
    def architecture(self) -> str:
        """The family, as config.json names it."""
        return ARCHITECTURES[self.family]

    @property
    def parameters(self) -> int:
        """How many weights the model has."""
        return count_parameters(
            layers=self.layers,
            d_model=self.d_model,
            d_ff=self.d_ff,
            q_heads=self.q_heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            vocab_size=self.vocab_size,
            family=self.family,
        )
