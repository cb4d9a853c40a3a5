"""TRL's SFTTrainer: trl_sft FOLDER WORK full|lora.

Rows come tokenised, in the order of the work, 4 a step; everything that is not named here is as
TRL ships it.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

from m43 import typed_json
from m43.records.run_dir import read_record
from tests.benchmarks.measured import Steps
from tests.benchmarks.work import ROWS_A_STEP, Work

RATES = {"full": 2e-5, "lora": 2e-4}


class InOrder(SFTTrainer):
    """The same rows in the same order as everybody."""

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class Clock(TrainerCallback):
    """Measures each step from its begin to its end."""

    def __init__(self) -> None:
        self.durations: list[float] = []
        self.losses: list[float] = []
        self.processor: list[float] = []
        self._begun = self._used = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start the step."""
        self._begun, self._used = time.monotonic(), time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """End it."""
        self.durations.append(time.monotonic() - self._begun)
        self.processor.append(time.process_time() - self._used)

    def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
        """Keep the loss of each step."""
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))


def main(folder: Path, work: Work, method: str) -> Steps:
    """Train one epoch over the work."""
    began = time.monotonic()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    rows = [
        {
            "input_ids": list(row.tokens),
            "completion_mask": [int(place >= row.completion) for place in range(len(row.tokens))],
        }
        for row in work.rows
    ]
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="m43-trl-") as scratch:
        trainer = InOrder(
            model=model,
            args=_settings(scratch, method),
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(folder),
            callbacks=[clock],
            peft_config=_adapters() if method == "lora" else None,
        )
        ready = time.monotonic()
        trainer.train()
    return Steps(
        ready_s=ready - began,
        compile_s=0.0,
        step_s=tuple(clock.durations),
        cpu_s=tuple(clock.processor),
        losses_nats=tuple(clock.losses),
        real_tokens=sum(len(row.tokens) for row in work.rows),
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def _settings(scratch: str, method: str) -> SFTConfig:
    return SFTConfig(
        output_dir=scratch,
        per_device_train_batch_size=ROWS_A_STEP,
        num_train_epochs=1,
        learning_rate=RATES[method],
        lr_scheduler_type="constant",
        adam_beta2=0.95,
        completion_only_loss=True,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )


def _adapters() -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )


if __name__ == "__main__":
    found = main(Path(sys.argv[1]), read_record(Path(sys.argv[2]), Work), sys.argv[3])
    sys.stdout.write(typed_json.dump_line(found))
