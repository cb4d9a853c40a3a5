"""The child of test_plan: two real steps of a real or random model; prints its peak as JSON."""

import json
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from m43.core.batch import Batch
from m43.records.plan_record import PlanRequest
from m43.records.run_dir import read_record
from m43.training.device import give_back_memory, peak_host_bytes
from m43.training.plan.child import hold_rows
from m43.training.trainer import build_trainer
from m43.training.weights.config_json import read_model_config

STEPS = 2
SUPERVISED = 32


def main(request: PlanRequest) -> dict[str, float]:
    """Take the steps that were planned, on random tokens."""
    training = request.profile.training
    config = read_model_config(request.config_folder)
    rows = hold_rows(request.profile)
    give_back_memory()
    trainer = build_trainer(request.profile, request.config_folder, config)
    shape = training.batch_rows, training.sequence_tokens
    drawn = np.random.default_rng(0).integers(3, config.vocab_size, shape)
    places = np.broadcast_to(np.arange(shape[1]), shape)
    batch = Batch(
        tokens=jnp.asarray(drawn, jnp.int32),
        positions=jnp.asarray(places, jnp.int32),
        segments=jnp.ones(shape, jnp.int32),
        supervised=jnp.asarray(places >= shape[1] - SUPERVISED),
    )
    trainer.compile(batch)
    losses = [float(trainer.step(batch).loss_sum_nats) for _ in range(STEPS)]
    return {
        "peak_bytes": peak_host_bytes(),
        "loss_nats": losses[-1],
        "steps": trainer.steps,
        "rows": len(rows),
    }


if __name__ == "__main__":
    found = main(read_record(Path(sys.argv[1]), PlanRequest))
    sys.stdout.write(json.dumps(found) + "\n")
