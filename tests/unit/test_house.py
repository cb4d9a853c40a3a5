"""The house: what its files may hold, read from their text, so that it stays as it is told."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import m43
from m43.records.gates import CLOSING, GATES, STAGES, TABLE, gate_named
from m43.records.run_dir import FILES, RunDir

PACKAGE = Path(m43.__file__).parent
TABLE_OF_FILES = PACKAGE / "records" / "run_dir.py"
# A folder's name ("model") is a word as well; a file's has a dot.
NAMES = frozenset(row.name for row in FILES if "." in row.name)


def literals(source: str) -> Iterator[tuple[int, str]]:
    """Find the string literals of a module with their lines; docstrings are prose and left out."""
    tree = ast.parse(source)
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, owners) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and id(node) not in docstrings:
            yield node.lineno, text


def file_names(source: str) -> list[tuple[int, str]]:
    """Find the literals that name a file of the run folder: alone, or after a folder or a star."""
    return [(line, text) for line, text in literals(source) if text.rpartition("/")[2] in NAMES]


def modules() -> list[Path]:
    """List the modules of the package that must ask the table of files."""
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != TABLE_OF_FILES]


def test_no_module_spells_the_name_of_a_run_folder_file() -> None:
    """The table of files is the one place that has such a name; all others ask `RunDir`."""
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in modules()
        for line, text in file_names(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('PATH = "auth.json"', [(1, "auth.json")]),
        ('"""Read it."""\nglob("*/journal.jsonl")', [(2, "*/journal.jsonl")]),
        ('def read(run):\n    """auth.json"""\n    return run / "auth.json"', [(3, "auth.json")]),
        ('TEXT = f"look into {place}: auth.json"', []),
        ("PATH = RunDir.auth.name", []),
    ],
)
def test_a_spelled_name_is_found(source: str, found: list[tuple[int, str]]) -> None:
    """A name by itself or behind a folder is found; prose that mentions one is left alone."""
    assert file_names(source) == found


def test_every_file_of_the_table_has_a_name_of_its_own() -> None:
    """Two rows of one name would be one file with two meanings; each says what it is."""
    names = [row.name for row in FILES]
    assert len(set(names)) == len(names)
    assert all(row.what for row in FILES)


def test_a_row_of_the_table_gives_the_path_in_a_run_folder(tmp_path: Path) -> None:
    """Of the class it is the row, of a run the path: both from the one declaration."""
    assert RunDir.metrics.name == "training_metrics.jsonl"
    assert RunDir(tmp_path).metrics == tmp_path / "training_metrics.jsonl"
    assert RunDir(tmp_path).process("eval") == tmp_path / RunDir.eval_process.name


def test_every_gate_leaves_records_and_every_record_has_a_gate(tmp_path: Path) -> None:
    """A gate without a record could be closed by doing nothing."""
    run = RunDir(tmp_path)
    assert {row.gate for row in FILES} - {""} == set(STAGES)
    assert [path.name for path in run.records("train-300")] == [
        "download.json",
        "download.process.json",
        "lint.json",
        "train.json",
        "training_metrics.jsonl",
        "train.process.json",
        "train.imported.json",
    ]
    assert all(row.sealed for row in FILES if row.gate)


def test_the_gates_stand_in_one_table() -> None:
    """Four gates and the measurement after them, each with all that is said of it."""
    assert (*GATES, CLOSING) == STAGES == ("auth", "venv", "train-300", "eval", "closing")
    assert len({gate.prefix for gate in TABLE}) == len({gate.record for gate in TABLE}) == 5
    assert all(gate.title and gate.question and gate.first_words for gate in TABLE)
    assert gate_named("eval").children == ("eval",)
