"""The audit of the speed: whether the device could have computed what the run says it did."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from m43.errors import Problem
from m43.evidence.dossier import Dossier
from m43.evidence.peaks import most_flops_per_s
from m43.run_dir import RunDir

_NEEDED = (
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
)
# A product forward, and backward the gradients of both operands; of a frozen weight only one.
_PASSES = {"full": 3, "lora": 2}


def audit_speed(run: RunDir, dossier: Dossier) -> Iterator[Problem]:
    """Count the least arithmetic of all steps from the saved config.json, by the time they took."""
    train = dossier.train
    if train is None or not train.metrics:
        return
    config = read_dimensions(run.model / "config.json")
    if isinstance(config, Problem):
        yield config
        return
    tokens = sum(step.padded_tokens for step in train.metrics)
    spent = min(sum(step.duration_s for step in train.metrics), train.process.duration_s)
    flops = 2 * _PASSES[train.method] * layer_weights(config) * tokens
    least_s = flops / most_flops_per_s(train.device)
    if spent < least_s:
        yield Problem(
            found=f"{len(train.metrics)} steps over {tokens:,} tokens in {spent:.3g} s",
            expected=f"{least_s:.3g} s at least: {flops:.3g} FLOPs on {train.device}",
            where="training_metrics.jsonl",
            action="do not rely on this folder: the device cannot compute so fast",
        )


def layer_weights(config: Mapping[str, int]) -> int:
    """Count the weights that every token is multiplied by, but for the head and the embedding.

    Source: Kaplan et al. 2020, section 2.1: 2 FLOPs per weight and token forward, 4 backward.

    Example:
        Gemma 1 2B: 1,981,808,640 (18 layers of 110,100,480).
    """
    d_model, heads = config["hidden_size"], config["head_dim"]
    queries = config["num_attention_heads"] * heads
    keys = config["num_key_value_heads"] * heads
    layer = 2 * d_model * (queries + keys) + 3 * d_model * config["intermediate_size"]
    return config["num_hidden_layers"] * layer


def read_dimensions(path: Path) -> Mapping[str, int] | Problem:
    """Read the dimensions of a model out of its config.json."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {name: int(table[name]) for name in _NEEDED}
    except (OSError, ValueError, TypeError, LookupError) as error:
        return Problem(
            found=f"{type(error).__name__}: {error}",
            expected="the dimensions of the model that was trained",
            where=f"model/{path.name}",
            action="do not rely on this folder: how much was computed cannot be told",
        )
