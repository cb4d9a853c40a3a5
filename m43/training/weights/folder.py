"""A folder's safetensors files together: which tensor is in which, and where it belongs."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from m43.core import GemmaConfig
from m43.errors import FailureClass, Problem, ProblemsError
from m43.files import read_whole
from m43.text import NotTextError, brief, is_folder_name, read_text
from m43.training.weights.safetensors_file import SafetensorsFile, StoredTensor, open_safetensors
from m43.typed_json import read_json

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
"""Some tools save the tied head a second time; it must then equal the embedding."""

# Source: transformers 5.23, the attribute names in modeling_gemma.py, modeling_gemma2.py and
# modeling_gemma3.py, which are the names in the files.
PROJECTIONS: Mapping[str, tuple[str, str]] = {
    "self_attn.q_proj": ("attention", "query"),
    "self_attn.k_proj": ("attention", "key"),
    "self_attn.v_proj": ("attention", "value"),
    "self_attn.o_proj": ("attention", "output"),
    "mlp.gate_proj": ("feed_forward", "gate"),
    "mlp.up_proj": ("feed_forward", "up"),
    "mlp.down_proj": ("feed_forward", "down"),
}
"""What each projection of a layer is called in the files, and where it is in the model."""
_NORMS: Mapping[str, tuple[str, ...]] = {"input_layernorm": ("pre_attention_norm",)}
# One name, two norms: GemmaDecoderLayer.forward applies it before the feed-forward,
# Gemma2DecoderLayer.forward and Gemma3DecoderLayer.forward after attention.
_GEMMA1_NORMS: Mapping[str, tuple[str, ...]] = {
    "post_attention_layernorm": ("pre_feed_forward_norm",),
}
_POST_NORMS: Mapping[str, tuple[str, ...]] = {
    "post_attention_layernorm": ("post_attention_norm",),
    "pre_feedforward_layernorm": ("pre_feed_forward_norm",),
    "post_feedforward_layernorm": ("post_feed_forward_norm",),
}
_QK_NORMS: Mapping[str, tuple[str, ...]] = {
    "self_attn.q_norm": ("attention", "query_norm"),
    "self_attn.k_norm": ("attention", "key_norm"),
}


# Source: transformers 5.24, conversion_mapping.py, "llava": the names in a multimodal folder, as
# published and as transformers 5 holds them.
_TEXT = ("language_model.model.", "model.language_model.")
_TEXT_HEAD = "language_model.lm_head.weight"
_LEFT_OUT = tuple(
    f"{before}{part}."
    for before in ("", "model.")
    for part in ("vision_tower", "multi_modal_projector")
)
"""What a multimodal folder has beside its text model; it is neither trained nor saved."""


def text_name(name: str) -> str:
    """Return what a tensor of a multimodal folder is called where the text model stands alone.

    Empty for what is left out.

    Example:
        >>> text_name("language_model.model.norm.weight")
        'model.norm.weight'
    """
    if name == _TEXT_HEAD:
        return HEAD
    before = next((each for each in _TEXT if name.startswith(each)), "")
    if before:
        return f"model.{name.removeprefix(before)}"
    return "" if name.startswith(_LEFT_OUT) else name


@dataclass(frozen=True, kw_only=True)
class TensorPlace:
    """One tensor of the files and its place in the model.

    Attributes:
        name: in the files.
        leaf: the path of the parameter in the model.
        layer: the index along the parameter's first axis, or None where the tensor is all of it.
        shape: of the tensor. A Linear is [out, in] here and there: nothing is transposed.
    """

    name: str
    leaf: tuple[str, ...]
    layer: int | None
    shape: tuple[int, ...]


def tensor_places(config: GemmaConfig) -> Iterator[TensorPlace]:
    """Return every tensor that a folder of this model must have.

    Example:
        In Gemma 1 `model.layers.3.post_attention_layernorm.weight` is row 3 of
        `layers.pre_feed_forward_norm`.
    """
    table = (config.vocab_size, config.d_model)
    yield TensorPlace(name=EMBEDDING, leaf=("embedding",), layer=None, shape=table)
    names: dict[str, tuple[str, ...]] = {
        **{name: (*path, "weight") for name, path in PROJECTIONS.items()},
        **_NORMS,
        **(_POST_NORMS if config.post_norms else _GEMMA1_NORMS),
        **(_QK_NORMS if config.qk_norm else {}),
    }
    shapes = _shapes(config)
    for layer in range(config.layers):
        for name, path in names.items():
            yield TensorPlace(
                name=f"model.layers.{layer}.{name}.weight",
                leaf=("layers", *path),
                layer=layer,
                shape=shapes.get(name, (config.d_model,)),
            )
    yield TensorPlace(
        name="model.norm.weight", leaf=("final_norm",), layer=None, shape=(config.d_model,)
    )


def _shapes(config: GemmaConfig) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of everything in a layer but the norms over D."""
    queries, keys = config.q_heads * config.head_dim, config.kv_heads * config.head_dim
    return {
        "self_attn.q_proj": (queries, config.d_model),
        "self_attn.k_proj": (keys, config.d_model),
        "self_attn.v_proj": (keys, config.d_model),
        "self_attn.o_proj": (config.d_model, queries),
        "mlp.gate_proj": (config.d_ff, config.d_model),
        "mlp.up_proj": (config.d_ff, config.d_model),
        "mlp.down_proj": (config.d_model, config.d_ff),
        "self_attn.q_norm": (config.head_dim,),
        "self_attn.k_norm": (config.head_dim,),
    }


SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_MOST_INDEX_BYTES = 1 << 24


class WeightsError(ProblemsError):
    """A folder whose weights are not those of its config."""

    failure_class = FailureClass.MODEL_INVALID


@dataclass(frozen=True, kw_only=True)
class StoredWeights:
    """Every tensor of a folder's model, and the files in the order of their names.

    Attributes:
        tensors: by their names where the text model stands alone.
        multimodal: whether there are other parts beside it, which are left out.
    """

    files: tuple[SafetensorsFile, ...]
    tensors: dict[str, tuple[SafetensorsFile, StoredTensor]] = field(repr=False)
    multimodal: bool = False

    def name_of(self, tensor: StoredTensor) -> str:
        """Return what a tensor is called where the text model stands alone; empty if left out."""
        return text_name(tensor.name) if self.multimodal else tensor.name

    def kept(self, file: SafetensorsFile) -> tuple[StoredTensor, ...]:
        """Return a file's tensors of the text model, by their names where it stands alone."""
        named = ((self.name_of(tensor), tensor) for tensor in file.tensors)
        return tuple(replace(tensor, name=name) for name, tensor in named if name)

    def left_out(self) -> int:
        """Count the numbers of the tensors that belong to no text model."""
        every = (tensor for file in self.files for tensor in file.tensors)
        return sum(math.prod(tensor.shape) for tensor in every if not self.name_of(tensor))


def open_weight_folder(folder: Path, places: tuple[TensorPlace, ...]) -> StoredWeights:
    """Open every file and account for every tensor before one byte of weights is read.

    Raises:
        WeightsError: with every file and tensor that is missing, unexpected, misshapen,
            cut off or of an unknown dtype.
    """
    names, problems = _file_names(folder)
    files = []
    for name in names:
        file, found = open_safetensors(folder / name)
        problems += found
        files += [file] if file is not None else []
    tensors: dict[str, tuple[SafetensorsFile, StoredTensor]] = {}
    multimodal = any(tensor.name.startswith(_TEXT) for file in files for tensor in file.tensors)
    stored = StoredWeights(files=tuple(files), tensors=tensors, multimodal=multimodal)
    for file in files:
        for tensor in filter(stored.name_of, file.tensors):
            name = stored.name_of(tensor)
            if name in tensors:
                where = f"{file.path.name} and {tensors[name][0].path.name}"
                problems.append(_problem(folder, f"{name} in {where}", "it once"))
            tensors[name] = (file, tensor)
    # A file that cannot be opened explains its missing tensors; a list of them would bury it.
    if not problems:
        problems += _tensor_problems(folder, stored, places)
    if problems:
        raise WeightsError(problems)
    return stored


def _problem(
    folder: Path,
    found: str,
    expected: str,
    action: str = "fetch the model again at its pinned revision",
) -> Problem:
    return Problem(found=found, expected=expected, where=str(folder), action=action)


def _file_names(folder: Path) -> tuple[list[str], list[Problem]]:
    present = {path.name for path in folder.glob("*.safetensors")}
    if (folder / INDEX).exists():
        named, problems = _index_names(folder)
    elif SINGLE in present:
        named, problems = {SINGLE}, []
    else:
        found = ", ".join(sorted(present)) or "no *.safetensors"
        return [], [_problem(folder, found, f"{SINGLE}, or shards and {INDEX}")]
    problems += [
        _problem(folder, f"{name}, which no index names", "only files that are read")
        for name in sorted(present - named)
    ]
    problems += [
        _problem(folder, f"no {name}", f"every file that {INDEX} names")
        for name in sorted(named - present)
    ]
    return sorted(named & present), problems


def _index_names(folder: Path) -> tuple[set[str], list[Problem]]:
    where = folder / INDEX
    try:
        index = read_json(read_text(read_whole(where, _MOST_INDEX_BYTES)))
        table = {str(name): str(shard) for name, shard in index["weight_map"].items()}  # type: ignore[index]
    except NotTextError as error:
        expected = "a JSON object with a weight_map"
        return set(), [_problem(where, str(error), expected, error.action)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"{type(error).__name__}: {error}"
        return set(), [_problem(where, found, "a JSON object with a weight_map")]
    names = set(table.values())
    # A name from a file is input: it must not lead out of the folder.
    good = {name for name in names if is_folder_name(name) and name.endswith(".safetensors")}
    problems = [
        _problem(where, f"the file name {brief(name)}", "the name of a .safetensors file beside it")
        for name in sorted(names - good)
    ]
    bytes_inside = 0
    for name in sorted(good):
        file, _ = open_safetensors(folder / name)
        if file is None:
            continue
        bytes_inside += sum(tensor.size_bytes for tensor in file.tensors)
        inside = {tensor.name for tensor in file.tensors}
        listed = {tensor for tensor, shard in table.items() if shard == name}
        problems += [
            _problem(where, f"{tensor} listed in {name}", "tensors listed where they are")
            for tensor in sorted(listed - inside)
        ]
        problems += [
            _problem(where, f"{tensor} in {name} but not listed", "every tensor listed")
            for tensor in sorted(inside - listed)
        ]
    # A file that is missing or damaged is reported as such; its bytes are not counted then.
    return good, problems or _size_problems(where, index, bytes_inside)


def _size_problems(where: Path, index: object, bytes_inside: int) -> list[Problem]:
    metadata = index.get("metadata", {}) if isinstance(index, dict) else {}
    if not isinstance(metadata, dict):
        return [_problem(where, f"metadata {brief(metadata)}", "a table")]
    total = metadata.get("total_size")
    if total is None or total == bytes_inside:
        return []
    return [_problem(where, f"a total_size of {brief(total)}", f"{bytes_inside} bytes of tensors")]


def _tensor_problems(
    folder: Path, stored: StoredWeights, places: tuple[TensorPlace, ...]
) -> Iterator[Problem]:
    expected = {place.name: place.shape for place in places}
    for name, shape in expected.items():
        if name not in stored.tensors:
            yield _problem(folder, f"no {name}", f"it, with shape {list(shape)}")
        elif stored.tensors[name][1].shape != shape:
            found = f"{name} of shape {list(stored.tensors[name][1].shape)}"
            yield _problem(folder, found, f"shape {list(shape)}, as config.json says")
    for name in sorted(stored.tensors.keys() - expected.keys() - {HEAD}):
        yield _problem(folder, name, "no tensor of that name in this family")
    if HEAD in stored.tensors and EMBEDDING in stored.tensors:
        head, embedding = (_digest_of(*stored.tensors[name]) for name in (HEAD, EMBEDDING))
        if head != embedding:
            found = f"a {HEAD} that differs from {EMBEDDING}"
            yield _problem(folder, found, "one tied matrix: m43 does not train an untied head")


def _digest_of(file: SafetensorsFile, tensor: StoredTensor) -> tuple[str, str]:
    digest = hashlib.sha256()
    for block in blocks_of(file, tensor):
        digest.update(block)
    return tensor.dtype, digest.hexdigest()


def blocks_of(file: SafetensorsFile, tensor: StoredTensor) -> Iterator[bytes]:
    """Yield the bytes of a tensor as they lie in its file, a MiB at a time."""
    left = tensor.size_bytes
    with file.path.open("rb") as opened:
        opened.seek(tensor.start_byte)
        while left and (block := opened.read(min(left, 1 << 20))):
            yield block
            left -= len(block)
