"""Write the goldens of tests/unit/core/goldens from transformers: tiny models, and their logits.

Needs torch and transformers, which m43 does not: run it in an environment of its own.

    pip install torch==2.13.0 transformers==5.23.0 safetensors numpy
    python tests/parity/make_goldens.py tests/unit/core/goldens
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers

LENGTH = 24
PADDING = 5
SEED = 43

SHARED = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
    "attn_implementation": "eager",
}
# A window far below the length, and layers enough for a local and a global one each.
CONFIGS = {
    "gemma": transformers.GemmaConfig(
        **SHARED | {"num_key_value_heads": 1}, num_hidden_layers=3, hidden_act="gelu"
    ),
    # Caps near the size of what they bend: a forgotten one must show.
    "gemma2": transformers.Gemma2Config(
        **SHARED,
        num_hidden_layers=4,
        sliding_window=8,
        query_pre_attn_scalar=24,
        attn_logit_softcapping=1.5,
        final_logit_softcapping=4.0,
    ),
    "gemma3_text": transformers.Gemma3TextConfig(
        **SHARED, num_hidden_layers=6, sliding_window=8, query_pre_attn_scalar=24
    ),
}


def make_model(config: transformers.PretrainedConfig) -> transformers.PreTrainedModel:
    """Draw weights so that the layers outweigh the tied embedding.

    A model that only repeats its last token would hide errors of attention and cache.
    """
    torch.manual_seed(SEED)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 0.15 if "embed" in name else 0.4
            # Rounded to bfloat16, so that both precisions start from the same weights.
            values = torch.randn_like(parameter) * spread
            parameter.copy_(values.to(torch.bfloat16).to(torch.float32))
    return model.eval()


@torch.no_grad()
def logits(model: transformers.PreTrainedModel, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Run rows whose masked-out tokens stand on the right."""
    output = model(
        input_ids=torch.from_numpy(tokens).long(), attention_mask=torch.from_numpy(mask).long()
    )
    return output.logits.to(torch.float32).numpy()


def golden(config: transformers.PretrainedConfig) -> dict[str, np.ndarray]:
    """Compute one family: a full row and a padded one, in float32 and in bfloat16."""
    model = make_model(config)
    config.architectures = [type(model).__name__]
    rng = np.random.default_rng(SEED)
    tokens = rng.integers(3, config.vocab_size, (2, LENGTH), dtype=np.int32)
    mask = np.ones_like(tokens)
    mask[1, -PADDING:] = 0
    tokens[mask == 0] = config.pad_token_id
    arrays = {
        "config": np.frombuffer(json.dumps(config.to_dict()).encode(), np.uint8),
        "tokens": tokens,
        "mask": mask,
        "logits": logits(model, tokens, mask),
    }
    for name, tensor in model.state_dict().items():
        if name != "lm_head.weight":
            # The upper half of a float32 is the bfloat16 that it was rounded to.
            arrays[f"weights/{name}"] = (tensor.numpy().view(np.uint32) >> 16).astype(np.uint16)
    arrays["logits_bfloat16"] = logits(model.to(torch.bfloat16), tokens, mask)
    return arrays


def main() -> None:
    """Write one compressed file per family."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for family, config in CONFIGS.items():
        np.savez_compressed(folder / f"{family}.npz", **golden(config))


if __name__ == "__main__":
    main()
