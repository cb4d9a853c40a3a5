"""The model of the production run, as m43 describes it.

Source: config.json of google/gemma-2b at revision 9cf48e52b224239de00d483ec8eb84fb8d0f3a3a.
"""

from m43.core.config import GemmaConfig

GEMMA_2B = GemmaConfig(
    family="gemma",
    layers=18,
    d_model=2048,
    d_ff=16384,
    q_heads=8,
    kv_heads=1,
    head_dim=256,
    vocab_size=256_000,
    query_scale=256**-0.5,
    norm_eps=1e-6,
    rope_theta_global=10_000.0,
    rope_theta_local=10_000.0,
    sliding_window=None,
    global_layers=(True,) * 18,
    attention_softcap=None,
    final_softcap=None,
    post_norms=False,
    qk_norm=False,
    max_positions=8192,
    bos_id=2,
    eos_ids=(1,),
    pad_id=0,
)
