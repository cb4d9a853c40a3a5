"""A folder in the shape of Gemma 1 2B, two shards of 5 GB together, with random weights."""

import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import NormalDist

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
_SEED, _SPREAD = 43, 0.02
_SECOND_SHARD_TENSORS = 4
_THREADS = 8


def write_random_gemma(folder: Path, config: Mapping[str, object] = CONFIG) -> None:
    """Write the folder: the same bytes for the same config, whatever the machine."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(dict(config), indent=2))
    places = tuple(tensor_places(read_model_config(folder)))
    # As the hub's: nearly everything in the first shard.
    shards = places[:-_SECOND_SHARD_TENSORS], places[-_SECOND_SHARD_TENSORS:]
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _write_shard(folder / name, shard)
        weight_map |= {place.name: name for place in shard}
    size = sum(2 * math.prod(place.shape) for place in places)
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))


def _write_shard(path: Path, places: Sequence[TensorPlace]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for place in places:
        start, end = end, end + 2 * math.prod(place.shape)
        offsets = [start, end]
        header[place.name] = {"dtype": "BF16", "shape": place.shape, "data_offsets": offsets}
    text = json.dumps(header).encode()
    quantiles = _quantiles()

    def draw(place: TensorPlace) -> np.ndarray:
        random = np.random.default_rng([_SEED, *place.name.encode()])
        ranks = random.integers(0, 1 << 16, math.prod(place.shape), np.uint16)
        return quantiles[ranks]

    with path.open("wb") as file, ThreadPoolExecutor(_THREADS) as threads:
        file.write(len(text).to_bytes(8, "little") + text)
        # In groups, so that no more than a few tensors are in memory at a time.
        for first in range(0, len(places), _THREADS):
            for drawn in threads.map(draw, places[first : first + _THREADS]):
                file.write(drawn.data)


def _quantiles() -> np.ndarray:
    """Return 2^16 values of the normal distribution as bfloat16 bits.

    To look random ranks up among them takes a tenth of the time of drawing the values themselves.
    """
    normal = NormalDist(0.0, _SPREAD)
    values = [normal.inv_cdf((rank + 0.5) / (1 << 16)) for rank in range(1 << 16)]
    return np.asarray(values, np.float32).astype(ml_dtypes.bfloat16).view(np.uint16)
