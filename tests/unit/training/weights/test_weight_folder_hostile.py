"""Whatever stands in a folder of weights, it is that of a model or is refused, byte by byte."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.text import visible
from m43.training.weights.folder import (
    INDEX,
    SINGLE,
    StoredWeights,
    WeightsError,
    open_weight_folder,
    tensor_places,
)
from m43.training.weights.safetensors_file import open_safetensors
from tests.unit.fuzzing import hostile
from tests.unit.training.weights.test_weights import GEMMA1, make_tensors, write_source

CORPUS = Path(__file__).parents[2] / "corpus" / "json"
PLACES = tuple(tensor_places(GEMMA1))
LENGTH = 8

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a sound file."""
    folder = write_source(tmp_path_factory.mktemp("whole") / "in", make_tensors())
    return (folder / SINGLE).read_bytes()


def outcome(folder: Path) -> StoredWeights | str:
    """Open a folder: its weights, or what a person is told."""
    try:
        return open_weight_folder(folder, PLACES)
    except WeightsError as error:
        text = str(error)
        assert visible(text) == text
        assert len(text) < 500_000
        return text


def written(folder: Path, header: object, data: bytes, length: int | None = None) -> str:
    """Write a file of a header and bytes, and tell what is said of it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    count = len(text) if length is None else length
    (folder / SINGLE).write_bytes(count.to_bytes(LENGTH, "little") + text + data)
    told = outcome(folder)
    assert isinstance(told, str)
    return told


def parts(whole: bytes) -> tuple[dict[str, Any], bytes]:
    """Take a file apart."""
    end = LENGTH + int.from_bytes(whole[:LENGTH], "little")
    return json.loads(whole[LENGTH:end]), whole[end:]


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, whole: bytes) -> None:
    """In its length, its header, and at every edge of every tensor."""
    header, _ = parts(whole)
    end = LENGTH + int.from_bytes(whole[:LENGTH], "little")
    edges = {
        end + offset for name in header if name[0] != "_" for offset in header[name]["data_offsets"]
    }
    places = {*range(LENGTH + 2), end - 1, end, *edges, *(edge - 1 for edge in edges)} - {
        len(whole)
    }

    for place in sorted(places):
        (tmp_path / SINGLE).write_bytes(whole[:place])
        assert isinstance(outcome(tmp_path), str), place


@pytest.mark.parametrize("length", [0, 1, 2**31, 2**62, 2**63, 2**64 - 1])
def test_a_header_of_another_length_is_refused(tmp_path: Path, whole: bytes, length: int) -> None:
    """Also of one that would need all the memory there is."""
    header, data = parts(whole)

    assert SINGLE in written(tmp_path, header, data, length)


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.iterdir()))
def test_a_header_that_is_no_table_is_refused(tmp_path: Path, name: str) -> None:
    """What is no JSON, and JSON that is no object."""
    assert "a safetensors header" in written(tmp_path, (CORPUS / name).read_bytes(), b"")


def entry(**changes: Any) -> Change:
    """Change fields of the final norm's entry."""
    return lambda header: header["model.norm.weight"].update(changes)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (entry(dtype="I16"), "expected BF16 or F32"),
        (entry(dtype="F32"), "expected 32 bytes"),
        (entry(dtype=["BF16"]), "expected BF16 or F32"),
        (entry(shape=[9]), "expected 18 bytes"),
        (entry(shape=[2, 4]), "expected shape [8]"),
        (entry(shape=[2**62] * 8), "bytes"),
        (entry(shape=[2] * 9), "a header with"),
        (entry(shape=[9**4000, 9**4000]), "a header with"),
        (entry(shape=[2**60] * 200_000), "a header with"),
        (entry(shape=[-8]), "a header with"),
        (entry(shape=[8.0]), "a header with"),
        (entry(shape=[True]), "a header with"),
        (entry(shape="8"), "a header with"),
        (entry(shape=None), "a header with"),
        (entry(data_offsets=[0]), "a header with"),
        (entry(data_offsets=[0, 1, 2]), "a header with"),
        (entry(data_offsets=[16, 0]), "bytes"),
        (entry(data_offsets=[0, 2**63]), "a header with"),
        (entry(data_offsets=[2**62, 2**62 + 16]), "expected it at byte"),
        (lambda header: header.pop("model.norm.weight"), "bytes"),
        (lambda header: header.update({"x": 5}), "a header with"),
        (lambda header: header.update({"x" * 256: header["model.norm.weight"]}), "a header with"),
        (lambda header: header.update({"\x1b[31m": header["model.norm.weight"]}), "expected it at"),
        (lambda header: header.update({"__metadata__": 5}), "a header with"),
        (lambda header: header.update(dict.fromkeys(map(str, range(40_000)), 1)), "a header with"),
    ],
)
def test_a_wrong_entry_is_refused(tmp_path: Path, whole: bytes, change: Change, told: str) -> None:
    """Gaps, overlaps, sizes that are no sizes, and what would take for ever to multiply."""
    header, data = parts(whole)
    change(header)

    assert told in written(tmp_path, header, data)


@hostile(100)
@given(st.integers(0, 4000), st.binary(max_size=20), st.integers(0, 30))
def test_any_damage_is_read_or_refused(
    tmp_path: Path, whole: bytes, place: int, data: bytes, gone: int
) -> None:
    """Bytes put in, taken out and replaced, in length, header and data."""
    (tmp_path / SINGLE).write_bytes(whole[:place] + data + whole[place + gone :])

    outcome(tmp_path)


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.iterdir()))
def test_an_index_that_is_no_table_is_refused(tmp_path: Path, name: str) -> None:
    """What is no JSON, and JSON that is no object."""
    folder = write_source(tmp_path / "in", make_tensors(), 2)
    (folder / INDEX).write_bytes((CORPUS / name).read_bytes())

    assert "a JSON object with a weight_map" in str(outcome(folder))


@pytest.mark.parametrize(
    "name",
    [
        *("../model-00001-of-00002.safetensors", "/dev/zero", "..", ".safetensors", "", " "),
        *("a\0.safetensors", "\x1b[2J.safetensors", "-o.safetensors", "x" * 300 + ".safetensors"),
        *("./model-00001-of-00002.safetensors", "C:\\a.safetensors", None, 5, ["a"], {"a": 1}),
    ],
)
def test_a_name_that_is_no_name_beside_the_index_is_refused(tmp_path: Path, name: object) -> None:
    """Wherever it would lead, nothing is opened there."""
    folder = write_source(tmp_path / "in", make_tensors(), 2)
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"]["model.norm.weight"] = name
    (folder / INDEX).write_text(json.dumps(index))

    assert "the name of a .safetensors file beside it" in str(outcome(folder))


@pytest.mark.parametrize("metadata", [{"total_size": 1}, {"total_size": "1"}, [], None, 5])
def test_an_index_that_lies_about_the_size_is_refused(tmp_path: Path, metadata: object) -> None:
    """Or whose metadata is none; that it is absent is fine."""
    folder = write_source(tmp_path / "in", make_tensors(), 2)
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps({"weight_map": index["weight_map"]}))
    assert isinstance(outcome(folder), StoredWeights)

    (folder / INDEX).write_text(json.dumps(index | {"metadata": metadata}))

    assert INDEX in str(outcome(folder))


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    """Which of them counts is not for m43 to say."""
    folder = write_source(tmp_path / "in", make_tensors(), 2)
    first = folder / "model-00001-of-00002.safetensors"
    (folder / "model-00002-of-00002.safetensors").write_bytes(first.read_bytes())

    assert " in model-00002-of-00002.safetensors but not listed" in str(outcome(folder))


def test_a_link_to_the_cache_is_followed_and_one_to_nothing_is_not(
    tmp_path: Path, whole: bytes
) -> None:
    """The folder that training reads consists of links to the files that were digested."""
    (tmp_path / "blob").write_bytes(whole)
    (tmp_path / "in").mkdir()
    link = tmp_path / "in" / SINGLE
    link.symlink_to(tmp_path / "blob")
    assert isinstance(outcome(tmp_path / "in"), StoredWeights)

    for target in ("nothing", SINGLE, "/dev/zero", "."):
        link.unlink()
        link.symlink_to(target)
        assert "no regular file" in str(outcome(tmp_path / "in")), target


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    """To open it would wait for ever."""
    os.mkfifo(tmp_path / SINGLE)

    file, (problem,) = open_safetensors(tmp_path / SINGLE)

    assert (file, problem.found) == (None, "no regular file")
