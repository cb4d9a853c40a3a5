"""The model that a run saved, asked again by plain transformers: the answers are the run's own.

Run it with `make real MODEL=FOLDER RUN=RUN_DIR`.
"""

import sys
from pathlib import Path

import pytest
import torch
import transformers

from m43.records.evaluation_record import EvaluationRecord, Prediction
from m43.records.run_dir import RunDir, read_record

pytestmark = pytest.mark.timeout(3600)


def answer(
    model: transformers.PreTrainedModel,
    tokenizer: transformers.PreTrainedTokenizerBase,
    prompt: str,
    record: EvaluationRecord,
) -> str:
    """Let transformers continue one prompt, alone and unpadded, as its own documentation shows."""
    decoding = record.decoding
    row = tokenizer(prompt, return_tensors="pt")
    said = model.generate(
        **row,
        max_new_tokens=decoding.max_new_tokens,
        do_sample=False,
        eos_token_id=[*decoding.stop_ids, *decoding.stop_text_ids],
        pad_token_id=0,
    )[0, row["input_ids"].shape[1] :]
    ids = [int(token) for token in said if int(token) not in decoding.stop_ids]
    text = tokenizer.decode(ids, skip_special_tokens=True)
    return text.split(decoding.stop_text, 1)[0] if decoding.stop_text else text


@torch.no_grad()
def test_transformers_gives_the_answers_that_the_run_recorded(run_folder: Path) -> None:
    """Every tuned output of predictions.jsonl, letter for letter.

    In float32: m43 keeps float32 sums, while transformers in bfloat16 rounds after every product
    and does not agree with itself in float32 (93 of 100 rows, Gemma 3 270M).
    """
    run = RunDir(run_folder)
    record = read_record(run.evaluation, EvaluationRecord)
    template = run.read_profile().template
    tokenizer = transformers.AutoTokenizer.from_pretrained(run.model)
    model = transformers.AutoModelForCausalLM.from_pretrained(run.model, dtype=torch.float32)
    predictions: tuple[Prediction, ...] = run.read_predictions()
    others = []
    for prediction in predictions:
        prompt = template.prompt.replace("{prompt}", prediction.prompt)
        found = answer(model.eval(), tokenizer, prompt, record)
        if found != prediction.tuned_output:
            others.append((prediction.id, prediction.tuned_output, found))
    same = len(predictions) - len(others)
    sys.stdout.write(f"{same} of {len(predictions)} outputs are the same\n")
    assert others == []
