"""What lies beside the weights in a saved folder: config.json, the tokenizer's files, the index."""

import json
import math
import shutil
from pathlib import Path

from m43.gemma_families import BASE_CONFIG, text_part
from m43.training.weights.folder import INDEX, StoredWeights
from m43.training.weights.safetensors_file import DTYPES

COMPANIONS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)
"""What makes a folder of weights a model that others can load; copied where it is there."""


def write_companions(source: Path, folder: Path, stored: StoredWeights, code: str | None) -> None:
    """Copy what lies beside the weights, changed only where the weights are.

    Of a multimodal source config.json becomes the text model's, and its own is kept beside it.

    Args:
        source: the folder that the model was read from.
        folder: with the weights as they are saved.
        stored: of the source.
        code: the dtype of every tensor in the files' spelling; None where each keeps its own.
    """
    for name in COMPANIONS:
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)
    every = (tensor for file in stored.files for tensor in stored.kept(file))
    dtype = code if any(tensor.dtype != code for tensor in every) else None
    _write_config(source, folder, dtype)
    _write_index(source, folder, stored, dtype)


def _write_config(source: Path, folder: Path, code: str | None) -> None:
    path = source / "config.json"
    data = path.read_bytes() if path.exists() else b""
    if not data or (code is None and b"text_config" not in data):
        return
    config = json.loads(data)
    part = dict(text_part(config))
    if part != config:
        shutil.copyfile(path, folder / BASE_CONFIG)
    if code is not None:
        keys = [key for key in ("dtype", "torch_dtype") if key in part] or ["torch_dtype"]
        part.update(dict.fromkeys(keys, DTYPES[code].name))
    if part != config:
        _write_json(folder / path.name, part)


def _write_index(source: Path, folder: Path, stored: StoredWeights, code: str | None) -> None:
    path = source / INDEX
    if not path.exists():
        return
    shutil.copyfile(path, folder / INDEX)
    if code is None and not stored.multimodal:
        return
    index = json.loads(path.read_text(encoding="utf-8"))
    kept = {file.path.name: stored.kept(file) for file in stored.files}
    every = [tensor for tensors in kept.values() for tensor in tensors]
    sizes = {tensor.name: math.prod(tensor.shape) for tensor in every}
    total = sum(sizes[tensor.name] * DTYPES[code or tensor.dtype].itemsize for tensor in every)
    metadata = index.get("metadata", {}) | {"total_size": total}
    if "total_parameters" in metadata:
        metadata["total_parameters"] = sum(sizes.values())
    index["metadata"] = metadata
    if stored.multimodal:
        index["weight_map"] = {
            tensor.name: name for name, tensors in kept.items() for tensor in tensors
        }
    _write_json(folder / INDEX, index)


def _write_json(path: Path, table: dict[str, object]) -> None:
    path.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
