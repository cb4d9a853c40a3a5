"""The trained adapters as a folder of their own, as PEFT reads it."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from m43.core import Gemma, projections
from m43.files import whole_folder
from m43.records import LoraTable
from m43.training.weights.folder import PROJECTIONS

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def write_adapter(
    model: Gemma,
    folder: Path,
    table: LoraTable,
    *,
    repo: str,
    revision: str,
    beside: bool = False,
) -> None:
    """Write the adapters in float32, so that PEFT loads them onto the same base.

    Args:
        model: with its adapters.
        folder: that is not there yet.
        table: of the profile: rank, alpha and targets.
        repo: the base model's name, as the hub knows it.
        revision: of the base model.
        beside: whether the base is multimodal; of its parts the text model alone is adapted.

    Raises:
        ModelFolderError: if there is something in the folder already.

    Source: PEFT 0.21, LoraConfig and utils/save_and_load.py, CONFIG_NAME and
    SAFETENSORS_WEIGHTS_NAME.
    """
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": repo,
        "revision": revision,
        "inference_mode": True,
        "r": table.rank,
        # PEFT declares a whole number, and some of its readers insist.
        "lora_alpha": int(table.alpha) if table.alpha.is_integer() else table.alpha,
        "lora_dropout": 0.0,
        # A vision tower has projections of the same names.
        "target_modules": rf".*\.language_model\..*\.({'|'.join(table.targets)})"
        if beside
        else list(table.targets),
        "modules_to_save": None,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
    }
    with whole_folder(folder) as partial:
        text = json.dumps(config, indent=2) + "\n"
        (partial / CONFIG).write_text(text, encoding="utf-8")
        # transformers asks for this word before it reads a file. Not save_file: what that writes
        # nobody else may read.
        within = "model.language_model" if beside else "model"
        data = save(dict(_tensors(model, within)), metadata={"format": "pt"})
        (partial / WEIGHTS).write_bytes(data)


def _tensors(model: Gemma, within: str) -> Iterator[tuple[str, np.ndarray]]:
    """Return both matrices of every adapter by PEFT's names; A is [R, I] and B [O, R] in both.

    Source: PEFT 0.21, tuners/lora/layer.py: lora_A and lora_B are Linear layers inside the
    adapted one; utils/save_and_load.py takes the adapter's own name out; base_model.model is
    where PeftModel and LoraModel keep the model. transformers 5.24, Gemma3Model.language_model.
    """
    found = projections(model)
    for name, (_, leaf) in PROJECTIONS.items():
        adapter = found[leaf].adapter
        if adapter is None:
            continue
        for letter, weight in (("A", adapter.a), ("B", adapter.b)):
            for layer, values in enumerate(np.asarray(weight[...])):
                key = f"base_model.model.{within}.layers.{layer}.{name}.lora_{letter}.weight"
                yield key, np.ascontiguousarray(values)
