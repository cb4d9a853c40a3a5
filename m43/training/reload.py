"""The proof that a saved model loads: what arrives in the arrays, digested like the files."""

import hashlib
from pathlib import Path

import numpy as np

from m43.core.gemma_config import GemmaConfig
from m43.training.safetensors_file import DTYPES, LENGTH_BYTES
from m43.training.weight_folder import open_weight_folder
from m43.training.weight_names import EMBEDDING, HEAD, tensor_places
from m43.training.weights import read_weights, tensor_of


def reloaded_digest(folder: Path, config: GemmaConfig, dtype: np.dtype | None = None) -> str:
    """Read a folder into a model and digest the model's arrays in the layout of the files.

    Args:
        folder: of the model.
        config: of the model.
        dtype: of the arrays; None for those that hold every tensor exactly.

    Equal to `weights_digest` of the folder exactly when every tensor arrived bit for bit in its
    place; reading the same bytes of a file twice would prove nothing about that.
    """
    model = read_weights(folder, config, dtype)
    places = tuple(tensor_places(config))
    place_of = {place.name: place for place in places}
    place_of[HEAD] = place_of[EMBEDDING]
    lines = []
    for file in open_weight_folder(folder, places).files:
        digest = hashlib.sha256(len(file.header).to_bytes(LENGTH_BYTES, "little") + file.header)
        for tensor in file.tensors:
            values = tensor_of(model, place_of[tensor.name])
            stored = np.ascontiguousarray(values.astype(DTYPES[tensor.dtype], copy=False))
            digest.update(stored.reshape(-1).view(np.uint8).data)
        lines.append(f"{digest.hexdigest()}  {file.path.name}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()
