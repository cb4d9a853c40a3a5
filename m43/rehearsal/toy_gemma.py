"""The toy Gemma: a small model folder in Gemma 1's format, byte-identical wherever it is written.

No random number generator and no tensor library has a say in its bytes: the weights are the output
of SHAKE-256, scaled in float64 and rounded to bfloat16 here.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m43.errors import FailureClass, M43Error

REPO = "m43/toy-gemma"
# What `revision_of` gives for the folder; the bundled rehearsal profile pins it.
REVISION = "bc5f6cbac414d31bbc94542bd4f04f3dd11ae3dc"

TOKENIZER = Path(__file__).with_name("tokenizer.json")
SEED = "m43 toy gemma 1"

LAYERS = 2
D_MODEL = 128
D_FF = 512
HEADS = 4
KV_HEADS = 1
HEAD_DIM = 32
MAX_POSITIONS = 512


class RewrittenFileError(M43Error):
    """A file of the toy that a tool changed on its way to this machine."""

    failure_class = FailureClass.MODEL_INVALID


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A weight as the file holds it; a spread of 0 means zeros."""

    name: str
    shape: tuple[int, ...]
    spread: float


def write_toy_gemma(folder: Path) -> None:
    """Write the model folder: configuration, tokenizer and weights.

    Raises: RewrittenFileError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    vocab_size = len(tokenizer["model"]["vocab"])
    _write_json(folder / "config.json", _config(vocab_size))
    _write_json(folder / "generation_config.json", _generation_config())
    _write_json(folder / "tokenizer_config.json", _tokenizer_config())
    (folder / "tokenizer.json").write_bytes(TOKENIZER.read_bytes())
    (folder / "model.safetensors").write_bytes(_safetensors(tensors(vocab_size)))


def _tokenizer() -> dict[str, Any]:
    data = TOKENIZER.read_bytes()
    if b"\r" in data:
        raise RewrittenFileError(
            found="line ends that were changed (LF to CRLF)",
            expected="the bytes that were committed: the toy's revision is computed from them",
            where=str(TOKENIZER),
            action="fetch the checkout again with its bytes kept "
            "(git clone -c core.autocrlf=false)",
        )
    tokenizer: dict[str, Any] = json.loads(data)
    return tokenizer


def revision_of(folder: Path) -> str:
    """Compute a commit for a folder from the digests of its files, as git does in spirit.

    Example:
        Any change to any file, or to a file's name, gives another revision.
    """
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir())
    ]
    return hashlib.sha1("".join(lines).encode(), usedforsecurity=False).hexdigest()


def tensors(vocab_size: int) -> tuple[Tensor, ...]:
    """List the weights in the order of the file.

    Source: the tensor names of google/gemma-2b.
    """
    embedding = Tensor(
        # 1/sqrt(D), because Gemma multiplies what it looks up by sqrt(D).
        name="model.embed_tokens.weight",
        shape=(vocab_size, D_MODEL),
        spread=D_MODEL**-0.5,
    )
    layers = tuple(tensor for layer in range(LAYERS) for tensor in _layer(layer))
    return (embedding, *layers, _norm("model.norm.weight"))


def _layer(layer: int) -> tuple[Tensor, ...]:
    at = f"model.layers.{layer}"
    heads, kv = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    return (
        _norm(f"{at}.input_layernorm.weight"),
        _projection(f"{at}.self_attn.q_proj.weight", D_MODEL, heads),
        _projection(f"{at}.self_attn.k_proj.weight", D_MODEL, kv),
        _projection(f"{at}.self_attn.v_proj.weight", D_MODEL, kv),
        _projection(f"{at}.self_attn.o_proj.weight", heads, D_MODEL),
        _norm(f"{at}.post_attention_layernorm.weight"),
        _projection(f"{at}.mlp.gate_proj.weight", D_MODEL, D_FF),
        _projection(f"{at}.mlp.up_proj.weight", D_MODEL, D_FF),
        _projection(f"{at}.mlp.down_proj.weight", D_FF, D_MODEL),
    )


def _norm(name: str) -> Tensor:
    # Stored as w where the norm multiplies by 1 + w.
    return Tensor(name=name, shape=(D_MODEL,), spread=0.0)


def _projection(name: str, inputs: int, outputs: int) -> Tensor:
    return Tensor(name=name, shape=(outputs, inputs), spread=inputs**-0.5)


def values(tensor: Tensor) -> NDArray[np.uint16]:
    """Draw a weight: uniform, with the tensor's spread as standard deviation, as bfloat16 bits."""
    count = math.prod(tensor.shape)
    if tensor.spread == 0:
        return np.zeros(tensor.shape, np.uint16)
    stream = hashlib.shake_256(f"{SEED}/{tensor.name}".encode()).digest(4 * count)
    whole = np.frombuffer(stream, dtype="<u4").astype(np.float64)
    # The middle of each of 2**32 cells of (-1, 1): exact in float64, and never 0.
    centred = (whole + 0.5) * 2.0**-31 - 1.0
    # A uniform variable on (-1, 1) has the standard deviation 1/sqrt(3).
    drawn = centred * (math.sqrt(3.0) * tensor.spread)
    return to_bfloat16(drawn.astype(np.float32)).reshape(tensor.shape)


def to_bfloat16(array: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round finite float32 values to bfloat16, to the nearest and ties to even, as bits.

    Example:
        >>> [hex(bits) for bits in to_bfloat16(np.array([1.0, -2.5, 1.00390625], np.float32))]
        ['0x3f80', '0xc020', '0x3f80']

    Source: IEEE 754, roundTiesToEven; a bfloat16 is the upper half of a float32.
    """
    bits = array.view(np.uint32)
    even = (bits >> np.uint32(16)) & np.uint32(1)
    rounded: NDArray[np.uint32] = (bits + np.uint32(0x7FFF) + even) >> np.uint32(16)
    return rounded.astype(np.uint16)


def _safetensors(weights: tuple[Tensor, ...]) -> bytes:
    """Write the weights as one file.

    Source: the safetensors format: length of the header, header in JSON, data.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for weight in weights:
        content = values(weight).astype("<u2").tobytes()
        header[weight.name] = {
            "dtype": "BF16",
            "shape": list(weight.shape),
            "data_offsets": [len(data), len(data) + len(content)],
        }
        data += content
    text = json.dumps(header, separators=(",", ":")).encode()
    # Padded with spaces so that the data begins on a multiple of 8.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def _config(vocab_size: int) -> dict[str, Any]:
    # The keys of google/gemma-2b's config.json, in their spelling of transformers 4.
    return {
        "architectures": ["GemmaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "head_dim": HEAD_DIM,
        "hidden_act": "gelu",
        "hidden_activation": None,
        "hidden_size": D_MODEL,
        "initializer_range": 0.02,
        "intermediate_size": D_FF,
        "max_position_embeddings": MAX_POSITIONS,
        "model_type": "gemma",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": KV_HEADS,
        "pad_token_id": 0,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": vocab_size,
    }


def _generation_config() -> dict[str, Any]:
    return {"_from_model_config": True, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}


def _tokenizer_config() -> dict[str, Any]:
    return {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<bos>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<eos>",
        "model_max_length": MAX_POSITIONS,
        "pad_token": "<pad>",
        "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizer",
        "unk_token": "<unk>",
        "use_default_system_prompt": False,
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
