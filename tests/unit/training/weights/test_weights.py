"""Weights in and out of Hugging Face folders: nothing lost, nothing guessed, nothing half."""

import contextlib
import dataclasses
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from m43.core.config import GemmaConfig
from m43.core.gemma import Gemma
from m43.errors import FailureClass
from m43.files import ModelFolderError
from m43.training.weights import safetensors_file
from m43.training.weights.folder import WeightsError, tensor_places
from m43.training.weights.read_write import read_weights, weights_digest, write_weights
from m43.training.weights.safetensors_file import aligned_empty

GEMMA1 = GemmaConfig(
    family="gemma",
    layers=3,
    d_model=8,
    d_ff=12,
    q_heads=2,
    kv_heads=1,
    head_dim=4,
    vocab_size=20,
    norm_eps=1e-6,
    query_scale=0.5,
    rope_theta_global=1e4,
    rope_theta_local=1e4,
    sliding_window=None,
    global_layers=(True,) * 3,
    attention_softcap=None,
    final_softcap=None,
    qk_norm=False,
    post_norms=False,
    max_positions=16,
    pad_id=0,
    bos_id=2,
    eos_ids=(1,),
)
GEMMA3 = dataclasses.replace(GEMMA1, family="gemma3_text", qk_norm=True, post_norms=True)
BF16 = np.dtype(ml_dtypes.bfloat16)
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"

Tensors = dict[str, np.ndarray]


def make_tensors(config: GemmaConfig = GEMMA1) -> Tensors:
    """Draw every tensor of a model in bfloat16, in an order that is not the model's."""
    rng = np.random.default_rng(0)
    places = sorted(tensor_places(config), key=lambda place: place.name[::-1])
    return {place.name: rng.normal(size=place.shape).astype(BF16) for place in places}


def write_source(folder: Path, tensors: Tensors, shards: int = 1) -> Path:
    """Write a folder as the hub serves it."""
    folder.mkdir()
    (folder / "config.json").write_text(
        '{\n  "model_type": "gemma",\n  "torch_dtype": "bfloat16"\n}'
    )
    (folder / "tokenizer.json").write_text("{}")
    if shards == 1:
        save_file(tensors, folder / SINGLE, metadata={"format": "pt"})
        return folder
    names = sorted(tensors)
    weight_map = {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[number::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Read every file."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("config", [GEMMA1, GEMMA3], ids=lambda config: config.family)
def test_every_tensor_lands_in_its_place(tmp_path: Path, config: GemmaConfig) -> None:
    """Stacked by layer, neither transposed nor rounded; every parameter is filled."""
    tensors = make_tensors(config)
    model = read_weights(write_source(tmp_path / "in", tensors), config, jnp.bfloat16)
    layers = model.layers
    for layer in range(config.layers):
        gate = tensors[f"model.layers.{layer}.mlp.gate_proj.weight"]
        assert (np.asarray(layers.feed_forward.gate.weight[...][layer]) == gate).all()
    assert (np.asarray(model.embedding[...]) == tensors["model.embed_tokens.weight"]).all()
    assert (np.asarray(model.final_norm[...]) == tensors["model.norm.weight"]).all()
    found = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model)))
    assert found == config.parameters == sum(tensor.size for tensor in tensors.values())


@pytest.mark.parametrize("donated", [True, False])
def test_weights_to_be_given_away_are_not_copied_by_the_step(tmp_path: Path, donated: bool) -> None:
    """Each new array lies where the old one lay; one that NumPy lent would be copied and kept."""
    model = read_weights(
        write_source(tmp_path / "in", make_tensors()), GEMMA1, jnp.float32, donated=donated
    )
    step = jax.jit(lambda array: array + 1.0, donate_argnums=0)
    for leaf in jax.tree.leaves(nnx.state(model)):
        before = leaf.unsafe_buffer_pointer()
        assert (step(leaf).unsafe_buffer_pointer() == before) is donated


def test_one_name_is_two_norms(tmp_path: Path) -> None:
    """post_attention_layernorm is the norm before the MLP in Gemma 1, after attention later."""
    name = "model.layers.1.post_attention_layernorm.weight"
    one, three = make_tensors(), make_tensors(GEMMA3)
    first = read_weights(write_source(tmp_path / "1", one), GEMMA1, jnp.bfloat16).layers
    third = read_weights(write_source(tmp_path / "3", three), GEMMA3, jnp.bfloat16).layers
    assert (np.asarray(first.pre_feed_forward_norm[...][1]) == one[name]).all()
    assert not hasattr(first, "post_attention_norm")
    assert (np.asarray(third.post_attention_norm[...][1]) == three[name]).all()


@pytest.mark.parametrize("shards", [1, 3])
def test_untouched_weights_are_written_bit_for_bit(tmp_path: Path, shards: int) -> None:
    """Read and written in their own dtype, every file of the folder is the same."""
    source = write_source(tmp_path / "in", make_tensors(), shards)
    model = read_weights(source, GEMMA1, jnp.bfloat16)
    write_weights(model, tmp_path / "out", source=source, dtype=jnp.bfloat16)
    assert contents(tmp_path / "out") == contents(source)
    assert weights_digest(tmp_path / "out") == weights_digest(source)


@pytest.mark.parametrize("shards", [1, 3])
def test_float32_masters_come_back_exactly(tmp_path: Path, shards: int) -> None:
    """Trained in float32 and written in float32, no bit is lost, and config.json says so."""
    source = write_source(tmp_path / "in", make_tensors(), shards)
    model = read_weights(source, GEMMA1, jnp.float32)
    state = jax.tree.map(lambda leaf: leaf * 1.0001, nnx.state(model))
    nnx.update(model, state)
    write_weights(model, tmp_path / "out", source=source, dtype=jnp.float32)
    again = read_weights(tmp_path / "out", GEMMA1, jnp.float32)
    for one, two in zip(jax.tree.leaves(state), jax.tree.leaves(nnx.state(again)), strict=True):
        assert (np.asarray(one) == np.asarray(two)).all()
    assert json.loads((tmp_path / "out" / "config.json").read_text())["torch_dtype"] == "float32"
    if shards > 1:
        index = json.loads((tmp_path / "out" / INDEX).read_text())
        assert index["metadata"]["total_size"] == 4 * GEMMA1.parameters


def test_other_tools_read_what_is_written(tmp_path: Path) -> None:
    """The safetensors package finds the names, shapes and values, rounded once."""
    tensors = make_tensors()
    source = write_source(tmp_path / "in", tensors)
    model = read_weights(source, GEMMA1, jnp.float32)
    nnx.update(model, jax.tree.map(lambda leaf: leaf * 1.01, nnx.state(model)))
    write_weights(model, tmp_path / "out", source=source, dtype=jnp.bfloat16)
    found = load_file(tmp_path / "out" / SINGLE)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        expected = (tensor.astype(np.float32) * np.float32(1.01)).astype(BF16)
        assert (found[name] == expected).all()


def test_a_tied_head_saved_twice_is_accepted_and_kept(tmp_path: Path) -> None:
    """lm_head.weight may be there if its bits are the embedding's; it is written back."""
    tensors = make_tensors()
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    source = write_source(tmp_path / "in", tensors)
    model = read_weights(source, GEMMA1, jnp.bfloat16)
    write_weights(model, tmp_path / "out", source=source, dtype=jnp.bfloat16)
    assert contents(tmp_path / "out") == contents(source)


COMPANIONS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)


def test_what_lies_beside_the_weights_is_kept_byte_for_byte(tmp_path: Path) -> None:
    """As a converter to GGUF, or a server, needs it: also what m43 itself does not read."""
    source = write_source(tmp_path / "in", make_tensors(), 2)
    for number, name in enumerate(COMPANIONS):
        (source / name).write_bytes(b"\xef\xbb\xbf\r\n\x00\xff" + bytes([number]))
    model = read_weights(source, GEMMA1, jnp.float32)

    write_weights(model, tmp_path / "out", source=source)

    assert set(contents(tmp_path / "out")) == set(contents(source)) > set(COMPANIONS)
    for name in COMPANIONS:
        assert (tmp_path / "out" / name).read_bytes() == (source / name).read_bytes()


def test_what_the_base_has_not_the_trained_folder_has_not(tmp_path: Path) -> None:
    """Nothing is made up: the toy, for one, has no tokenizer.model."""
    source = write_source(tmp_path / "in", make_tensors())
    (source / "README.md").write_text("about the base")
    model = read_weights(source, GEMMA1, jnp.bfloat16)

    write_weights(model, tmp_path / "out", source=source)

    assert set(contents(tmp_path / "out")) == {"config.json", "tokenizer.json", SINGLE}


def drop(tensors: Tensors) -> None:
    """Leave a tensor out."""
    del tensors["model.layers.2.mlp.up_proj.weight"]


def add(tensors: Tensors) -> None:
    """Put a tensor of another family in."""
    tensors["model.layers.0.self_attn.q_norm.weight"] = np.zeros(4, BF16)


def bend(tensors: Tensors) -> None:
    """Transpose a tensor."""
    tensors["model.layers.0.mlp.down_proj.weight"] = np.zeros((12, 8), BF16)


def double(tensors: Tensors) -> None:
    """Store a tensor in float64."""
    tensors["model.norm.weight"] = np.zeros(8, np.float64)


def quantise(tensors: Tensors) -> None:
    """Store every matrix in whole numbers, as quantising does."""
    matrices = {name: value for name, value in tensors.items() if value.ndim == 2}
    tensors |= {name: np.ones(value.shape, np.int8) for name, value in matrices.items()}


def untie(tensors: Tensors) -> None:
    """Put a head beside the embedding that is not the embedding."""
    tensors["lm_head.weight"] = np.zeros((20, 8), BF16)


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (drop, r"no model\.layers\.2\.mlp\.up_proj\.weight"),
        (add, r"found model\.layers\.0\.self_attn\.q_norm\.weight, expected no tensor"),
        (bend, r"down_proj\.weight of shape \[12, 8\], expected shape \[8, 12\]"),
        (double, r"in F64, the first model\.norm\.weight, expected BF16 .* to float32$"),
        (untie, r"a lm_head\.weight that differs"),
    ],
)
def test_wrong_tensors_are_refused(
    tmp_path: Path, shards: int, spoil: Callable[[Tensors], None], expected: str
) -> None:
    """Each is named with what was expected in its place."""
    tensors = make_tensors()
    spoil(tensors)
    source = write_source(tmp_path / "in", tensors, shards)
    with pytest.raises(WeightsError, match=expected) as caught:
        read_weights(source, GEMMA1, jnp.bfloat16)
    assert caught.value.failure_class is FailureClass.MODEL_INVALID
    assert len(caught.value.problems) == 1


def test_quantised_weights_are_told_once_with_advice_that_fits(tmp_path: Path) -> None:
    """Not for each of the matrices, and not as a file that arrived damaged."""
    tensors = make_tensors()
    quantise(tensors)

    with pytest.raises(WeightsError) as caught:
        read_weights(write_source(tmp_path / "in", tensors), GEMMA1, jnp.bfloat16)

    (problem,) = caught.value.problems
    assert problem.found.startswith("22 of 29 tensors in I8, the first ")
    assert problem.expected == "BF16 or F32 or F16"
    assert "before it was quantised" in problem.action


@pytest.mark.parametrize(
    ("dtype", "action"),
    [
        ("F64", "convert the model to float32"),
        ("F8_E4M3", "before it was quantised"),
        ("U8", "before it was quantised"),
        ("F4", "before it was quantised"),
        ("COMPLEX", "fetch the file again, whole"),
    ],
)
def test_a_dtype_that_m43_does_not_read_has_its_own_advice(
    tmp_path: Path, dtype: str, action: str
) -> None:
    """A whole file is not to be fetched again for what stands in it."""
    header = json.dumps({"a": {"dtype": dtype, "shape": [2], "data_offsets": [0, 2]}}).encode()
    path = tmp_path / SINGLE
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"ab")

    _, (problem,) = safetensors_file.open_safetensors(path)

    assert problem.found == f"1 of 1 tensors in {dtype}, the first a"
    assert action in problem.action


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"<!doctype html><html></html>", "a web page"),
        (b"\x1f\x8b\x08\x08\x01\x02\x03\x04\x05\x06", "a gzip file"),
        (b"PK\x03\x04\x01\x02\x03\x04\x05\x06", "a zip archive"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, data: bytes, found: str) -> None:
    """For what it is, not by the length that its first bytes would mean."""
    source = write_source(tmp_path / "in", make_tensors())
    (source / SINGLE).write_bytes(data)

    with pytest.raises(WeightsError, match=f"found {found}"):
        read_weights(source, GEMMA1, jnp.bfloat16)


def test_all_wrong_tensors_are_told_at_once(tmp_path: Path) -> None:
    """Three spoilt tensors are three problems of one error."""
    tensors = make_tensors()
    for spoil in (drop, add, bend):
        spoil(tensors)
    with pytest.raises(WeightsError) as caught:
        read_weights(write_source(tmp_path / "in", tensors), GEMMA1, jnp.bfloat16)
    assert len(caught.value.problems) == 3


def cut_end(data: bytes) -> bytes:
    """Lose the last byte, as a broken download does."""
    return data[:-1]


def cut_header(data: bytes) -> bytes:
    """Lose all but the beginning of the header."""
    return data[:50]


def cut_length(data: bytes) -> bytes:
    """Lose all but three bytes."""
    return data[:3]


def huge_header(data: bytes) -> bytes:
    """Claim a header of 2 ** 63 bytes."""
    return (1 << 63).to_bytes(8, "little") + data[8:]


def no_json(data: bytes) -> bytes:
    """Break the JSON."""
    return data[:8] + b"[" + data[9:]


def append(data: bytes) -> bytes:
    """Hide something behind the tensors."""
    return data + b"\0"


def shift(data: bytes) -> bytes:
    """Let a tensor begin where the one before has not ended."""
    return data.replace(b'"data_offsets":[0,', b'"data_offsets":[2,', 1)


def twice(data: bytes) -> bytes:
    """Name two tensors alike."""
    return data.replace(b'"model.layers.1.mlp.up_proj', b'"model.layers.2.mlp.up_proj', 1)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (cut_end, "expected .* bytes, as the header says"),
        (cut_header, "expected a whole safetensors file"),
        (cut_length, "found 3 bytes"),
        (huge_header, "the header claims 9223372036854775808"),
        (no_json, "expected a safetensors header"),
        (append, "expected .* bytes, as the header says"),
        (shift, "expected it at byte"),
        (twice, "a key that occurs twice"),
    ],
)
def test_broken_files_are_refused(
    tmp_path: Path, spoil: Callable[[bytes], bytes], expected: str
) -> None:
    """Before any weight is read, and by the name of the file."""
    source = write_source(tmp_path / "in", make_tensors())
    whole = (source / SINGLE).read_bytes()
    assert spoil(whole) != whole
    (source / SINGLE).write_bytes(spoil(whole))
    with pytest.raises(WeightsError, match=expected) as caught:
        read_weights(source, GEMMA1, jnp.bfloat16)
    assert SINGLE in str(caught.value)


@settings(max_examples=200)
@given(place=st.integers(0, 3000), value=st.integers(0, 255))
def test_any_damage_to_a_header_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    """One changed byte of the header gives the named error or a sound file, nothing else."""
    folder = tmp_path_factory.getbasetemp() / "damaged"
    if not folder.exists():
        write_source(folder, make_tensors())
    whole = bytearray((folder / SINGLE).read_bytes())
    spoilt = whole.copy()
    spoilt[place] = value
    (folder / SINGLE).write_bytes(spoilt)
    with contextlib.suppress(WeightsError):
        read_weights(folder, GEMMA1, jnp.bfloat16)
    (folder / SINGLE).write_bytes(whole)


@pytest.mark.parametrize(
    "name",
    ["../out.safetensors", "/etc/passwd.safetensors", "sub/a.safetensors", "config.json", 3, ""],
)
def test_an_index_cannot_lead_out_of_its_folder(tmp_path: Path, name: object) -> None:
    """File names come from the outside: only the name of a file beside the index is followed."""
    source = write_source(tmp_path / "in", make_tensors(), 2)
    index = json.loads((source / INDEX).read_text())
    index["weight_map"]["model.norm.weight"] = name
    (source / INDEX).write_text(json.dumps(index))
    (tmp_path / "out.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"the name of a \.safetensors file beside it"):
        read_weights(source, GEMMA1, jnp.bfloat16)


def test_index_and_shards_must_agree(tmp_path: Path) -> None:
    """A missing shard, one too many, and a tensor listed in the wrong one are all told."""
    source = write_source(tmp_path / "in", make_tensors(), 3)
    index = json.loads((source / INDEX).read_text())
    moved = next(iter(index["weight_map"]))
    index["weight_map"][moved] = "model-00002-of-00003.safetensors"
    (source / INDEX).write_text(json.dumps(index))
    (source / "model-00003-of-00003.safetensors").rename(source / "stray.safetensors")
    with pytest.raises(WeightsError) as caught:
        read_weights(source, GEMMA1, jnp.bfloat16)
    told = str(caught.value)
    assert "no model-00003-of-00003.safetensors" in told
    assert "stray.safetensors, which no index names" in told
    assert f"{moved} listed in model-00002" in told
    assert f"{moved} in model-00001-of-00003.safetensors but not listed" in told


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": []}}']
)
def test_a_malformed_index_is_refused(tmp_path: Path, text: str) -> None:
    """With the path of the index."""
    source = write_source(tmp_path / "in", make_tensors(), 2)
    (source / INDEX).write_text(text)
    with pytest.raises(WeightsError, match=INDEX):
        read_weights(source, GEMMA1, jnp.bfloat16)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    """It names what it looked for."""
    source = write_source(tmp_path / "in", make_tensors())
    (source / SINGLE).unlink()
    with pytest.raises(WeightsError, match=r"found no \*\.safetensors, expected model.safetensors"):
        read_weights(source, GEMMA1, jnp.bfloat16)
    with pytest.raises(ModelFolderError, match=r"no \*\.safetensors file"):
        weights_digest(source)


def test_a_model_is_never_written_over_another(tmp_path: Path) -> None:
    """A folder with a file in it is refused and left as it was; an empty one is used."""
    source = write_source(tmp_path / "in", make_tensors())
    model = read_weights(source, GEMMA1, jnp.bfloat16)
    before = contents(source)
    with pytest.raises(ModelFolderError, match="files in it"):
        write_weights(model, source, source=source, dtype=jnp.bfloat16)
    assert contents(source) == before
    (tmp_path / "out").mkdir()
    write_weights(model, tmp_path / "out", source=source, dtype=jnp.bfloat16)
    assert contents(tmp_path / "out") == before


def test_a_dtype_that_no_one_stores_is_refused(tmp_path: Path) -> None:
    """It would be read by nobody."""
    source = write_source(tmp_path / "in", make_tensors())
    model = read_weights(source, GEMMA1, jnp.bfloat16)
    with pytest.raises(ModelFolderError, match="found dtype float64, expected BF16 or F32"):
        write_weights(model, tmp_path / "out", source=source, dtype=np.float64)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk halfway: no folder of the model's name, and no rest of it."""
    source = write_source(tmp_path / "in", make_tensors(), 2)
    model = read_weights(source, GEMMA1, jnp.bfloat16)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_weights(model, tmp_path / "out", source=source, dtype=jnp.bfloat16)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_anybody_can_check_the_digest(tmp_path: Path) -> None:
    """It is what sha256sum prints, digested again; one flipped bit changes it."""
    source = write_source(tmp_path / "in", make_tensors(), 3)
    command = "LC_ALL=C sha256sum *.safetensors | sha256sum"
    printed = subprocess.run(command, shell=True, cwd=source, capture_output=True, check=True)
    digest = weights_digest(source)
    assert printed.stdout.decode().split()[0] == digest
    shard = source / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x01")
    assert weights_digest(source) != digest


def test_a_parameter_is_handed_over_without_a_copy() -> None:
    """On the CPU JAX takes the array that was read into as it is: the peak is one model."""
    array = aligned_empty((3, 5), np.dtype(np.float32))
    taken = jax.device_put(array)
    assert taken.unsafe_buffer_pointer() == array.ctypes.data


@pytest.mark.parametrize("dtype", [np.float32, BF16])
def test_a_tensor_is_read_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: np.dtype
) -> None:
    """Blocks that do not divide a tensor lose and repeat nothing, converted or not."""
    monkeypatch.setattr(safetensors_file, "BLOCK", 7)
    stored = np.arange(20).astype(BF16).reshape(4, 5)
    save_file({"a": np.ones(3, BF16), "b": stored}, tmp_path / SINGLE)
    file, problems = safetensors_file.open_safetensors(tmp_path / SINGLE)
    assert file is not None
    assert not problems
    target = np.zeros((4, 5), dtype)
    safetensors_file.read_into(target, file, file.tensors[1])
    assert (target == stored.astype(dtype)).all()


def test_a_file_that_shrinks_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    """Half a tensor never becomes a weight."""
    save_file({"a": np.ones(8, BF16)}, tmp_path / SINGLE)
    file, _ = safetensors_file.open_safetensors(tmp_path / SINGLE)
    assert file is not None
    (tmp_path / SINGLE).write_bytes((tmp_path / SINGLE).read_bytes()[:-4])
    with pytest.raises(safetensors_file.FileShrankError, match="an end inside a, expected 16"):
        safetensors_file.read_into(np.zeros(8, BF16), file, file.tensors[0])


def test_donated_weights_may_be_those_of_a_file(tmp_path: Path) -> None:
    """A step that writes into its weights works on weights that were just read."""
    model: Gemma = read_weights(write_source(tmp_path / "in", make_tensors()), GEMMA1, jnp.float32)
    graphdef, state = nnx.split(model)
    before = np.array(model.embedding[...])
    double = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf * 2, state), donate_argnums=0)
    after = nnx.merge(graphdef, double(state))
    assert (np.asarray(after.embedding[...]) == 2 * before).all()
