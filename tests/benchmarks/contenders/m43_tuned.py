"""m43 makes a model that answers and stops: m43_tuned FOLDER OUT. LoRA, merged."""

import sys
from dataclasses import replace
from pathlib import Path

from m43 import typed_json
from m43.training.trainer import build_trainer
from m43.training.weights.checks import stored_dtype
from m43.training.weights.read_write import write_weights
from tests.benchmarks.contenders.training_rows import assign
from tests.benchmarks.measured import Tuned

STEPS, ROWS, RATE = 60, 8, 1e-3


def main(folder: Path, out: Path) -> Tuned:
    """Train until answers end by themselves, and save."""
    given = assign(folder, method="lora", steps=STEPS, batch_rows=ROWS)
    training = replace(given.profile.training, learning_rate=RATE)
    trainer = build_trainer(replace(given.profile, training=training), folder, given.config)
    for planned in {planned.length: planned for planned in given.data.plan}.values():
        trainer.compile(given.data.batch(planned))
    for planned in given.data.plan:
        metrics = trainer.step(given.data.batch(planned))
    loss = float(metrics.loss_sum_nats) / int(metrics.supervised_tokens)
    dtype = stored_dtype(folder, given.config)
    write_weights(trainer.model(), out, source=folder, dtype=dtype)
    return Tuned(loss_nats=loss)


if __name__ == "__main__":
    sys.stdout.write(typed_json.dump_line(main(Path(sys.argv[1]), Path(sys.argv[2]))))
