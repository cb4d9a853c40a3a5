"""The child of test_two_billion: load, one LoRA step, export; prints what it took as JSON."""

import json
import math
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from m43 import typed_json
from m43.core.batch import Batch
from m43.records import profile_check
from m43.records.profile import LoraTable
from m43.training.device import peak_host_bytes
from m43.training.trainer import build_trainer
from m43.training.weights.checks import count_moved, require_finite, stored_dtype
from m43.training.weights.config_json import read_model_config
from m43.training.weights.peft import write_adapter
from m43.training.weights.read_write import round_trip_digest, weights_digest, write_weights

PROFILE = Path(__file__).parents[2] / "acceptance" / "production.toml"
TOKENS, SUPERVISED = 128, 32


@dataclass(frozen=True, kw_only=True)
class Took:
    """Peaks are the most that the process had held by then."""

    loaded_peak_bytes: int
    loaded_s: float
    compiled_s: float
    step_peak_bytes: int
    step_s: float
    loss_nats: float
    exported_peak_bytes: int
    exported_s: float
    read_back_peak_bytes: int
    parameters: int
    trained_parameters: int
    parameters_moved: int
    model_sha256: str
    reloaded_sha256: str


def main(base: Path, out: Path) -> Took:
    """Do what a training run does, for one step of one row."""
    profile, lora = profile_check.load(PROFILE), LoraTable(rank=16, alpha=32.0)
    training = replace(
        profile.training, method="lora", optimizer="adamw", batch_rows=1, learning_rate=1e-3
    )
    profile = replace(profile, training=training, lora=lora)
    gemma, began = read_model_config(base), time.monotonic()
    trainer = build_trainer(profile, base, gemma)
    loaded, loaded_peak = time.monotonic(), peak_host_bytes()
    trainer.compile(_batch())
    compiled = time.monotonic()
    metrics = trainer.step(_batch())
    loss = float(metrics.loss_sum_nats) / int(metrics.supervised_tokens)
    stepped, step_peak = time.monotonic(), peak_host_bytes()
    dtype = stored_dtype(base, gemma)
    write_weights(trainer.model(), out / "model", source=base, dtype=dtype)
    write_adapter(trainer.model(), out / "adapter", lora, repo="owner/base", revision="0" * 40)
    exported, exported_peak = time.monotonic(), peak_host_bytes()
    require_finite(out / "model", gemma)
    return Took(
        loaded_peak_bytes=loaded_peak,
        loaded_s=loaded - began,
        compiled_s=compiled - loaded,
        step_peak_bytes=step_peak,
        step_s=stepped - compiled,
        loss_nats=loss,
        exported_peak_bytes=exported_peak,
        exported_s=exported - stepped,
        parameters=gemma.parameters,
        trained_parameters=trainer.trained_parameters,
        parameters_moved=count_moved(base, out / "model", gemma),
        model_sha256=weights_digest(out / "model"),
        reloaded_sha256=round_trip_digest(out / "model", gemma, dtype),
        read_back_peak_bytes=peak_host_bytes(),
    )


def _batch() -> Batch:
    tokens = np.random.default_rng(0).integers(3, 256_000, (1, TOKENS))
    places = np.arange(TOKENS)[None, :]
    return Batch(
        tokens=jnp.asarray(tokens, jnp.int32),
        positions=jnp.asarray(places, jnp.int32),
        segments=jnp.ones((1, TOKENS), jnp.int32),
        supervised=jnp.asarray(places >= TOKENS - SUPERVISED),
    )


if __name__ == "__main__":
    took = main(Path(sys.argv[1]), Path(sys.argv[2]))
    if not math.isfinite(took.loss_nats):
        sys.exit("the loss is not finite")
    sys.stdout.write(json.dumps(typed_json.to_plain(took)) + "\n")
