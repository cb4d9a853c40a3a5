"""m43 beside transformers, live: whole folders, logits, gradients and greedy decoding.

Needs torch, so it is no unit test: run it where transformers and torch are installed.

    python -m pytest tests/parity
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from flax import nnx

from m43.core.batch import Batch
from m43.core.decode import greedy_decode
from m43.core.gemma import Gemma
from m43.core.step import completion_loss
from m43.training.weights.config_json import read_model_config
from m43.training.weights.read_write import read_weights, write_weights
from tests.parity.sizes import SIZES, WINDOW

LENGTH, ROWS, NEW = 40, 3, 12

SHARED = {
    **SIZES,
    "attn_implementation": "eager",
}
CONFIGS = {
    "gemma": transformers.GemmaConfig(**SHARED, num_hidden_layers=3),
    "gemma2": transformers.Gemma2Config(
        **SHARED | WINDOW,
        num_hidden_layers=4,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=5.0,
    ),
    "gemma3_text": transformers.Gemma3TextConfig(**SHARED | WINDOW, num_hidden_layers=7),
}


@pytest.fixture(scope="module", params=CONFIGS)
def theirs(request: pytest.FixtureRequest) -> transformers.PreTrainedModel:
    """A random model whose layers outweigh its embedding."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[request.param])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 0.1 if "embed" in name else 0.25
            parameter.copy_(torch.randn_like(parameter) * spread)
    return model.eval()


@pytest.fixture(scope="module")
def folder(theirs: transformers.PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that transformers itself writes, in shards."""
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder, max_shard_size="50KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    return folder


@pytest.fixture(scope="module")
def ours(folder: Path) -> Gemma:
    """The same model in m43."""
    config = read_model_config(folder)
    return read_weights(folder, config, jnp.float32, compute_dtype=jnp.float32)


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Rows of different lengths, the later half of each supervised."""
    rng = np.random.default_rng(1)
    places = np.broadcast_to(np.arange(LENGTH), (ROWS, LENGTH))
    lengths = np.array([[LENGTH], [25], [9]])
    segments = (places < lengths).astype(np.int32)
    tokens = rng.integers(3, SHARED["vocab_size"], (ROWS, LENGTH)) * segments
    return Batch(
        tokens=jnp.asarray(tokens, jnp.int32),
        positions=jnp.asarray(places * segments, jnp.int32),
        segments=jnp.asarray(segments),
        supervised=jnp.asarray((places >= lengths // 2) & (segments > 0)),
    )


def as_torch(array: jax.Array) -> torch.Tensor:
    """Copy an array of ids."""
    return torch.from_numpy(np.array(array)).long()


def test_logits_agree(theirs: transformers.PreTrainedModel, ours: Gemma, batch: Batch) -> None:
    """To 1e-5 of the largest logit."""
    with torch.no_grad():
        output = theirs(as_torch(batch.tokens), attention_mask=as_torch(batch.segments))
    expected = output.logits.numpy()
    found = np.asarray(ours.logits(ours.hidden(batch.tokens, batch.positions, batch.segments)))
    real = np.asarray(batch.segments) > 0
    assert np.abs(found - expected)[real].max() < 1e-5 * np.abs(expected).max()


def test_loss_and_gradients_agree(
    theirs: transformers.PreTrainedModel, ours: Gemma, batch: Batch
) -> None:
    """The summed loss, and the gradients of the embedding, a projection and a norm."""
    labels = torch.where(as_torch(batch.supervised).bool(), as_torch(batch.tokens), -100)
    theirs.zero_grad()
    logits = theirs(as_torch(batch.tokens), attention_mask=as_torch(batch.segments)).logits
    expected = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum"
    )
    expected.backward()
    graphdef, weights = nnx.split(ours)

    @jax.jit
    def loss(weights: nnx.State) -> jax.Array:
        return completion_loss(nnx.merge(graphdef, weights), batch, chunk=16)[0]

    found, gradient = jax.value_and_grad(loss)(weights)
    assert float(found) == pytest.approx(expected.item(), rel=1e-5)
    layer = theirs.model.layers[1]
    pairs = (
        (gradient["embedding"][...], theirs.model.embed_tokens.weight),
        (gradient["layers"]["attention"]["key"]["weight"][...][1], layer.self_attn.k_proj.weight),
        (gradient["layers"]["pre_attention_norm"][...][1], layer.input_layernorm.weight),
    )
    for one, two in pairs:
        expected_array = two.grad.numpy()
        difference = np.abs(np.asarray(one) - expected_array).max()
        assert difference < 1e-4 * np.abs(expected_array).max()


def test_greedy_answers_agree(
    theirs: transformers.PreTrainedModel, ours: Gemma, batch: Batch
) -> None:
    """Token for token, row by row, transformers' generate against the batch."""
    lengths = np.asarray(batch.segments).sum(axis=1).astype(np.int32)
    tokens, _ = greedy_decode(
        ours, batch.tokens, jnp.asarray(lengths), max_new_tokens=NEW, stop_ids=()
    )
    for row, length in enumerate(lengths):
        prompt = as_torch(batch.tokens)[row : row + 1, :length]
        answer = theirs.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=NEW,
            do_sample=False,
            eos_token_id=None,
        )
        assert np.asarray(tokens)[row].tolist() == answer[0, length:].tolist()


def test_transformers_reads_what_m43_writes(
    theirs: transformers.PreTrainedModel, ours: Gemma, folder: Path, tmp_path: Path
) -> None:
    """A folder written by m43 loads without a missing or unexpected tensor, in bfloat16 too."""
    for dtype, expected in ((jnp.float32, torch.float32), (jnp.bfloat16, torch.bfloat16)):
        out = tmp_path / str(expected)
        write_weights(ours, out, source=folder, dtype=dtype)
        again, report = transformers.AutoModelForCausalLM.from_pretrained(
            out, output_loading_info=True
        )
        assert not report["missing_keys"]
        assert not report["unexpected_keys"]
        assert again.dtype == expected
        for name, parameter in theirs.named_parameters():
            assert torch.equal(again.get_parameter(name), parameter.to(expected)), name
