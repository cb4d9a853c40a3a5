"""What the checklist says of the two files of rows, without the model's tokenizer."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from m43.harness.commands.data_checks import evaluation_items, training_items
from m43.harness.run.items import Item
from m43.records import profile_check
from m43.records.profile import ColumnsTable, DataColumns, Profile

REPOSITORY = Path(__file__).parents[4]
MARK = b"\xef\xbb\xbf"


@pytest.fixture
def profile() -> Profile:
    """The production profile, whose rows are good."""
    return profile_check.load(REPOSITORY / "acceptance" / "production.toml")


def with_training(profile: Profile, path: Path, data: bytes) -> Profile:
    """Put other bytes in the place of the training rows."""
    path.write_bytes(data)
    return replace(profile, data=replace(profile.data, train=path))


def with_evaluation(profile: Profile, path: Path, data: bytes) -> Profile:
    """Put other bytes in the place of the evaluation rows."""
    path.write_bytes(data)
    return replace(profile, data=replace(profile.data, evaluation=path))


def named(items: tuple[Item, ...], name: str) -> Item:
    """Find an item."""
    return next(item for item in items if name in item.name)


def test_rows_behind_a_byte_order_mark_are_good_and_the_mark_is_noted(
    profile: Profile, tmp_path: Path
) -> None:
    """As many rows as without it."""
    data = profile.data.train.read_bytes()
    plain = named(training_items(profile), "can be read")
    marked = named(
        training_items(with_training(profile, tmp_path / "rows.jsonl", MARK + data)), "can be read"
    )

    assert (plain.state, marked.state) == ("ok", "ok")
    assert marked.found == f"{plain.found}, behind a byte order mark, which is not read"


@pytest.mark.parametrize(
    ("data", "found", "action"),
    [
        (b"\x1f\x8b\x08\x00", "a gzip file", "unpack it first (gunzip)"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer", "git lfs pull"),
        ("{}\n".encode("utf-16"), "text in UTF-16", "save it as UTF-8"),
        (b"", "an empty file", "restore the file"),
    ],
)
def test_what_is_no_file_of_rows_is_told_once(
    profile: Profile, tmp_path: Path, data: bytes, found: str, action: str
) -> None:
    """With its own advice; its rows are not counted as none, nor more of them asked for."""
    path = tmp_path / "rows.jsonl"
    of_training = training_items(with_training(profile, path, data))
    of_evaluation = evaluation_items(with_evaluation(profile, path, data))

    for items, other in ((of_training, "rows enough"), (of_evaluation, "as many evaluation rows")):
        first = named(items, "can be read")
        assert first.state == "NO"
        assert first.found.startswith(f"rows.jsonl: {found}")
        assert action in first.action
        assert named(items, other).state == "not checked"
        assert [item.state for item in items].count("NO") == 1


def test_a_file_of_another_schema_is_told_by_its_fields(profile: Profile, tmp_path: Path) -> None:
    """Once each, not once for every row."""
    row = json.dumps({"question": "a", "answer": "b"}).encode() + b"\n"
    items = training_items(with_training(profile, tmp_path / "rows.jsonl", row * 2400))

    first = named(items, "can be read")

    assert first.found == (
        "rows.jsonl: no final_answer in each of 2400 rows; rows.jsonl: no prompt in each of 2400 "
        "rows; rows.jsonl: no steps in each of 2400 rows"
    )
    assert first.action == "name the fields as m43 does, or correct every row"


def test_rows_that_are_wrong_one_by_one_are_corrected_one_by_one(
    profile: Profile, tmp_path: Path
) -> None:
    """The place of each, and the advice for rows."""
    lines = profile.data.train.read_bytes().splitlines(keepends=True)
    lines[3], lines[5] = b'{"prompt": "Why?"}\n', b"x\n"
    items = training_items(with_training(profile, tmp_path / "rows.jsonl", b"".join(lines)))

    first = named(items, "can be read")

    assert first.found.startswith("rows.jsonl:4: no final_answer; rows.jsonl:4: no steps; ")
    assert first.action == "correct these rows or take them out"


def test_what_is_in_parquet_is_left_to_the_gate(profile: Profile, tmp_path: Path) -> None:
    """Its reader lies in the environment that trains; a file that is not there is told here."""
    trained, asked = tmp_path / "rows.parquet", tmp_path / "asked.parquet"
    named_so = replace(profile, data=replace(profile.data, train=trained, evaluation=asked))
    assert named(training_items(named_so), "can be read").state == "NO"
    trained.write_bytes(b"PAR1")
    asked.write_bytes(b"PAR1")

    items = (*training_items(named_so), *evaluation_items(named_so))
    assert {item.state for item in items} == {"at the gate"}
    half = replace(profile, data=replace(profile.data, train=trained))
    assert named(evaluation_items(half), "can be read").state == "ok"
    assert named(evaluation_items(half), "training also has").state == "at the gate"


def test_named_columns_are_what_a_row_has_to_hold(profile: Profile, tmp_path: Path) -> None:
    """The checklist reads them as training will, and names those that it looked for."""
    rows = b"".join(b'{"q": "%d+1?", "a": "%d"}\n' % (n, n + 1) for n in range(2400))
    columns = DataColumns(train=ColumnsTable(prompt="q", answer="a"))
    renamed = with_training(profile, tmp_path / "rows.jsonl", rows)
    named_so = replace(renamed, data=replace(renamed.data, columns=columns))

    assert named(training_items(renamed), "can be read").state == "NO"
    assert named(training_items(named_so), "can be read").state == "ok"
    assert named(training_items(named_so), "can be read").expected.endswith("with q, a")
