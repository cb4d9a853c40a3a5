"""m43 decodes: m43_answers FOLDER WORK NEW_TOKENS free|stops."""

import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from m43 import typed_json
from m43.core.decode import greedy_decode
from m43.records.run_dir import read_record
from m43.training.device import peak_host_bytes
from m43.training.evaluate import prompt_batches
from m43.training.weights.checks import stored_dtype
from m43.training.weights.config_json import read_model_config
from m43.training.weights.read_write import read_weights
from tests.benchmarks.measured import Answers
from tests.benchmarks.work import Work


def main(folder: Path, work: Work, new_tokens: int, *, stops: bool) -> Answers:
    """Answer all prompts in one batch, as an evaluation does."""
    config = read_model_config(folder)
    model = read_weights(folder, config, stored_dtype(folder, config), remat=False)
    (batch,) = prompt_batches(work.prompts, len(work.prompts), config.max_positions, config)
    stop_ids = work.stop_ids if stops else ()

    def decode(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tokens, counts = greedy_decode(
            model,
            jnp.asarray(batch.tokens),
            jnp.asarray(lengths),
            max_new_tokens=new_tokens,
            stop_ids=stop_ids,
        )
        return np.asarray(tokens), np.asarray(counts)

    begun = time.monotonic()
    decode(batch.lengths)
    start = time.monotonic()
    tokens, counts = decode(batch.lengths)
    decode_s = time.monotonic() - start
    return Answers(
        compile_s=start - begun - decode_s,
        decode_s=decode_s,
        tokens=tuple(
            tuple(row[:count].tolist()) for row, count in zip(tokens, counts, strict=True)
        ),
        peak_bytes=peak_host_bytes(),
    )


if __name__ == "__main__":
    given = read_record(Path(sys.argv[2]), Work)
    found = main(Path(sys.argv[1]), given, int(sys.argv[3]), stops=sys.argv[4] == "stops")
    sys.stdout.write(typed_json.dump_line(found))
