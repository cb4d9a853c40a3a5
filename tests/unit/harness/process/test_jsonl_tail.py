"""The line counter follows a file as it grows."""

from pathlib import Path

from m43.harness.process.process import JsonlTail
from m43.records.venv_record import Package

LINE = '{"name": "jax", "version": "0.10.2"}'


def test_a_line_counts_once_it_is_whole(tmp_path: Path) -> None:
    """Half a line is a step that is being written."""
    path = tmp_path / "lines.jsonl"
    counter = JsonlTail(path, Package)
    assert counter.look() == 0
    path.write_text(LINE[:10])
    assert counter.look() == 0
    with path.open("a") as file:
        file.write(LINE[10:] + "\n" + LINE)
    assert counter.look() == 1
    with path.open("a") as file:
        file.write("\n")
    assert counter.look() == 2


def test_a_line_that_is_no_record_does_not_count(tmp_path: Path) -> None:
    """Empty lines are no steps."""
    path = tmp_path / "lines.jsonl"
    path.write_bytes(f"{LINE}\n\n{{}}\n".encode() + b"\xff\n")
    assert JsonlTail(path, Package).look() == 1
