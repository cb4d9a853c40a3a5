"""Tunix's PeftTrainer: tunix_peft FOLDER WORK full|lora.

bfloat16 weights; every step is padded to the longest row of the work, so that one shape is
compiled, as its users do.
"""

import resource
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from tunix.models.gemma3 import model as gemma3
from tunix.models.gemma3.params_safetensors import create_model_from_safe_tensors
from tunix.sft.peft_trainer import PeftTrainer, TrainingConfig, TrainingInput
from tunix.sft.utils import build_positions_from_mask, make_causal_attn_mask

from m43 import typed_json
from m43.records.run_dir import read_record
from tests.benchmarks.measured import Steps
from tests.benchmarks.work import ROWS_A_STEP, Work

RATES = {"full": 2e-5, "lora": 2e-4}
LINEAR = ".*q_einsum|.*kv_einsum|.*attn_vec_einsum|.*gate_proj|.*up_proj|.*down_proj"


class Timed(PeftTrainer):
    """Notes when the loss of each step is there, and the processor time used by then."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ends = [(time.monotonic(), time.process_time())]
        self.losses: list[float] = []

    def _post_process_train_step(self, aux: Any) -> None:
        super()._post_process_train_step(aux)
        self.losses.append(float(self._buffered_train_metrics.losses[-1]))
        self.ends.append((time.monotonic(), time.process_time()))


def main(folder: Path, work: Work, method: str) -> Steps:
    """Train over the work once."""
    began = time.monotonic()
    model: nnx.Module = create_model_from_safe_tensors(
        str(folder), gemma3.ModelConfig.gemma3_270m(), dtype=jnp.bfloat16
    )
    if method == "lora":
        import qwix

        provider = qwix.LoraProvider(module_path=LINEAR, rank=16, alpha=32.0)
        model = qwix.apply_lora_to_model(model, provider, **model.get_model_input())
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(RATES[method], b1=0.9, b2=0.95, weight_decay=0.0),
    )
    steps = len(work.rows) // ROWS_A_STEP
    trainer = Timed(model, optimizer, TrainingConfig(eval_every_n_steps=10_000, max_steps=steps))
    trainer.with_gen_model_input_fn(lambda given: _inputs(given, work.pad_id))
    trainer.ends[0] = ready = time.monotonic(), time.process_time()
    trainer.train(_batches(work))
    pairs = tuple(pairwise(trainer.ends))
    return Steps(
        ready_s=ready[0] - began,
        compile_s=0.0,
        step_s=tuple(end[0] - start[0] for start, end in pairs),
        cpu_s=tuple(end[1] - start[1] for start, end in pairs),
        losses_nats=tuple(trainer.losses),
        real_tokens=sum(len(row.tokens) for row in work.rows),
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def _inputs(given: TrainingInput, pad_id: int) -> dict[str, Any]:
    real = given.input_tokens != pad_id
    return {
        "input_tokens": given.input_tokens,
        "input_mask": given.input_mask,
        "positions": build_positions_from_mask(real),
        "attention_mask": make_causal_attn_mask(real),
    }


def _batches(work: Work) -> Iterator[TrainingInput]:
    for rows in work.steps:
        tokens = np.full((len(rows), work.longest), work.pad_id, np.int32)
        mask = np.zeros_like(tokens, np.bool_)
        for place, row in enumerate(rows):
            tokens[place, : len(row.tokens)] = row.tokens
            mask[place, row.completion : len(row.tokens)] = True
        yield TrainingInput(input_tokens=tokens, input_mask=mask)


if __name__ == "__main__":
    found = main(Path(sys.argv[1]), read_record(Path(sys.argv[2]), Work), sys.argv[3])
    sys.stdout.write(typed_json.dump_line(found))
