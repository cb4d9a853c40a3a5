"""A model folder of 30,000 weights with a tokenizer of bytes and letters, and rows for it."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

from m43.records.profile import TemplateTable
from tests.unit.fast_compile import compile_fast

compile_fast()

LETTERS = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789?:+\n"
# Source: google/gemma-2b-it, tokenizer_config.json.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
SHAPE = {"layers": 2, "d_model": 32, "d_ff": 64, "heads": 2, "kv": 1, "head_dim": 16}

WriteRows = Callable[[Iterable[object]], Path]


@pytest.fixture(scope="session")
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what is compiled: whole runs of the tiny model take the same steps, at seconds each."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def tiny_gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Gemma 1 folder as the hub would serve it, in bfloat16."""
    folder = tmp_path_factory.mktemp("tiny-gemma")
    size = _write_tokenizer(folder / "tokenizer.json")
    config = {
        "architectures": ["GemmaForCausalLM"],
        "model_type": "gemma",
        "hidden_act": "gelu",
        "num_hidden_layers": SHAPE["layers"],
        "num_attention_heads": SHAPE["heads"],
        "num_key_value_heads": SHAPE["kv"],
        "head_dim": SHAPE["head_dim"],
        "hidden_size": SHAPE["d_model"],
        "intermediate_size": SHAPE["d_ff"],
        "vocab_size": size,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "max_position_embeddings": 128,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config))
    _write_weights(folder / "model.safetensors", size)
    return folder


@pytest.fixture(scope="session")
def tiny_chat_gemma(tiny_gemma: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the chat template of Gemma 1's instruction-tuned models."""
    folder = tmp_path_factory.mktemp("tiny-chat-gemma")
    shutil.copytree(tiny_gemma, folder, dirs_exist_ok=True)
    table = {"chat_template": CHAT_TEMPLATE, "eos_token": "<eos>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(table))
    return folder


@pytest.fixture
def template() -> TemplateTable:
    """Question and answer, as in the bundled profiles."""
    return TemplateTable(
        style="plain",
        prompt="Q: {prompt}\nA:",
        completion=" {final_answer}",
        answer_marker="",
        stop_text="\n",
    )


@pytest.fixture
def write_rows(tmp_path: Path) -> WriteRows:
    """Write values as JSON Lines; a text is written as it is."""

    def write(rows: Iterable[object]) -> Path:
        path = tmp_path / "rows.jsonl"
        lines = [
            row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows
        ]
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")
        return path

    return write


def _write_tokenizer(path: Path) -> int:
    special = ("<pad>", "<eos>", "<bos>", "<unk>")
    turns = ("<start_of_turn>", "<end_of_turn>")
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *LETTERS, *turns]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    named = [AddedToken(name, special=True) for name in (*special, *turns)]
    tokenizer.add_special_tokens(named)
    # Google's adds BOS too; m43 must not get it twice.
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 2)]
    )
    tokenizer.save(str(path))
    return len(pieces)


def _write_weights(path: Path, vocab_size: int) -> None:
    width, inner = SHAPE["d_model"], SHAPE["d_ff"]
    queries, keys = SHAPE["heads"] * SHAPE["head_dim"], SHAPE["kv"] * SHAPE["head_dim"]
    shapes = {"model.embed_tokens.weight": (vocab_size, width), "model.norm.weight": (width,)}
    for layer in range(SHAPE["layers"]):
        at = f"model.layers.{layer}"
        shapes |= {
            f"{at}.self_attn.q_proj.weight": (queries, width),
            f"{at}.self_attn.k_proj.weight": (keys, width),
            f"{at}.self_attn.v_proj.weight": (keys, width),
            f"{at}.self_attn.o_proj.weight": (width, queries),
            f"{at}.mlp.gate_proj.weight": (inner, width),
            f"{at}.mlp.up_proj.weight": (inner, width),
            f"{at}.mlp.down_proj.weight": (width, inner),
            f"{at}.input_layernorm.weight": (width,),
            f"{at}.post_attention_layernorm.weight": (width,),
        }
    random = np.random.default_rng(43)
    header: dict[str, object] = {}
    data = b""
    for name, shape in shapes.items():
        spread = 0.0 if len(shape) == 1 else width**-0.5
        content = random.normal(0.0, spread, shape).astype(ml_dtypes.bfloat16).tobytes()
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
