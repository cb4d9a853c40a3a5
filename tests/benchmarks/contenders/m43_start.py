"""m43 starts: m43_start FOLDER CACHE. Import, rows, weights, compilation, one step.

CACHE is the folder of compiled programs; a second start with the same one finds it filled.
"""

import sys
import time
from pathlib import Path

from m43 import typed_json
from tests.benchmarks.measured import Start


def main(folder: Path, cache: Path) -> Start:
    """Do what a training child does until its first step is done."""
    began = time.monotonic()
    from m43.training.device import keep_compiled
    from m43.training.trainer import build_trainer
    from tests.benchmarks.contenders.training_rows import assign

    keep_compiled(cache)
    imported = time.monotonic()
    given = assign(folder)
    prepared = time.monotonic()
    trainer = build_trainer(given.profile, folder, given.config)
    loaded = time.monotonic()
    batches = {planned.length: planned for planned in given.data.plan}
    for planned in batches.values():
        trainer.compile(given.data.batch(planned))
    compiled = time.monotonic()
    float(trainer.step(given.data.batch(given.data.plan[0])).loss_sum_nats)
    stepped = time.monotonic()
    return Start(
        import_s=imported - began,
        rows_s=prepared - imported,
        weights_s=loaded - prepared,
        compile_s=compiled - loaded,
        step_s=stepped - compiled,
    )


if __name__ == "__main__":
    sys.stdout.write(typed_json.dump_line(main(Path(sys.argv[1]), Path(sys.argv[2]))))
