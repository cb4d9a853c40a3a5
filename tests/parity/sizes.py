"""The sizes of the small random models that stand beside their references."""

SIZES = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 64,
}
WINDOW = {"sliding_window": 8, "query_pre_attn_scalar": 24}
"""What Gemma 2 and 3 have beside that."""
