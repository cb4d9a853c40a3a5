"""The audit of the model: as its config.json describes it, and as its files hold it."""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from m43.errors import Problem, problem
from m43.evidence.contract import model_words
from m43.evidence.run import LoadedRun, TrainFacts
from m43.files import bytes_sha256, file_sha256, weights_digest, weights_sha256
from m43.gemma_families import ARCHITECTURES, BASE_CONFIG, count_parameters, text_part
from m43.records import PinnedFile, RunDir, TrainRecord
from m43.text import is_weight_file
from m43.typed_json import NotJsonError, read_json

_problem = partial(problem, action="")


@dataclass(frozen=True, kw_only=True)
class Described:
    """The model of a config.json."""

    family: str
    layers: int
    d_model: int
    d_ff: int
    q_heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int

    @property
    def words(self) -> str:
        """The model by what it is."""
        return model_words(ARCHITECTURES[self.family], self.parameters)

    @property
    def parameters(self) -> int:
        """How many weights it has; a tied head counts once."""
        return count_parameters(**vars(self))

    @property
    def layer_weights(self) -> int:
        """The weights that every token is multiplied by, but for the head and the embedding.

        Source: Kaplan et al. 2020, section 2.1: 2 FLOPs per weight and token forward, 4 backward.

        Example:
            Gemma 1 2B: 1,981,808,640 (18 layers of 110,100,480).
        """
        return self.layers * (self.projection_weights + 3 * self.d_model * self.d_ff)

    @property
    def projection_weights(self) -> int:
        """The weights of one layer's attention."""
        return 2 * self.d_model * self.head_dim * (self.q_heads + self.kv_heads)

    def shape_of(self, tensor: str) -> tuple[int, ...] | None:
        """Return the shape of a tensor of the files by the end of its name; None for an unknown.

        Source: transformers 5.23, GemmaForCausalLM and its successors, the names of its weights.
        """
        d, queries, keys = self.d_model, self.q_heads * self.head_dim, self.kv_heads * self.head_dim
        shapes = {
            "embed_tokens": (self.vocab_size, d),
            "lm_head": (self.vocab_size, d),
            "q_proj": (queries, d),
            "k_proj": (keys, d),
            "v_proj": (keys, d),
            "o_proj": (d, queries),
            "gate_proj": (self.d_ff, d),
            "up_proj": (self.d_ff, d),
            "down_proj": (d, self.d_ff),
            "q_norm": (self.head_dim,),
            "k_norm": (self.head_dim,),
        }
        name = tensor.removesuffix(".weight").rpartition(".")[2]
        return (
            (d,)
            if name.endswith(("norm", "layernorm")) and name not in shapes
            else shapes.get(name)
        )


def describe(run: RunDir) -> Described | Problem:
    """Read the dimensions of the saved model out of its config.json."""
    path = run.model / "config.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        family = str(table["model_type"])
        ARCHITECTURES[family]
        return Described(
            family=family,
            layers=int(table["num_hidden_layers"]),
            d_model=int(table["hidden_size"]),
            d_ff=int(table["intermediate_size"]),
            q_heads=int(table["num_attention_heads"]),
            kv_heads=int(table["num_key_value_heads"]),
            head_dim=int(table["head_dim"]),
            vocab_size=int(table["vocab_size"]),
        )
    except (OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        # Not by its number, which is another in a browser.
        why = error.strerror if isinstance(error, OSError) else error
        return problem(
            f"{type(error).__name__}: {why}",
            "the description of the model that was trained",
            f"model/{path.name}",
            "do not rely on this folder: which model it was, and how much was computed, cannot be "
            "told",
        )


# --- the files ---------------------------------------------------------------------------------


def audit_weights(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Digest the saved model again, and take the base model's digest from the pinned files."""
    train = loaded_run.train
    if train is None:
        return
    found = weights_sha256(run.model)
    # Weights that are not there are the manifest's concern.
    if found and found != train.model_sha256:
        expected = f"{train.model_sha256}, as in train.json"
        action = "do not rely on this folder: the model was swapped after training"
        yield problem(f"weights with SHA-256 {found}", expected, "model", action)
    yield from config_problems(run.model, train)
    yield from _companions(run, train.download.files)
    pinned = {
        file.name: file.digest
        for file in train.download.files
        if is_weight_file(file.name) and file.digest_kind == "sha256"
    }
    # Small weights are pinned by their git blob, from which no SHA-256 follows.
    if pinned and len(pinned) == sum(is_weight_file(f.name) for f in train.download.files):
        expected = weights_digest(pinned)
        if train.base_weights_sha256 != expected:
            action = "do not rely on this folder: training began from other weights than it says"
            yield problem(
                f"base weights with SHA-256 {train.base_weights_sha256}",
                f"{expected}, which follows from download.json",
                "train.json, base_weights_sha256",
                action,
            )


def config_problems(model: Path, train: TrainRecord) -> Iterator[Problem]:
    """Hold the saved config.json against the one that training read.

    Of a multimodal base that is kept beside it, and what was saved is the text model's part of it.
    """
    base, config = model / BASE_CONFIG, model / "config.json"
    read = base if base.is_file() else config
    action = "do not rely on this folder: the model's description was changed"
    if read.is_file() and file_sha256(read) != train.repo_config_sha256:
        expected = f"{train.repo_config_sha256}, which training read (train.json)"
        yield problem(f"SHA-256 {file_sha256(read)}", expected, f"model/{read.name}", action)
    if base.is_file() != (train.left_out_parameters > 0):
        found = f"{train.left_out_parameters:,} parameters left out"
        there = "a number above 0, as there is" if base.is_file() else "0, as there is no"
        yield problem(found, f"{there} model/{BASE_CONFIG}", RunDir.train.name, action)
    if base.is_file() and config.is_file() and not _follows(config, base):
        yield problem("another text model", f"that of {BASE_CONFIG}", "model/config.json", action)


def _follows(config: Path, base: Path) -> bool:
    """Return whether a saved config.json is the text model's part of a multimodal base's."""
    try:
        saved, whole = (json.loads(path.read_text(encoding="utf-8")) for path in (config, base))
        return saved == text_part(whole) != whole
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def _companions(run: RunDir, files: Sequence[PinnedFile]) -> Iterator[Problem]:
    """Hold what was saved beside the weights against its pins: training copied it as it was read.

    Source: git hash-object: a blob is named by the SHA-1 of its bytes behind their number.
    """
    pinned = {file.name: file for file in files if not is_weight_file(file.name)}
    for path in sorted(run.model.iterdir()) if run.model.is_dir() else ():
        # Of a multimodal base config.json is kept under another name.
        name = "config.json" if path.name == BASE_CONFIG else path.name
        made = path.name == "config.json" and (run.model / BASE_CONFIG).is_file()
        file = None if made else pinned.get(name)
        if file is None or not path.is_file():
            continue
        data = path.read_bytes()
        blob = b"blob %d\0" % len(data) + data
        found = hashlib.sha1(blob, usedforsecurity=False).hexdigest()
        if file.digest_kind == "sha256":
            found = bytes_sha256(data)
        if found != file.digest:
            expected = f"{file.digest}, as in {run.download.name}"
            action = "do not rely on this folder: training read another file than the pinned one"
            kind = file.digest_kind
            yield problem(f"{kind} {found}", expected, f"model/{path.name}", action)


def audit_model(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Count the model's weights again from model/config.json, without JAX and without weights."""
    train = loaded_run.train
    if train is None:
        return
    described = describe(run)
    if isinstance(described, Problem):
        yield described
        return
    claims = {RunDir.train.name: model_words(train.architecture, train.parameters)}
    if loaded_run.plan is not None and loaded_run.plan.training is not None:
        claims[RunDir.plan.name] = model_words(
            loaded_run.plan.architecture, loaded_run.plan.parameters
        )
    for where, claimed in claims.items():
        if claimed != described.words:
            action = "do not rely on this folder: it was another model"
            expected = f"{described.words}, as model/config.json gives"
            yield problem(claimed, expected, where, action)
    plan = loaded_run.plan
    if plan is not None and plan.training is not None:
        # A plan that was made from the contract's own shapes has seen no config.json.
        more = plan.config is not None and train.left_out_parameters > 0
        if plan.training.multimodal != more:
            found, expected = f"multimodal {plan.training.multimodal}", f"{more}, as in train.json"
            yield _problem(found, expected, f"{RunDir.plan.name}, training.multimodal")
    stored = sum(f.size_bytes for f in train.download.files if is_weight_file(f.name))
    least, most = _stored_bytes(train)
    if not least <= stored <= most:
        bound = f"{least:,} at least" if stored < least else f"{most:,} at most"
        yield problem(
            f"{stored:,} bytes of weights",
            f"{bound}, for {train.parameters:,} parameters in {' and '.join(train.weights_dtypes)}",
            RunDir.download.name,
            "do not rely on this folder: so many parameters do not fit these files",
        )


# Source: the safetensors format, and the dtypes of weights that m43 reads.
_SIZES = {"BF16": 2, "F16": 2, "F32": 4}
# Headers of a Gemma have 60 KB; a head beside the embedding, where a folder has one, is tied.
_HEADER_BYTES, _MOST_HEADER_BYTES = 1 << 20, 1 << 24


def _stored_bytes(train: TrainFacts) -> tuple[int, int]:
    sizes = [_SIZES.get(dtype, 0) for dtype in train.weights_dtypes] or [0]
    numbers = train.parameters + train.left_out_parameters
    least, most = min(sizes) * numbers, max(sizes) * numbers
    return least, 2 * most + _HEADER_BYTES * max(1, len(train.download.files))


def weight_files(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Read the headers of the saved weights: each shape as config.json has it, no byte too many."""
    train, described = loaded_run.train, describe(run)
    paths = sorted(run.model.glob("*.safetensors")) if run.model.is_dir() else []
    if train is None or isinstance(described, Problem) or not paths:
        return
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    for path in paths:
        where = f"model/{path.name}"
        try:
            tensors |= _header(path)
        except (NotJsonError, ValueError, KeyError, TypeError, AttributeError) as error:
            yield _problem(f"{type(error).__name__}: {error}", "a safetensors file", where)
            return
        sealed = [file for file in train.download.files if file.name == path.name]
        if sealed and sealed[0].size_bytes != path.stat().st_size:
            found = f"{path.stat().st_size:,} bytes"
            yield _problem(found, f"{sealed[0].size_bytes:,}, as the base's", where)
    for name, (_, shape) in sorted(tensors.items()):
        if shape != described.shape_of(name):
            yield _problem(f"{name} of shape {shape}", f"{described.shape_of(name)}", "model")
    counted = sum(math.prod(shape) for name, (_, shape) in tensors.items() if "lm_head" not in name)
    if counted != train.parameters:
        yield _problem(f"{counted:,} weights in the files", f"{train.parameters:,}", "model")
    dtypes = sorted({dtype for dtype, _ in tensors.values()})
    if dtypes != sorted(train.weights_dtypes):
        found, expected = " and ".join(dtypes), " and ".join(train.weights_dtypes)
        yield _problem(f"weights in {found}", f"{expected}, as in train.json", "model")


def _header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Read dtype and shape of each tensor of a safetensors file.

    Raises: ValueError, when the bytes are not those of its tensors, one after the other.

    Source: the safetensors format, huggingface/safetensors README, section Format.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(_MOST_HEADER_BYTES, path.stat().st_size - 8):
            raise ValueError(f"a header of {length:,} bytes")
        table = read_json(file.read(length).decode())
    entries = {name: each for name, each in table.items() if name != "__metadata__"}  # type: ignore[attr-defined]
    end = 0
    for start, stop, size in sorted(
        (*map(int, each["data_offsets"]), _SIZES[each["dtype"]] * math.prod(each["shape"]))
        for each in entries.values()
    ):
        if start != end or stop - start != size:
            raise ValueError(f"a tensor of {size:,} bytes at {start:,} to {stop:,}")
        end = stop
    if 8 + length + end != path.stat().st_size:
        raise ValueError(f"{path.stat().st_size:,} bytes, {8 + length + end:,} by the header")
    return {name: (str(each["dtype"]), tuple(each["shape"])) for name, each in entries.items()}
