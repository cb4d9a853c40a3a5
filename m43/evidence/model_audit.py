"""The audit of the model: whether what the records say of it follows from its own config.json."""

import json
from collections.abc import Iterator
from pathlib import Path

from m43.errors import Problem
from m43.evidence.dossier import Dossier
from m43.evidence.model_checks import model_words
from m43.gemma_families import ARCHITECTURES, count_parameters
from m43.names import is_weight_file
from m43.run_dir import RunDir

# Source: the safetensors format: no dtype of weights that m43 reads takes less than bfloat16.
_LEAST_BYTES = 2


def audit_model(run: RunDir, dossier: Dossier) -> Iterator[Problem]:
    """Count the model's weights again from model/config.json, without JAX and without weights."""
    train = dossier.train
    if train is None:
        return
    path = run.model / "config.json"
    described = _described(path)
    if isinstance(described, Problem):
        yield described
        return
    claims = {"train.json": model_words(train.architecture, train.parameters)}
    if dossier.plan is not None and dossier.plan.training is not None:
        claims["plan.json"] = model_words(dossier.plan.architecture, dossier.plan.parameters)
    for where, claimed in claims.items():
        if claimed != described:
            action = "do not rely on this folder: it was another model"
            expected = f"{described}, as model/config.json gives"
            yield Problem(found=claimed, expected=expected, where=where, action=action)
    stored = sum(f.size_bytes for f in train.download.files if is_weight_file(f.name))
    least = _LEAST_BYTES * train.parameters
    if stored < least:
        yield Problem(
            found=f"{stored:,} bytes of weights",
            expected=f"{least:,} at least, for {train.parameters:,} parameters",
            where="download.json",
            action="do not rely on this folder: so many parameters do not fit these files",
        )


def _described(path: Path) -> str | Problem:
    """Say in words what a config.json describes."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        family = str(table["model_type"])
        return model_words(
            ARCHITECTURES[family],
            count_parameters(
                layers=int(table["num_hidden_layers"]),
                d_model=int(table["hidden_size"]),
                d_ff=int(table["intermediate_size"]),
                q_heads=int(table["num_attention_heads"]),
                kv_heads=int(table["num_key_value_heads"]),
                head_dim=int(table["head_dim"]),
                vocab_size=int(table["vocab_size"]),
                family=family,
            ),
        )
    except (OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        return Problem(
            found=f"{type(error).__name__}: {error}",
            expected="the description of the model that was trained",
            where=f"model/{path.name}",
            action="do not rely on this folder: which model it was cannot be told",
        )
