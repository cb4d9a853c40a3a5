"""Whatever stands in a tokenizer's files, it is one or is refused; no template runs away."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.errors import ProblemsError
from m43.records.profile import TemplateTable
from m43.text import visible
from m43.training.data import tokenizer as module
from m43.training.data.template import Template
from m43.training.data.tokenizer import read_tokenizer
from m43.training.weights.config_json import read_model_config
from tests.unit.fuzzing import hostile

CORPUS = Path(__file__).parents[2] / "corpus" / "json"
CHAT = TemplateTable(
    style="chat", prompt="{prompt}", completion="{final_answer}", answer_marker="", stop_text=""
)

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(tiny_chat_gemma: Path, tmp_path: Path) -> Path:
    """A folder whose files may be spoilt."""
    return Path(shutil.copytree(tiny_chat_gemma, tmp_path / "model"))


def outcome(folder: Path) -> str:
    """Use a folder's tokenizer as training does; give what a person is told, or nothing."""
    config = read_model_config(folder)
    try:
        tokenizer = read_tokenizer(folder, config)
        tokenizer.encode_all(["a b", "\0", "é"])
        tokenizer.ids_that_spell("\n")
        Template(CHAT, tokenizer, config).prompts(["question"])
    except ProblemsError as error:
        text = str(error)
        assert visible(text) == text
        assert len(text) < 20_000
        return text
    return ""


def change(folder: Path, how: Change) -> None:
    """Change tokenizer.json."""
    table = json.loads((folder / "tokenizer.json").read_text())
    how(table)
    (folder / "tokenizer.json").write_text(json.dumps(table))


def test_the_folder_is_good_before_it_is_spoilt(folder: Path) -> None:
    """Otherwise every test here would pass by itself."""
    assert outcome(folder) == ""


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.iterdir()))
def test_every_file_of_the_corpus_is_refused(folder: Path, file: str, name: str) -> None:
    """What is no JSON, and JSON that is no object."""
    (folder / file).write_bytes((CORPUS / name).read_bytes())

    assert outcome(folder) != ""


def model(**changes: Any) -> Change:
    """Change fields of the model."""
    return lambda table: table["model"].update(changes)


def vocabulary(**changes: Any) -> Change:
    """Change entries of the vocabulary."""
    return lambda table: table["model"]["vocab"].update(changes)


CHARSMAP = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
SPLIT = {"type": "Split", "pattern": {"Regex": "(((("}, "behavior": "Isolated", "invert": False}


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (vocabulary(zz=2**40), "tokenizer.json"),
        (vocabulary(zz=2**31), "a largest id of"),
        (vocabulary(zz=-1), "tokenizer.json"),
        (vocabulary(zz=5), "several tokens of one id"),
        (model(vocab={}), "tokenizer.json"),
        (model(vocab=[]), "tokenizer.json"),
        (model(merges=[["a", "nope"]]), "tokenizer.json"),
        (model(type="Unknown"), "tokenizer.json"),
        (model(dropout=0.5), "dropout in its model"),
        (lambda table: table.update(normalizer=CHARSMAP), "PanicException"),
        (lambda table: table.update(pre_tokenizer=SPLIT), "tokenizer.json"),
        (
            lambda table: table.update(
                model={"type": "WordLevel", "vocab": {"<pad>": 0, "<eos>": 1}, "unk_token": "u"}
            ),
            "tokenizer.json",
        ),
        (lambda table: table.pop("model"), "tokenizer.json"),
        (lambda table: table.update(version="9"), "tokenizer.json"),
    ],
)
def test_a_wrong_tokenizer_is_refused(folder: Path, how: Change, told: str) -> None:
    """Ids beyond the model, ids of two tokens, chance, and what makes its library panic."""
    change(folder, how)

    assert told in outcome(folder)


@pytest.mark.parametrize("piece", ["<pad>", "<eos>", "<bos>"])
def test_a_tokenizer_without_a_token_that_the_model_names_is_refused(
    folder: Path, piece: str
) -> None:
    """By the id and the key of config.json."""

    def drop(table: dict[str, Any]) -> None:
        table["added_tokens"] = [each for each in table["added_tokens"] if each["content"] != piece]
        del table["model"]["vocab"][piece]
        table["post_processor"] = None

    change(folder, drop)

    assert "_token_id" in outcome(folder)


@hostile(40)
@given(st.integers(0, 20_000), st.binary(max_size=8), st.integers(0, 40))
def test_any_damage_is_read_or_refused(
    tiny_chat_gemma: Path, tmp_path: Path, place: int, data: bytes, gone: int
) -> None:
    """Bytes put in, taken out and replaced."""
    folder = Path(shutil.copytree(tiny_chat_gemma, tmp_path / "model", dirs_exist_ok=True))
    whole = (folder / "tokenizer.json").read_bytes()
    (folder / "tokenizer.json").write_bytes(whole[:place] + data + whole[place + gone :])

    outcome(folder)


def test_what_is_no_file_or_too_large_is_refused_at_once(folder: Path) -> None:
    """A pipe would be waited for, a terabyte read."""
    path = folder / "tokenizer.json"
    path.unlink()
    os.mkfifo(path)
    assert "found no file" in outcome(folder)

    path.unlink()
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert "found 1,099,511,627,776 bytes" in outcome(folder)


# What a template may not do, whoever wrote it.
HOSTILE = {
    "reads a file": "{% include '/etc/passwd' %}",
    "reaches for classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "reaches for globals": "{{ cycler.__init__.__globals__.os.popen('touch owned').read() }}",
    "reaches through a format": "{{ '{0.__class__}'.format(messages) }}{{ x.y }}",
    "calls what it should not": "{{ messages.append(1) }}",
    "loops without end": "{% for a in range(99999) %}" * 2 + "{% endfor %}" * 2,
    "recurs without end": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "doubles without end": "{% set n = namespace(x='a') %}"
    "{% for a in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "multiplies": "{{ 'a' * 9999999999 }}",
    "writes too much": "{{ 'a' * 9999999 }}",
    "raises": "{{ raise_exception('\x1b[31mno\n') }}",
    "is no template": "{% for %}",
    "is nested deeply": "{{ " + "(" * 9000 + "1" + ")" * 9000 + " }}",
    "is empty": "",
    "ends no turn": "{{ bos_token }}{{ messages[0].content }}",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_chat_template_is_refused(
    folder: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs in Jinja's sandbox, for a bounded time and in bounded memory."""
    monkeypatch.setattr(module, "_RENDER_CPU_S", 0.5)
    monkeypatch.chdir(folder)
    (folder / "chat_template.jinja").write_text(HOSTILE[what])

    told = outcome(folder)

    assert told != ""
    assert str(folder) in told
    assert not (folder / "owned").exists()
