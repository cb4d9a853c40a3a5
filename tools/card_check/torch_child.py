"""The rivals' side of what is compared, each part of it told at once.

python -m tools.card_check.torch_child PLACE rivals|logits
"""

import gc
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from m43.records import read_record
from tests.benchmarks.contenders import torch_generate, torch_lean
from tests.benchmarks.work import TokenRow, Work
from tools.card_check.children import place_of, tell
from tools.card_check.report import version_of
from tools.card_check.scale import Libraries, Place, random_tokens

# One for each layer and method, should the compiler not take them for the same code.
_RECOMPILATIONS = 64
_LIBRARIES = ("torch", "triton", "transformers", "peft")


def rivals(place: Place) -> None:
    """Answer, then train the same model fully, then with adapters beside it.

    What a person writes who knows the levers: bfloat16 weights, fused AdamW, layers compiled one
    by one (which takes a tenth of compiling them together, for the same kernels), fused causal
    attention, logits on supervised positions only.
    """
    tell("libraries", Libraries(versions={name: version_of(name) for name in _LIBRARIES}))
    began = time.monotonic()
    work = read_record(place.work, Work)
    model = _model(place, "sdpa").eval()
    tell("answers", torch_generate.answer(model, work, place.scale.new_tokens, stops=False))
    torch._dynamo.config.recompile_limit = _RECOMPILATIONS
    for layer in model.model.layers:
        layer.compile()
    steps = _in_steps(work.rows, place.scale.batch_rows)
    for method in ("full", "lora"):
        told = torch_lean.take_steps(
            *(model, steps, work.pad_id, method),
            began=began,
            masked=False,
            padded_to=place.scale.row_tokens,
        )
        tell(method, told)


def _model(place: Place, attention: str, precision: str = "bfloat16") -> Any:
    model: Any = AutoModelForCausalLM.from_pretrained(
        place.base, dtype=getattr(torch, precision), attn_implementation=attention
    )
    return model.to("cuda" if place.platform == "gpu" else "cpu")


def _in_steps(rows: Sequence[TokenRow], batch_rows: int) -> list[Sequence[TokenRow]]:
    return [rows[start : start + batch_rows] for start in range(0, len(rows), batch_rows)]


@torch.inference_mode()
def logits(place: Place) -> None:
    """Write transformers' logits of the tokens that m43 scores, in both precisions."""
    torch.set_float32_matmul_precision("highest")
    for precision in ("float32", "bfloat16"):
        # Read anew: a model that is widened keeps constants that were rounded to bfloat16. Eager:
        # the very formula, in the precision that was asked for.
        model = _model(place, "eager", precision)
        drawn = random_tokens(place.scale.compared, model.config.vocab_size)
        tokens = torch.tensor(drawn, dtype=torch.long, device=model.device)
        scores = model(input_ids=tokens).logits.float().cpu().numpy()
        np.save(place.root / f"torch-{precision}.npy", scores)
        tell(precision, list(drawn.shape))
        del model
        gc.collect()


if __name__ == "__main__":
    {"rivals": rivals, "logits": logits}[sys.argv[2]](place_of(sys.argv[1]))
