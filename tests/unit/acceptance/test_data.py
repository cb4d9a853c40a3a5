"""The rows that are trained on and judged by are distinct, well formed, apart and right."""

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from acceptance.data.template import CLOSED_SET_ROWS, Problem, Template
from acceptance.data.training_rows import (
    TEMPLATES,
    TemplateExhaustedError,
    as_jsonl,
    training_rows,
)
from tests.unit.acceptance.answer_check import SOLVERS, Claim, complaints
from tests.unit.acceptance.evaluation_solutions import SOLUTIONS

ROOT = Path(__file__).parents[3]
DATA = ROOT / "acceptance" / "data"
TRAINING_ROWS = 2400
Row = dict[str, Any]

# "490 + 430 = 920", with or without units and signs of money.
EQUATION = re.compile(
    r"\$?(-?\d+(?:\.\d+)?)(?: km/h)? ([-+*/]) \$?(\d+(?:\.\d+)?)(?: h)? = \$?(-?\d+(?:\.\d+)?)"
    r"(?: km)?"
)


@pytest.fixture(scope="module")
def training() -> list[Row]:
    """The committed training rows."""
    return _rows(DATA / "train.jsonl")


@pytest.fixture(scope="module")
def evaluation() -> list[Row]:
    """The committed evaluation rows."""
    return _rows(DATA / "eval_v2.jsonl")


def _rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _claims_of_training(rows: list[Row]) -> list[Claim]:
    return [
        Claim(row=str(row["meta"]["index"]), prompt=row["prompt"], answer=row["final_answer"])
        for row in rows
    ]


def _claims_of_evaluation(rows: list[Row]) -> list[Claim]:
    return [
        Claim(row=row["id"], prompt=row["prompt"], answer=row["expected_answer"]) for row in rows
    ]


def _folded(prompt: str) -> str:
    return " ".join(prompt.lower().split())


# --- the file and the script -------------------------------------------------------------------


def test_script_writes_the_committed_file_byte_for_byte(tmp_path: Path) -> None:
    """Run by its path, from anywhere, the script writes exactly the file that is committed."""
    out = tmp_path / "again.jsonl"
    script = DATA / "make_train.py"
    # -B: a test leaves no bytecode in the tree that a run compares before and after.
    subprocess.run([sys.executable, "-B", script, out], check=True, cwd=tmp_path)
    assert out.read_bytes() == (DATA / "train.jsonl").read_bytes()


def test_script_writes_beside_itself_by_default(tmp_path: Path) -> None:
    """Without an argument the file lies beside the script."""
    package = tmp_path / "acceptance" / "data"
    package.mkdir(parents=True)
    for source in DATA.glob("*.py"):
        (package / source.name).write_bytes(source.read_bytes())
    subprocess.run([sys.executable, "-B", package / "make_train.py"], check=True)
    assert (package / "train.jsonl").read_bytes() == (DATA / "train.jsonl").read_bytes()


def test_script_refuses_a_second_file(tmp_path: Path) -> None:
    """Two files to write are one too many; nothing is written."""
    script = DATA / "make_train.py"
    outs = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    ran = subprocess.run(
        [sys.executable, "-B", script, *outs], check=False, capture_output=True, text=True
    )
    assert ran.returncode == 2
    assert "found 2 arguments, expected at most one" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_rows_do_not_depend_on_what_was_drawn_before() -> None:
    """Drawing twice in one process gives the same rows: no generator is shared."""
    assert as_jsonl(training_rows()) == as_jsonl(training_rows())


def test_template_with_too_few_prompts_is_refused() -> None:
    """A template that cannot fill its rows with different prompts stops the script."""
    narrow = Template(
        name="narrow",
        category="none",
        rows=3,
        choices={"number": (1, 2)},
        write=lambda number: Problem(prompt=f"{number}?", final_answer="1", steps=()),
    )
    with pytest.raises(TemplateExhaustedError, match=r"narrow: found 2 .* expected 3"):
        training_rows([narrow])


# --- the training rows -------------------------------------------------------------------------


def test_there_are_2400_training_rows(training: list[Row]) -> None:
    """300 steps of 8 rows see every row once."""
    assert len(training) == TRAINING_ROWS == 300 * 8


def test_training_prompts_are_distinct(training: list[Row]) -> None:
    """No prompt occurs twice, however it is capitalised or spaced."""
    assert len({_folded(row["prompt"]) for row in training}) == TRAINING_ROWS


def test_training_rows_come_from_at_least_40_templates(training: list[Row]) -> None:
    """Every template occurs as often as it says, and there are at least 40."""
    counts = Counter(row["meta"]["template"] for row in training)
    assert counts == {template.name: template.rows for template in TEMPLATES}
    assert len(counts) >= 40
    assert sum(template.rows == CLOSED_SET_ROWS for template in TEMPLATES) >= 15


def test_every_window_of_200_rows_sees_nearly_all_templates(training: list[Row]) -> None:
    """The templates are spread evenly; no part of the run trains on a few of them only."""
    names = [row["meta"]["template"] for row in training]
    windows = [names[start : start + 200] for start in range(len(names) - 199)]
    assert min(len(set(window)) for window in windows) >= len(TEMPLATES) - 2


def test_training_rows_have_the_schema(training: list[Row]) -> None:
    """Fields, their order and their types are those of the data set that m43 serves."""
    for index, row in enumerate(training):
        assert list(row) == ["trace_version", "prompt", "final_answer", "steps", "meta"]
        assert row["trace_version"] == "1.0"
        assert 0 < len(row["prompt"]) <= 400
        assert 0 < len(row["final_answer"]) <= 60
        assert len(row["steps"]) >= 2
        for number, step in enumerate(row["steps"]):
            assert list(step) == ["i", "type", "content"]
            assert step["i"] == number
            assert re.fullmatch(r"[a-z_]+", step["type"])
            assert step["content"].strip()
        meta = row["meta"]
        assert meta["dataset"] == "m43-reasoning-v1"
        assert meta["generator"] == "acceptance/data/make_train.py"
        assert (meta["seed"], meta["index"]) == (43, index)
        assert meta["category"]


def test_arguments_give_the_row_again(training: list[Row]) -> None:
    """What the row says its arguments were is what it was made from."""
    templates = {template.name: template for template in TEMPLATES}
    for row in training:
        meta = row["meta"]
        problem = templates[meta["template"]].write(**meta["arguments"])
        assert (problem.prompt, problem.final_answer) == (row["prompt"], row["final_answer"])


def test_an_argument_has_one_type_in_all_rows(training: list[Row]) -> None:
    """Readers that keep rows in columns, as Arrow does, refuse a column of mixed types."""
    kinds: dict[str, set[str]] = {}
    for row in training:
        for name, value in row["meta"]["arguments"].items():
            items = value if isinstance(value, list) else [value]
            kind = " ".join(sorted({type(item).__name__ for item in items}))
            kinds.setdefault(name, set()).add(f"{type(value).__name__} of {kind}")
    assert {name: kind for name, kind in kinds.items() if len(kind) > 1} == {}
    assert len(kinds) > 20


def test_every_training_answer_is_right(training: list[Row]) -> None:
    """Solved again from the words of the prompt alone, every row has the same answer."""
    claims = _claims_of_training(training)
    assert len(claims) == TRAINING_ROWS
    assert complaints(claims, {}) == []


def test_the_last_step_arrives_at_the_answer(training: list[Row]) -> None:
    """The working ends with what is given as the answer."""
    lost = [row for row in training if row["final_answer"] not in row["steps"][-1]["content"]]
    assert lost == []


def test_equations_in_the_steps_are_right(training: list[Row]) -> None:
    """Where a step is one sum, difference, product or quotient, it is right."""
    results = {"+": Fraction.__add__, "-": Fraction.__sub__, "*": Fraction.__mul__}
    equations = [
        found.groups()
        for row in training
        for step in row["steps"]
        if (found := EQUATION.fullmatch(step["content"]))
    ]
    assert len(equations) > 600
    for a, sign, b, result in equations:
        operation = results.get(sign, Fraction.__truediv__)
        assert operation(Fraction(a), Fraction(b)) == Fraction(result), (a, sign, b, result)


# --- the evaluation rows -----------------------------------------------------------------------


def test_evaluation_rows_have_the_schema(evaluation: list[Row]) -> None:
    """100 rows in order, in the fields of the evaluation set that m43 serves."""
    assert [row["id"] for row in evaluation] == [f"eval-v2-{n:03d}" for n in range(1, 101)]
    fields = ["id", "prompt", "expected_answer", "section", "category", "difficulty"]
    for row in evaluation:
        assert list(row) == fields
        assert all(isinstance(value, str) and value.strip() for value in row.values())
        assert len(row["prompt"]) <= 400
        assert len(row["expected_answer"]) <= 60


def test_evaluation_covers_all_sections_and_difficulties(evaluation: list[Row]) -> None:
    """Three sections of the stated sizes; easy, medium and hard rows; no prompt twice."""
    sections = Counter(row["section"] for row in evaluation)
    assert sections == {"core": 60, "trace_sensitive": 25, "edge_case": 15}
    difficulties = Counter(row["difficulty"] for row in evaluation)
    assert set(difficulties) == {"easy", "medium", "hard"}
    assert min(difficulties.values()) >= 10
    assert len({_folded(row["prompt"]) for row in evaluation}) == 100


def test_no_answer_is_given_often_enough_to_guess(evaluation: list[Row]) -> None:
    """Saying the same thing a hundred times is right for a few rows only."""
    answers = Counter(row["expected_answer"].lower() for row in evaluation)
    assert max(answers.values()) <= 7


def test_no_evaluation_prompt_is_trained_on(training: list[Row], evaluation: list[Row]) -> None:
    """What is judged was never seen, however it is capitalised or spaced."""
    seen = {_folded(row["prompt"]) for row in training}
    assert [row["id"] for row in evaluation if _folded(row["prompt"]) in seen] == []


def test_every_evaluation_answer_is_right(evaluation: list[Row]) -> None:
    """Solved again by form or by its own solution, every row has the same answer."""
    claims = _claims_of_evaluation(evaluation)
    assert len(claims) == 100
    assert complaints(claims, SOLUTIONS) == []


# --- the check itself --------------------------------------------------------------------------


def test_every_solver_is_needed(training: list[Row]) -> None:
    """A solver that no training row needs would check nothing."""
    idle = [
        solver.form.pattern
        for solver in SOLVERS
        if not any(solver.form.fullmatch(row["prompt"]) for row in training)
    ]
    assert idle == []


def test_a_wrong_answer_is_reported(training: list[Row]) -> None:
    """For every template: the answer of one row spoilt, and exactly that row is complained of."""
    first = {row["meta"]["template"]: row for row in reversed(training)}
    claims = _claims_of_training(list(first.values()))
    assert len(claims) == len(TEMPLATES)
    for position, claim in enumerate(claims):
        spoilt = replace(claim, answer=claim.answer + "0")
        reported = complaints([*claims[:position], spoilt, *claims[position + 1 :]], {})
        assert len(reported) == 1
        assert reported[0].startswith(f"{claim.row}: found {spoilt.answer!r}, expected ")


def test_a_wrong_evaluation_answer_is_reported(evaluation: list[Row]) -> None:
    """Every evaluation row spoilt in turn is complained of."""
    for claim in _claims_of_evaluation(evaluation):
        assert len(complaints([replace(claim, answer=claim.answer + "0")], SOLUTIONS)) == 1


def test_a_prompt_that_no_solver_knows_is_reported() -> None:
    """What cannot be checked counts as wrong, whatever its answer."""
    unknown = Claim(row="7", prompt="Why is there something rather than nothing?", answer="")
    assert complaints([unknown], {}) == [
        "7: found '', expected []: 'Why is there something rather than nothing?'"
    ]
