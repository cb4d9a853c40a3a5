"""A lean PyTorch loop: torch_lean FOLDER WORK full|lora.

What a person writes who knows the levers: bfloat16 weights, fused AdamW, logits on supervised
positions only. LoRA through PEFT, whose adapters are float32 beside a bfloat16 base.
"""

import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

from m43 import typed_json
from m43.records.run_dir import read_record
from tests.benchmarks.measured import Steps
from tests.benchmarks.work import TokenRow, Work

RATES = {"full": 2e-5, "lora": 2e-4}


def main(folder: Path, work: Work, method: str) -> Steps:
    """Take the steps of the work."""
    began = time.monotonic()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    return take_steps(model, work.steps, work.pad_id, method, began=began)


def take_steps(
    model: torch.nn.Module,
    steps: Sequence[Sequence[TokenRow]],
    pad_id: int,
    method: str,
    *,
    began: float,
    masked: bool = True,
    padded_to: int = 0,
) -> Steps:
    """Train where the model lies.

    Args:
        model: as it is before the first step.
        steps: the rows of each.
        pad_id: stands where a row has ended.
        method: "full" or "lora".
        began: when the model was begun to be read.
        masked: whether padding is hidden. It lies behind every token that counts, so causal
            attention never sees it; without a mask a card can take the fused attention.
        padded_to: tokens of every row; 0 for those of a batch's longest. Layers that are compiled
            want one length.
    """
    if method == "lora":
        from peft import LoraConfig, get_peft_model

        settings = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear")
        model = get_peft_model(model, settings)
    model.train()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=RATES[method], betas=(0.9, 0.95), weight_decay=0.0, fused=True
    )
    ready = time.monotonic()
    durations, processor, losses = [], [], []
    for rows in steps:
        start, used = time.monotonic(), time.process_time()
        loss = _loss(model, rows, pad_id, masked=masked, padded_to=padded_to)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        durations.append(time.monotonic() - start)
        processor.append(time.process_time() - used)
    return Steps(
        ready_s=ready - began,
        compile_s=0.0,
        step_s=tuple(durations),
        cpu_s=tuple(processor),
        losses_nats=tuple(losses),
        real_tokens=sum(len(row.tokens) for rows in steps for row in rows),
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def _loss(
    model: torch.nn.Module,
    rows: Sequence[TokenRow],
    pad_id: int,
    *,
    masked: bool,
    padded_to: int,
) -> torch.Tensor:
    longest = max(padded_to, *(len(row.tokens) for row in rows))
    tokens = torch.full((len(rows), longest), pad_id)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    supervised = torch.zeros((len(rows), longest), dtype=torch.bool)
    for place, row in enumerate(rows):
        tokens[place, : len(row.tokens)] = torch.tensor(row.tokens)
        mask[place, : len(row.tokens)] = 1
        supervised[place, row.completion : len(row.tokens)] = True
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    place = next(model.parameters()).device
    tokens, mask, supervised = (each.to(place) for each in (tokens, mask, supervised))
    hidden = inner.model(
        input_ids=tokens, attention_mask=mask if masked else None, use_cache=False
    ).last_hidden_state
    chosen = supervised[:, 1:]
    logits = inner.lm_head(hidden[:, :-1][chosen])
    return functional.cross_entropy(logits.float(), tokens[:, 1:][chosen])


if __name__ == "__main__":
    found = main(Path(sys.argv[1]), read_record(Path(sys.argv[2]), Work), sys.argv[3])
    sys.stdout.write(typed_json.dump_line(found))
