"""transformers' generate: torch_generate FOLDER WORK NEW_TOKENS free|stops."""

import resource
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from m43 import typed_json
from m43.records.run_dir import read_record
from tests.benchmarks.measured import Answers
from tests.benchmarks.work import Work


def main(folder: Path, work: Work, new_tokens: int, *, stops: bool) -> Answers:
    """Answer all prompts in one batch, greedily."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    return answer(model, work, new_tokens, stops=stops)


def answer(model: torch.nn.Module, work: Work, new_tokens: int, *, stops: bool) -> Answers:
    """Do so where the model lies."""
    longest = max(len(prompt) for prompt in work.prompts)
    tokens = torch.full((len(work.prompts), longest), work.pad_id)
    mask = torch.zeros_like(tokens)
    for row, prompt in enumerate(work.prompts):
        # On the left, as generate wants it.
        tokens[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    place = next(model.parameters()).device
    tokens, mask = tokens.to(place), mask.to(place)
    ends = list(work.stop_ids) if stops else None
    settings = {"do_sample": False, "eos_token_id": ends, "pad_token_id": work.pad_id}
    # What is set up at a first call is not counted.
    model.generate(tokens[:2], attention_mask=mask[:2], max_new_tokens=2, **settings)
    start = time.monotonic()
    made = model.generate(tokens, attention_mask=mask, max_new_tokens=new_tokens, **settings).cpu()
    decode_s = time.monotonic() - start
    return Answers(
        compile_s=0.0,
        decode_s=decode_s,
        tokens=tuple(_until_stop(row, work, stops=stops) for row in made[:, longest:].tolist()),
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def _until_stop(row: list[int], work: Work, *, stops: bool) -> tuple[int, ...]:
    ends = [place for place, token in enumerate(row) if token in work.stop_ids] if stops else []
    return tuple(row[: ends[0] + 1] if ends else row)


if __name__ == "__main__":
    given = read_record(Path(sys.argv[2]), Work)
    found = main(Path(sys.argv[1]), given, int(sys.argv[3]), stops=sys.argv[4] == "stops")
    sys.stdout.write(typed_json.dump_line(found))
