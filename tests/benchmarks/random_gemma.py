"""A folder in the shape of Gemma 1 2B, two shards of 5 GB together, with random weights."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import ml_dtypes
import numpy as np

from m43.training.weights.config_json import read_model_config
from m43.training.weights.folder import TensorPlace, tensor_places

PARAMETERS = 2_506_172_416
# Source: the config.json and the index of google/gemma-2b.
CONFIG: Mapping[str, object] = {
    "architectures": ["GemmaForCausalLM"],
    "model_type": "gemma",
    "hidden_act": "gelu",
    "num_hidden_layers": 18,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "hidden_size": 2048,
    "intermediate_size": 16384,
    "vocab_size": 256000,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "max_position_embeddings": 8192,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
    "torch_dtype": "bfloat16",
}
_SPREAD = 0.02
_SECOND_SHARD_TENSORS = 4


def write_random_gemma(folder: Path) -> None:
    """Write the folder, one tensor in memory at a time."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2))
    places = tuple(tensor_places(read_model_config(folder)))
    # As the hub's: nearly everything in the first shard.
    shards = places[:-_SECOND_SHARD_TENSORS], places[-_SECOND_SHARD_TENSORS:]
    rng = np.random.default_rng(43)
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _write_shard(folder / name, shard, rng)
        weight_map |= {place.name: name for place in shard}
    index = {"metadata": {"total_size": 2 * PARAMETERS}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))


def _write_shard(path: Path, places: Sequence[TensorPlace], rng: np.random.Generator) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for place in places:
        start, end = end, end + 2 * math.prod(place.shape)
        offsets = [start, end]
        header[place.name] = {"dtype": "BF16", "shape": place.shape, "data_offsets": offsets}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for place in places:
            drawn = rng.standard_normal(place.shape, np.float32) * np.float32(_SPREAD)
            file.write(drawn.astype(ml_dtypes.bfloat16).view(np.uint16).data)
