"""m43 with some layers more or fewer: m43_depth FOLDER LAYERS. Random weights, 4 x 64 tokens."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from m43 import typed_json
from m43.core.batch import Batch
from m43.core.gemma import Gemma
from m43.records import profile_check
from m43.training.trainer import Trainer, optimizer_settings
from m43.training.weights.config_json import read_model_config
from tests.benchmarks.contenders.training_rows import PROFILE
from tests.benchmarks.measured import Depth

ROWS, TOKENS, STEPS = 4, 64, 5


def main(folder: Path, layers: int) -> Depth:
    """Compile the step of a decoder of this depth and take it a few times."""
    gemma = read_model_config(folder)
    pattern = gemma.global_layers[:6]
    gemma = replace(gemma, layers=layers, global_layers=(pattern * layers)[:layers])
    model = jax.jit(
        lambda: nnx.state(Gemma(gemma, rngs=nnx.Rngs(0), param_dtype=jnp.bfloat16, remat=False))
    )()
    whole = nnx.merge(nnx.graphdef(nnx.eval_shape(lambda: _shape(gemma))), model)
    settings = optimizer_settings(profile_check.load(PROFILE).training, 300)
    trainer = Trainer(whole, settings, trained=nnx.Param, accumulate=1)
    batch = _batch(gemma.vocab_size)
    begun = time.monotonic()
    trainer.compile(batch)
    compile_s = time.monotonic() - begun
    times = []
    for _ in range(STEPS):
        start = time.monotonic()
        float(trainer.step(batch).loss_sum_nats)
        times.append(time.monotonic() - start)
    return Depth(layers=layers, compile_s=compile_s, step_s=min(times[1:]))


def _shape(gemma: object) -> Gemma:
    return Gemma(gemma, rngs=nnx.Rngs(0), param_dtype=jnp.bfloat16, remat=False)


def _batch(vocab_size: int) -> Batch:
    places = np.tile(np.arange(TOKENS), (ROWS, 1))
    tokens = np.random.default_rng(0).integers(3, vocab_size, places.shape)
    return Batch(
        tokens=jnp.asarray(tokens, jnp.int32),
        positions=jnp.asarray(places, jnp.int32),
        segments=jnp.ones(places.shape, jnp.int32),
        supervised=jnp.asarray(places >= TOKENS // 2),
    )


if __name__ == "__main__":
    sys.stdout.write(typed_json.dump_line(main(Path(sys.argv[1]), int(sys.argv[2]))))
