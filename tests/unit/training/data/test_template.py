"""Rows become plain text or turns of a chat, with BOS once and a terminator that is learnt."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from m43.errors import FailureClass
from m43.records.profile import TemplateTable
from m43.training.data.template import END_OF_TURN, Template
from m43.training.data.tokenizer import ChatTemplateError, Tokenizer, TokenizerError, read_tokenizer
from m43.training.weights.config_json import read_model_config
from tests.unit.training.conftest import CHAT_TEMPLATE

ROW = {"prompt": " 2+2?", "final_answer": "4", "steps": [{"content": "add"}]}
OPENED = "user\n2+2?", "\n", "model\n"

MakeFolder = Callable[[str, str], Path]


@pytest.fixture
def chat(template: TemplateTable) -> TemplateTable:
    """The rows as turns: the prompt as it stands, the answer alone."""
    return replace(template, style="chat", prompt="{prompt}", completion=" {final_answer}")


@pytest.fixture
def make_folder(tiny_gemma: Path, tmp_path: Path) -> MakeFolder:
    """Copy the model, with a file beside it."""

    def make(name: str, text: str) -> Path:
        shutil.copytree(tiny_gemma, tmp_path / "model")
        (tmp_path / "model" / name).write_text(text)
        return tmp_path / "model"

    return make


def tokenizer_of(folder: Path) -> Tokenizer:
    """Read the folder's tokenizer."""
    return read_tokenizer(folder, read_model_config(folder))


def template_of(folder: Path, table: TemplateTable) -> Template:
    """Make a folder's template."""
    return Template(table, tokenizer_of(folder), read_model_config(folder))


def turns(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Write the prompt and the completion of `ROW` by hand."""
    start, end = tokenizer.id_of("<start_of_turn>"), tokenizer.id_of(END_OF_TURN)
    user, between, model = (tokenizer.encode(text) for text in OPENED)
    return (2, start, *user, end, *between, start, *model), (*tokenizer.encode("4"), end)


def test_a_chat_is_a_turn_of_the_user_and_one_of_the_model(
    tiny_chat_gemma: Path, chat: TemplateTable
) -> None:
    """Laid out by hand: BOS once, no system turn, nothing after the end of the model's turn."""
    template = template_of(tiny_chat_gemma, chat)
    prompt, completion = turns(tokenizer_of(tiny_chat_gemma))

    assert template.prompts([ROW["prompt"]]) == (prompt,)
    assert template.completions([ROW["prompt"]], [ROW]) == (completion,)
    assert template.terminator == tokenizer_of(tiny_chat_gemma).id_of("<end_of_turn>")


def test_a_chat_is_tokenised_as_transformers_does(
    tiny_chat_gemma: Path, chat: TemplateTable
) -> None:
    """Prompt and completion together are what apply_chat_template itself gives for both turns."""
    template = template_of(tiny_chat_gemma, chat)
    reference = tokenizer_of(tiny_chat_gemma)._tokenizer
    row = ROW | {"prompt": "  What is\n\n2+2, Zoë? ", "final_answer": " it is 4 "}
    conversation = [
        {"role": "user", "content": row["prompt"]},
        {"role": "assistant", "content": row["final_answer"]},
    ]

    whole = reference.apply_chat_template(conversation, return_dict=False)

    (prompt,), (completion,) = (
        template.prompts([row["prompt"]]),
        template.completions([row["prompt"]], [row]),
    )
    assert [*prompt, *completion, *reference.encode("\n", add_special_tokens=False)] == whole


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chat_template.jinja", CHAT_TEMPLATE),
        ("tokenizer_config.json", json.dumps({"chat_template": CHAT_TEMPLATE})),
        (
            "tokenizer_config.json",
            json.dumps(
                {
                    "chat_template": [
                        {"name": "tool_use", "template": "{{ bos_token }}"},
                        {"name": "default", "template": CHAT_TEMPLATE},
                    ]
                }
            ),
        ),
    ],
)
def test_the_template_is_found_where_transformers_finds_it(
    make_folder: MakeFolder, chat: TemplateTable, tiny_chat_gemma: Path, name: str, text: str
) -> None:
    """In its own file, in the tokenizer's config, and among several."""
    folder = make_folder(name, text)

    found = template_of(folder, chat).prompts(["2+2?"])

    assert found == template_of(tiny_chat_gemma, chat).prompts(["2+2?"])


def test_the_templates_own_file_comes_first(make_folder: MakeFolder) -> None:
    """Of two templates the one in chat_template.jinja counts, as in transformers 5."""
    folder = make_folder("tokenizer_config.json", json.dumps({"chat_template": "old"}))
    (folder / "chat_template.jinja").write_text("new")

    text = tokenizer_of(folder).render_chat([{"role": "user", "content": "a"}], open_turn=True)

    assert text == "new"


def test_a_chat_of_a_base_model_is_refused_by_name(tiny_gemma: Path, chat: TemplateTable) -> None:
    """Without a chat template there is nothing to fall back to."""
    with pytest.raises(ChatTemplateError, match=r"found no chat template.*chat_template\.jinja"):
        template_of(tiny_gemma, chat)
    assert ChatTemplateError.failure_class is FailureClass.MODEL_INVALID


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{{ messages", "TemplateSyntaxError"),
        ("{{ raise_exception('no') }}", "TemplateError: no"),
        (CHAT_TEMPLATE.replace("<end_of_turn>", "<eos>"), "does not end it so"),
        (CHAT_TEMPLATE.replace("{% if add", "{{ 'x' }}{% if not add"), "otherwise than an open"),
    ],
)
def test_a_template_that_does_not_do_what_is_needed_is_refused(
    make_folder: MakeFolder, chat: TemplateTable, text: str, found: str
) -> None:
    """Before any row is read, and by the name of what is wrong."""
    folder = make_folder("chat_template.jinja", text)

    with pytest.raises(ChatTemplateError, match=found):
        template_of(folder, chat)


def test_a_tokenizer_without_an_end_of_turn_is_refused(
    tiny_chat_gemma: Path, chat: TemplateTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The terminator is the tokenizer's, not a number that m43 knows."""
    monkeypatch.setattr(Tokenizer, "id_of", lambda *_: None)

    with pytest.raises(ChatTemplateError, match="a tokenizer without <end_of_turn>"):
        template_of(tiny_chat_gemma, chat)


@pytest.mark.parametrize("text", ["{", "[1]", '{"chat_template": 7}', '{"chat_template": [7]}'])
def test_a_config_that_cannot_be_read_is_refused(make_folder: MakeFolder, text: str) -> None:
    """It is not taken for a folder without a template."""
    folder = make_folder("tokenizer_config.json", text)

    with pytest.raises(TokenizerError, match=r"tokenizer_config\.json"):
        tokenizer_of(folder)


TEMPLATES = Path(__file__).parents[2] / "corpus" / "templates"
TWICE = "{{ bos_token }}" + CHAT_TEMPLATE
LATE = CHAT_TEMPLATE.replace("{{ bos_token }}", "x{{ bos_token }}")
IN_TURN = CHAT_TEMPLATE.replace(
    "+ '<end_of_turn>", "+ (bos_token if role == 'model' else '') + '<end_of_turn>"
)


@pytest.mark.parametrize(
    ("text", "found", "action"),
    [
        (
            (TEMPLATES / "none.jinja").read_text("utf-8"),
            "writes no BOS",
            "write {{ bos_token }} once",
        ),
        (
            (TEMPLATES / "mark.jinja").read_text("utf-8"),
            "a byte order mark",
            "without a byte order",
        ),
        (TWICE, "writes BOS 2 times", "write {{ bos_token }} once"),
        (LATE, "writes something before BOS", "write {{ bos_token }} once"),
        (IN_TURN, "writes BOS 2 times", "write {{ bos_token }} once"),
        (CHAT_TEMPLATE.replace("| trim", "| lower"), "for the question", "correct the template"),
    ],
    ids=["none", "mark", "twice", "late", "in the model's turn", "other letters"],
)
@pytest.mark.parametrize("name", ["chat_template.jinja", "tokenizer_config.json"])
def test_a_templates_own_fault_is_told_before_any_row(
    make_folder: MakeFolder, chat: TemplateTable, name: str, text: str, found: str, action: str
) -> None:
    """Once, by the file that the template stands in; with a plain style nobody asks for it."""
    folder = make_folder(
        name, text if name.endswith("jinja") else json.dumps({"chat_template": text})
    )

    with pytest.raises(ChatTemplateError) as caught:
        template_of(folder, chat)

    (problem,) = caught.value.problems
    assert problem.where == str(folder / name)
    assert found in problem.found
    assert action in problem.action
    template_of(folder, replace(chat, style="plain"))


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("chat_template.jinja", CHAT_TEMPLATE.encode("utf-16"), "text in UTF-16"),
        ("tokenizer_config.json", b"\xef\xbb\xbf{}", "a byte order mark at its beginning"),
        ("tokenizer_config.json", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS"),
        ("tokenizer.json", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    ],
)
def test_a_file_of_another_kind_is_named(
    make_folder: MakeFolder, name: str, data: bytes, found: str
) -> None:
    """For what it is, not for what a reader of JSON makes of it."""
    folder = make_folder("notes.txt", "")
    (folder / name).write_bytes(data)

    with pytest.raises(TokenizerError) as caught:
        tokenizer_of(folder)

    (problem,) = caught.value.problems
    assert problem.where == str(folder / name)
    assert found in problem.found


def test_a_tokenizer_that_changes_what_it_is_given_is_refused_once(make_folder: MakeFolder) -> None:
    """Lower case for every letter would otherwise be a fault of every row with a capital."""
    folder = make_folder("notes.txt", "")
    table = json.loads((folder / "tokenizer.json").read_text())
    table["normalizer"] = {"type": "Lowercase"}
    (folder / "tokenizer.json").write_text(json.dumps(table))

    with pytest.raises(
        TokenizerError, match=r"gives 'what is 2 \+ 2\?.*the text that it was given"
    ):
        tokenizer_of(folder)
