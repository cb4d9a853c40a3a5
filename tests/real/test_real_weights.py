"""A published Gemma in m43 and in transformers: the same logits, the same continuation.

Run it with `make real MODEL=FOLDER RUN=RUN_DIR`.
"""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from flax import nnx

from m43.core.decode import greedy_decode
from m43.core.gemma import Gemma
from m43.training.weights.config_json import read_model_config
from m43.training.weights.read_write import read_weights

pytestmark = pytest.mark.timeout(1800)

CAPITAL = "The capital of France is"
OTHER = ("Water boils at", "def fibonacci(n):\n", "In the beginning")
NEW = 64
TEXT = """A training run is a promise. It names a model, a number of steps and a set of questions,
and whoever reads the result takes it for granted that these were the ones. Nothing in the numbers
says so: 138 steps on the wrong model give a loss as well as 300 on the right one. In 1969 three
people flew to the Moon; the journey took 76 hours, and 2 of them walked on it. What is 17 x 23?
It is 391, as anybody can check: 17 x 20 = 340, 17 x 3 = 51, and 340 + 51 = 391."""


@pytest.fixture(scope="module")
def theirs(model_folder: Path) -> transformers.PreTrainedModel:
    """The folder in transformers, computed in float32."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        model_folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()


@pytest.fixture(scope="module")
def ours(model_folder: Path) -> Gemma:
    """The same in m43."""
    config = read_model_config(model_folder)
    return read_weights(model_folder, config, jnp.float32, compute_dtype=jnp.float32, remat=False)


@pytest.fixture(scope="module")
def tokenizer(model_folder: Path) -> transformers.PreTrainedTokenizerBase:
    """The folder's own tokenizer."""
    return transformers.AutoTokenizer.from_pretrained(model_folder)


def logits_of(model: Gemma, ids: np.ndarray) -> np.ndarray:
    """Run one row."""
    positions = jnp.arange(ids.shape[1], dtype=jnp.int32)[None, :]
    graphdef, weights = nnx.split(model)
    again = nnx.merge(graphdef, weights)
    return np.asarray(again.logits(again.hidden(jnp.asarray(ids), positions, jnp.ones_like(ids))))


@torch.no_grad()
def test_logits_on_real_text_agree(
    theirs: transformers.PreTrainedModel,
    ours: Gemma,
    tokenizer: transformers.PreTrainedTokenizerBase,
) -> None:
    """In float32 to 1e-5 of the largest logit, at a length beyond the sliding window."""
    window = getattr(theirs.config, "sliding_window", None) or 0
    ids = np.asarray(tokenizer(TEXT)["input_ids"], np.int32)
    repeated = np.tile(ids, -(-(window + 64) // ids.size))[None, :]
    expected = theirs(torch.from_numpy(repeated).long()).logits.numpy()
    found = logits_of(ours, repeated)
    assert repeated.shape[1] > window
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@torch.no_grad()
def test_the_capital_of_france_continues_as_in_transformers(
    theirs: transformers.PreTrainedModel,
    ours: Gemma,
    tokenizer: transformers.PreTrainedTokenizerBase,
) -> None:
    """Token for token, 64 of them, alone and in a batch of prompts of other lengths."""
    prompts = [tokenizer(text)["input_ids"] for text in (CAPITAL, *OTHER)]
    expected = []
    for prompt in prompts:
        row = torch.tensor([prompt])
        answer = theirs.generate(
            row,
            attention_mask=torch.ones_like(row),
            max_new_tokens=NEW,
            do_sample=False,
            eos_token_id=None,
        )
        expected.append(answer[0, len(prompt) :].tolist())

    for group in ([prompts[0]], prompts):
        width = max(map(len, group))
        tokens = np.zeros((len(group), width), np.int32)
        for number, prompt in enumerate(group):
            tokens[number, : len(prompt)] = prompt
        lengths = jnp.asarray([len(prompt) for prompt in group], jnp.int32)
        found, _ = greedy_decode(
            ours, jnp.asarray(tokens), lengths, max_new_tokens=NEW, stop_ids=()
        )
        assert np.asarray(found).tolist() == expected[: len(group)]
