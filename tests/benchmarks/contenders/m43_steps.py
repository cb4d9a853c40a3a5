"""m43 trains: m43_steps FOLDER full|lora bfloat16|float32 STEPS [PACKED_TO]."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from m43 import typed_json
from tests.benchmarks.measured import Steps

if TYPE_CHECKING:
    from m43.training.data.training_data import TrainingData
    from m43.training.trainer import Trainer
    from tests.benchmarks.contenders.training_rows import Assignment, Method


def main(folder: Path, method: Method, masters: str, steps: int, packed_to: int | None) -> Steps:
    """Take the steps of a run, each waited for."""
    began = time.monotonic()
    from tests.benchmarks.contenders.training_rows import assign

    given = assign(folder, method=method, steps=steps, packed_to=packed_to)
    return take_steps(given, masters, began=began)


def take_steps(given: Assignment, masters: str, *, began: float) -> Steps:
    """Read the model, compile every length, and take the steps that are planned."""
    import jax.numpy as jnp
    import numpy as np

    from m43.training.trainer import build_trainer

    trainer = build_trainer(
        given.profile, given.folder, given.config, masters=np.dtype(getattr(jnp, masters))
    )
    return train(trainer, given.data, began=began)


def train(trainer: Trainer, data: TrainingData, *, began: float) -> Steps:
    """Compile every length, and take the steps that are planned."""
    from m43.training.device import peak_host_bytes

    loaded = time.monotonic()
    for planned in {planned.length: planned for planned in data.plan}.values():
        trainer.compile(data.batch(planned))
    compiled = time.monotonic()
    durations, processor, losses, counts = [], [], [], []
    for planned in data.plan:
        start, used = time.monotonic(), time.process_time()
        metrics = trainer.step(data.batch(planned))
        counts.append(int(metrics.supervised_tokens))
        losses.append(float(metrics.loss_sum_nats) / counts[-1])
        durations.append(time.monotonic() - start)
        processor.append(time.process_time() - used)
    return Steps(
        ready_s=compiled - began,
        compile_s=compiled - loaded,
        step_s=tuple(durations),
        cpu_s=tuple(processor),
        losses_nats=tuple(losses),
        real_tokens=sum(data.real_tokens(planned) for planned in data.plan),
        peak_bytes=peak_host_bytes(),
        supervised_tokens=tuple(counts),
    )


if __name__ == "__main__":
    packed_to = int(sys.argv[5]) if len(sys.argv) > 5 else None
    method: Method = "lora" if sys.argv[2] == "lora" else "full"
    found = main(Path(sys.argv[1]), method, sys.argv[3], int(sys.argv[4]), packed_to)
    sys.stdout.write(typed_json.dump_line(found))
