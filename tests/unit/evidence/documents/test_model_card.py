"""The model card: the hub's own classes read it, and it says what the records say and no more."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from hypothesis import example, given
from hypothesis import strategies as st

from m43.evidence.documents import expected_card
from m43.evidence.documents.markdown import markdown
from m43.evidence.documents.model_card import _body, _yaml
from m43.evidence.documents.performance import card_in_short
from m43.evidence.journal import manifest
from m43.evidence.run.loaded_run import load_run
from m43.files import weights_sha256
from m43.records.evaluation_record import EvaluationResults, Tally
from m43.records.run_dir import RunDir, read_record
from m43.records.run_records import TrainRecord
from m43.text import visible
from tests.unit.evidence.good_records import own_differences
from tests.unit.evidence.good_run import break_gate, write_good_run
from tests.unit.evidence.tampering import Change, edit, found, rechain, remove, reseal
from tests.unit.evidence.watched_run import write_watched_run
from tests.unit.fuzzing import hostile


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("card"))


@pytest.fixture
def run(good: RunDir, tmp_path: Path) -> RunDir:
    """A copy of it, to be changed."""
    return RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))


def read(run: RunDir) -> ModelCard:
    """Read a card as the hub's library does."""
    return ModelCard.load(run.model_card)


def based_on(run: RunDir, repo: str) -> None:
    """Let the records say that another model was the base, fetched from a hub that is no toy's."""
    edit("auth.json", "m43/toy-gemma", repo)(run)
    edit("contract.lock.json", "m43/toy-gemma", repo)(run)
    edit("contract.lock.json", '"loopback"', '"default"')(run)
    reseal(run)


def of_records(run: RunDir, config: str, tally: Tally) -> EvalResult:
    """Write a result of the model-index with the hub's own class, from the records."""
    interval = tally.tuned_interval
    return EvalResult(
        task_type="text-generation",
        task_name="Text Generation",
        dataset_type="custom",
        dataset_name="eval_v2.jsonl",
        dataset_config=config,
        dataset_args={
            "sha256": load_run(run).require("evaluation").eval_rows_sha256,
            "rows": tally.rows,
        },
        metric_type="accuracy",
        metric_name="answers that equal the expected one",
        metric_value=round(tally.tuned_correct / tally.rows, 4),
        metric_args={
            "right": tally.tuned_correct,
            "rows": tally.rows,
            "wilson_95": [round(interval.low, 4), round(interval.high, 4)],
        },
    )


def built(run: RunDir, **metadata: Any) -> dict[str, Any]:
    """Build the metadata with the hub's own classes."""
    results = read_record(run.results, EvaluationResults)
    tallies = {each.group: each for each in results.groups}
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="text-generation",
        metrics=["accuracy"],
        model_name=run.path.name,
        eval_results=[
            of_records(run, "every row", results.overall),
            of_records(
                run, "rows whose prompt is not in training", tallies["text: not in training"]
            ),
            of_records(
                run, "rows whose template is not in training", tallies["template: not in training"]
            ),
        ],
        **metadata,
    ).to_dict()


def test_the_hubs_own_classes_read_a_card_that_they_would_have_built(good: RunDir) -> None:
    """Metadata and model-index are those of the records; writing it again loses nothing."""
    card = read(good)

    assert card.data.to_dict() == built(good, tags=["m43", "rehearsal", "toy"])
    assert ModelCard(str(card)).data.to_dict() == card.data.to_dict()
    assert card.text.lstrip().startswith("# rehearsal-1: m43/toy-gemma, fine-tuned: REHEARSAL")


def test_a_toy_is_called_one_and_claims_no_base_nor_licence(good: RunDir) -> None:
    """A hub would lead from the name of a base to whoever has that name there."""
    card = read(good)

    assert card.data.base_model is card.data.license is None
    assert "a toy that m43 makes" in card.text
    assert "Gemma Terms of Use" not in card.text


def test_a_model_of_gemma_carries_its_terms(run: RunDir) -> None:
    """The licence as the hub calls it, and the notice that the terms ask for, word by word."""
    based_on(run, "google/gemma-2b")
    card = read(run)

    assert card.data.to_dict() == built(
        run,
        base_model="google/gemma-2b",
        base_model_relation="finetune",
        license="gemma",
        tags=["m43", "rehearsal"],
    )
    assert "subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms." in card.text


def test_the_licence_of_anybody_elses_model_is_not_guessed(run: RunDir) -> None:
    """Of a base that its maker does not call so, nothing was looked up."""
    based_on(run, "somebody/gemma-2b-tuned")

    assert read(run).data.license is None
    assert "which m43 did not look at" in read(run).text


def test_the_card_tells_revision_digests_settings_and_energy(good: RunDir) -> None:
    """What no field of the metadata holds stands in the text."""
    text, train = read(good).text, read_record(good.train, TrainRecord)

    assert weights_sha256(good.model) == train.model_sha256
    for told in (
        "bc5f6cbac414d31bbc94542bd4f04f3dd11ae3dc",
        train.model_sha256,
        train.base_weights_sha256,
        train.train_rows_sha256,
        "| optimizer | adamw |",
        "## Energy\n\nNot measured: the run used no card",
        "### Contamination: rows that training also had",
        "python -m m43 verify submission_runs/rehearsal-1",
    ):
        assert told in text


def test_on_a_card_its_driver_tells_the_energy(tmp_path: Path) -> None:
    """In the words of the summary, by which counter included."""
    told = load_run(write_watched_run(tmp_path))

    assert told.whole is not None
    assert f"## Energy\n\n{card_in_short(told)}" in markdown(_body(told.whole))
    assert " Wh, by " in card_in_short(told)


def test_a_production_run_has_no_mark_of_a_rehearsal(tmp_path: Path) -> None:
    """Neither in the title nor among the tags."""
    run = write_good_run(tmp_path, "production", profile_differences=own_differences())

    assert read(run).text.lstrip().startswith("# m43_v1: m43/toy-gemma, fine-tuned\n")
    assert "rehearsal" not in read(run).data.tags


def test_the_seal_covers_the_card_and_the_digest_of_the_weights_does_not(good: RunDir) -> None:
    """Weights keep their digest whatever is said about them; the manifest holds both."""
    assert "model/README.md" in manifest.read(good)
    assert found(good) == ""


def test_a_run_that_failed_has_no_card(tmp_path: Path) -> None:
    """There is nothing to publish."""
    run = break_gate(tmp_path, "closing", "test_closing_finds_the_environment_unchanged")

    assert not run.model_card.exists()
    assert expected_card(load_run(run)) is None


def forged(change: Change) -> Change:
    """Change the card and seal the folder again, without writing the card anew."""

    def forge(run: RunDir) -> None:
        change(run)
        rechain(run, [json.loads(line) for line in run.journal.read_text().splitlines()])

    return forge


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (edit("model/README.md", "value: 0.", "value: 1."), "model/README.md:"),
        (edit("model/README.md", '"toy"', '"real"'), "model/README.md:"),
        (edit("model/README.md", "REHEARSAL", "PRODUCTION"), "model/README.md:"),
        (remove("model/README.md"), "model/README.md: found no document"),
    ],
)
def test_a_card_that_was_edited_and_sealed_again_is_named(
    run: RunDir, change: Change, named: str
) -> None:
    """It follows from the records, and these say otherwise."""
    forged(change)(run)

    assert named in found(run)
    assert "the card" in found(run) or "do not publish" in found(run)


def test_a_card_beside_a_failed_run_is_named(tmp_path: Path) -> None:
    """Whoever lays one there publishes what was not accepted."""
    run = break_gate(tmp_path, "closing", "test_closing_finds_the_environment_unchanged")
    run.model_card.write_text("---\nlicense: gemma\n---\n")

    assert "model/README.md: found a card, expected none: the run was not accepted" in found(run)


@hostile(200)
@given(st.text(st.characters(exclude_categories=[]), max_size=60))
@example("\ufffe\uffff\u2028\x85\ud800\n---\n\U0001f600: {a}")
def test_any_text_comes_back_from_the_metadata_as_one_text(text: str) -> None:
    """As YAML reads it, with marks for what cannot be shown: never a key, a list or an end."""
    table = {"name": text, "results": [{"text": text, "many": [text, 0.25, 3]}, {"text": "---"}]}
    shown = visible(text)

    head = "\n".join(_yaml(table))  # type: ignore[arg-type]
    read_back = ModelCard(f"---\n{head}\n---\n").data.to_dict()

    expected = {"name": shown, "results": [{"text": shown, "many": [shown, 0.25, 3]}]}
    expected["results"].append({"text": "---"})  # type: ignore[union-attr]
    assert read_back == yaml.safe_load(head) == expected


@pytest.mark.parametrize(
    "name", ["a: b", "---", "{x}", "&a *b", "# c", "\"q\" 'r'", "\\n", "- d", "!!python"]
)
def test_a_file_of_rows_may_be_called_anything(run: RunDir, name: str) -> None:
    """Its name is a value of the card, and text of it."""
    profile = run.profile.read_text(encoding="utf-8")
    quoted = json.dumps(name)[1:-1]
    run.profile.write_text(profile.replace("eval_v2.jsonl", quoted), encoding="utf-8")
    reseal(run)

    assert {each.dataset_name for each in read(run).data.eval_results} == {name}
